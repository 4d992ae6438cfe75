package api

import (
	"net/http"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// MaxProfile is the longest that a processor's profile may take.
const MaxProfile = 10 * time.Minute

// profiles that the runtime keeps, beside "cpu".
var profiles = []string{"heap", "allocs", "goroutine"}

// Profiles are the kinds that WithProfiles serves.
func Profiles() []string { return append([]string{"cpu"}, profiles...) }

// WithProfiles adds what the running program does and keeps in memory to an API, in
// pprof's format, at /debug/profile/KIND, "cpu" with ?seconds=30. It tells the names
// and values in memory to whoever may ask, so it belongs on the local socket alone.
func WithProfiles(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	var measuring atomic.Bool
	mux.Handle("/", api)
	mux.HandleFunc("GET /debug/profile/{kind}", func(w http.ResponseWriter, r *http.Request) {
		// It lasts longer than a request may take to be read.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		kind := r.PathValue("kind")
		seconds, err := strconv.Atoi(r.FormValue("seconds"))
		switch {
		case kind == "cpu" && (err != nil || seconds < 1 || seconds > int(MaxProfile.Seconds())):
			refuse(w, http.StatusBadRequest, "seconds must be a number from 1 to "+strconv.Itoa(int(MaxProfile.Seconds())))
		case kind == "cpu" && !measuring.CompareAndSwap(false, true):
			refuse(w, http.StatusConflict, "a profile is being taken already")
		case kind == "cpu":
			defer measuring.Store(false)
			takeCPU(w, r, time.Duration(seconds)*time.Second)
		case slices.Contains(profiles, kind):
			if kind == "heap" {
				runtime.GC() // what is garbage is not kept
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			// If the caller has gone nobody needs it.
			_ = pprof.Lookup(kind).WriteTo(w, 0)
		default:
			refuse(w, http.StatusNotFound, "there is no such profile; there are "+strings.Join(Profiles(), ", "))
		}
	})
	return mux
}

func takeCPU(w http.ResponseWriter, r *http.Request, d time.Duration) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := pprof.StartCPUProfile(w); err != nil {
		refuse(w, http.StatusConflict, "a profile is being taken already")
		return
	}
	defer pprof.StopCPUProfile()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}
