//go:build kelpiefault

// Package fault is where the fault harness reaches into the program: places at which
// it kills, and a wall clock that it can move. Without the build tag "kelpiefault"
// none of it is there.
package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// armed is what is to happen, where. It stands in the file that KELPIE_FAULT_PLAN names,
// which may come, change and go while the program runs: each time it does, its hits
// count anew. Whoever takes the file away has the last word: Point before it kills, so
// that it kills once, or the harness, when it has waited enough.
type armed struct {
	mu      sync.Mutex
	plans   map[string]*plan
	file    string
	changed time.Time
}

// plan of one kill: at a hit, counted from 1, of a victim, which is "core" or the name
// of a plugin's executable.
type plan struct {
	at, hits int
	victim   string
}

var theArmed = sync.OnceValue(func() *armed {
	return &armed{plans: map[string]*plan{}, file: os.Getenv("KELPIE_FAULT_PLAN")}
})

// add takes a comma list of point@hit=victim.
func (a *armed) add(text string) {
	for f := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		where, victim, ok := strings.Cut(f, "=")
		point, hit, ok2 := strings.Cut(where, "@")
		n, err := strconv.Atoi(hit)
		if !ok || !ok2 || err != nil {
			continue
		}
		a.plans[point] = &plan{at: n, victim: victim}
	}
}

// refresh reads the file again if it was written.
func (a *armed) refresh() {
	info, err := os.Stat(a.file)
	if err != nil {
		clear(a.plans)
		return
	}
	if info.ModTime().Equal(a.changed) && len(a.plans) > 0 {
		return
	}
	data, err := os.ReadFile(a.file)
	if err != nil {
		return
	}
	clear(a.plans)
	a.changed = info.ModTime()
	a.add(string(data))
}

// Point kills the victim with SIGKILL if this is the hit that was asked for. What
// it did is appended to the file that KELPIE_FAULT_LOG names, before it is done.
func Point(name string) {
	a := theArmed()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	p := a.plans[name]
	if p == nil {
		return
	}
	p.hits++
	if p.hits != p.at || os.Remove(a.file) != nil {
		return
	}
	pid := os.Getpid()
	if p.victim != "core" {
		pid = child(p.victim)
	}
	note(fmt.Sprintf("%s %s %d\n", name, p.victim, pid))
	if pid > 0 {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func note(line string) {
	f, err := os.OpenFile(os.Getenv("KELPIE_FAULT_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	f.WriteString(line)
	f.Close()
}

// child finds the process of a plugin that this process started; 0: none.
func child(name string) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		rest := string(data[strings.LastIndexByte(string(data), ')')+1:])
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(args), "\x00")
		if filepath.Base(first) == name {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	return 0
}
