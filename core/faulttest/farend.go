//go:build linux

package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/far"
	"github.com/kelpie-sec/kelpie/sdk"
)

// FarEnd plays the products behind the enrichments and actions of a world. What
// becomes of a call is drawn from the seed, the call's key and how often it came, so a
// seed's decisions do not depend on time.
type FarEnd struct {
	seed   uint64
	socket string
	server *http.Server
	served chan error
	late   sync.WaitGroup // effects that are on their way
	ends   chan struct{}

	mu      sync.Mutex
	book    *os.File // of effects
	effects map[string][]Effect
	calls   map[string]int // by path and key
	flying  map[string]int // calls under way, by instance
	manners map[Manner]int
	tame    bool
	errs    []error
}

// Effect is one thing that came to be.
type Effect struct {
	Call far.Call
	At   time.Time
}

// Manner is how the far end treats a call.
type Manner string

// The manners. Each but Prompt is a fault by itself, and counted as one.
const (
	Prompt    Manner = "prompt"
	Slow      Manner = "call is slow"
	Fails     Manner = "call fails"
	Refuses   Manner = "call is refused"
	Loses     Manner = "answer lost, acted"
	Vanishes  Manner = "answer lost, not acted"
	Hangs     Manner = "call hangs"
	Late      Manner = "acts late, nobody hears"
	DiesEarly Manner = "plugin dies before acting"
	DiesLate  Manner = "plugin dies after acting"

	LookupSlow  Manner = "lookup is slow"
	LookupFails Manner = "lookup fails"
	LookupHangs Manner = "lookup hangs"
	LookupDies  Manner = "lookup dies"
	// LookupLies has as many kinds as there are lies, and these are counted when they
	// are told.
	LookupLies Manner = "lookup lies"
)

// manners of calls, with their weights.
var manners = []struct {
	manner Manner
	weight int
}{
	{Prompt, 120},
	{Slow, 12},
	{Fails, 10},
	{Refuses, 4},
	{Loses, 6},
	{Vanishes, 6},
	{Hangs, 4},
	{Late, 6},
	{DiesEarly, 1},
	{DiesLate, 1},
}

// wildCalls of one key may be odd; later ones are prompt, so that a run ends.
const wildCalls = 2

func newFarEnd(seed uint64, dir string) (*FarEnd, error) {
	f := &FarEnd{
		seed: seed, socket: filepath.Join(dir, "far.sock"), served: make(chan error, 1), ends: make(chan struct{}),
		effects: map[string][]Effect{}, calls: map[string]int{}, flying: map[string]int{}, manners: map[Manner]int{},
	}
	var err error
	if f.book, err = os.OpenFile(filepath.Join(dir, "effects"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /execute", answer(f, f.execute))
	mux.HandleFunc("POST /check", answer(f, f.check))
	mux.HandleFunc("POST /enrich", answer(f, f.enrich))
	mux.HandleFunc("POST /lied", answer(f, f.lied))
	f.server = &http.Server{Handler: mux}
	go func() { f.served <- f.server.Serve(l) }()
	return f, nil
}

// close waits for what is on its way.
func (f *FarEnd) close() error {
	close(f.ends)
	err := f.server.Close()
	if served := <-f.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	f.late.Wait()
	return errors.Join(append(f.errs, err, f.book.Close())...)
}

// settle makes the far end well-behaved, and waits for late effects.
func (f *FarEnd) settle() {
	f.mu.Lock()
	f.tame = true
	f.mu.Unlock()
}

// errLost has the connection cut without an answer.
var errLost = errors.New("no answer")

// answer makes a handler of a function; errLost cuts the connection.
func answer[Q interface{ instance() string }, A any](f *FarEnd, ask func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.fly(q.instance(), 1)
		defer f.fly(q.instance(), -1)
		a, err := ask(r.Context(), q)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if err := json.NewEncoder(w).Encode(a); err != nil {
			return // nobody listens any more
		}
	}
}

type call struct{ far.Call }

func (c call) instance() string { return c.Action }

type question struct{ far.Question }

func (q question) instance() string { return q.Enrichment }

type lied struct{ far.Lied }

func (l lied) instance() string { return l.Enrichment }

func (f *FarEnd) fly(instance string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying[instance] += n
}

// Flying is how many calls of an instance are under way.
func (f *FarEnd) Flying(instance string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying[instance]
}

// Effects by key.
func (f *FarEnd) Effects() map[string][]Effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string][]Effect, len(f.effects))
	for key, e := range f.effects {
		all[key] = e
	}
	return all
}

