//go:build kelpiefault

// Package fault names the places at which the fault harness stops or kills the
// program. Without the build tag "kelpiefault" a point is nothing at all.
package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// plans maps a point to what happens there; from KELPIE_FAULT, a comma list of
// point@hit=victim, where hit counts from 1 and victim is "core" or the name of a
// plugin's executable.
var plans = sync.OnceValue(func() map[string]*plan {
	all := map[string]*plan{}
	for _, f := range strings.Split(os.Getenv("KELPIE_FAULT"), ",") {
		where, victim, ok := strings.Cut(f, "=")
		point, hit, ok2 := strings.Cut(where, "@")
		n, err := strconv.Atoi(hit)
		if !ok || !ok2 || err != nil {
			continue
		}
		all[point] = &plan{at: n, victim: victim}
	}
	return all
})

type plan struct {
	mu     sync.Mutex
	at     int
	hits   int
	victim string
}

// Point kills the victim with SIGKILL if this is the hit that was asked for. What
// it did is appended to the file that KELPIE_FAULT_LOG names, before it is done.
func Point(name string) {
	p := plans()[name]
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits++
	if p.hits != p.at {
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