// manner of a call, which is noted.
func (f *FarEnd) manner(c far.Call) (Manner, *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[c.Key]++
	n := f.calls[c.Key]
	r := stream(f.seed, "call", c.Key, strconv.Itoa(n))
	if f.tame || n > wildCalls || c.DryRun {
		return Prompt, r
	}
	total := 0
	for _, m := range manners {
		total += m.weight
	}
	k := r.IntN(total)
	for _, m := range manners {
		if k -= m.weight; k < 0 {
			if m.manner != Prompt {
				f.manners[m.manner]++
			}
			return m.manner, r
		}
	}
	return Prompt, r
}

func (f *FarEnd) execute(ctx context.Context, q call) (far.Result, error) {
	c := q.Call
	m, r := f.manner(c)
	switch m {
	case Slow:
		if !wait(ctx, time.Duration(20+r.IntN(400))*time.Millisecond) {
			return far.Result{}, errLost // the caller has gone, and nothing was done
		}
	case Fails:
		return far.Result{Outcome: string(sdk.OutcomeFailed), Message: "the vendor is busy"}, nil
	case Refuses:
		return far.Result{Outcome: string(sdk.OutcomeRefused), Message: "the vendor will not"}, nil
	case Loses:
		f.act(c)
		return far.Result{}, errLost
	case Vanishes:
		return far.Result{}, errLost
	case Hangs:
		if r.IntN(2) == 0 {
			f.act(c)
		}
		<-ctx.Done()
		return far.Result{}, errLost
	case Late:
		f.actLate(c, r)
		if r.IntN(2) == 0 {
			<-ctx.Done()
		}
		return far.Result{}, errLost
	case DiesEarly:
		return far.Result{Crash: true}, nil
	case DiesLate:
		f.act(c)
		return far.Result{Crash: true}, nil
	}
	if c.DryRun {
		return far.Result{Outcome: string(sdk.OutcomeDone)}, nil
	}
	return far.Result{Outcome: string(f.act(c))}, nil
}

// act takes effect, and writes so down before anybody can hear of it. One key has one
// ticket.
func (f *FarEnd) act(c far.Call) sdk.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Verb == "ticket" && len(f.effects[c.Key]) > 0 {
		return sdk.OutcomeAlready
	}
	e := Effect{Call: c, At: time.Now()}
	f.effects[c.Key] = append(f.effects[c.Key], e)
	_, err := fmt.Fprintf(f.book, "%s %s %s %s %s:%s attempt=%d\n", e.At.Format(time.RFC3339Nano), c.Key, c.Action, c.Verb, c.Kind, c.Target, c.Attempt)
	if err = errors.Join(err, f.book.Sync()); err != nil {
		f.errs = append(f.errs, err)
	}
	return sdk.OutcomeDone
}

// actLate takes effect while it still may: up to the call's deadline, and the time to
// settle of those verbs that have one.
func (f *FarEnd) actLate(c far.Call, r *rand.Rand) {
	most := time.Duration(c.Left) * time.Millisecond
	if c.Verb == "scan_host" || c.Verb == "collect" {
		most += vendorSettle
	}
	most -= 100 * time.Millisecond
	after := time.Duration(r.Int64N(int64(max(most, 1))))
	f.late.Go(func() {
		t := time.NewTimer(after)
		defer t.Stop()
		select {
		case <-t.C:
			f.act(c)
		case <-f.ends:
		}
	})
}

// vendorSettle is what the plugin vendor says of its verbs.
const vendorSettle = 500 * time.Millisecond

// check tells the truth as it is now.
func (f *FarEnd) check(_ context.Context, q call) (far.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["check "+q.Key]++
	if len(f.effects[q.Key]) > 0 {
		return far.Result{Outcome: string(sdk.OutcomeDone)}, nil
	}
	return far.Result{Outcome: string(sdk.OutcomeFailed), Message: "nothing is known of it"}, nil
}

// wait reports whether the time has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Manners that calls were treated with so far, and how many.
func (f *FarEnd) Manners() map[Manner]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.manners)
}
