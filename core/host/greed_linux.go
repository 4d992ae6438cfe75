package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lastOfAll is the nice value of what comes after everything else.
	lastOfAll = 19
	// A plugin is greedy if so many of its threads want a processor, for each that there
	// is, in so many looks one after the other: whoever else wants one waits for them all.
	greedyThreads = 4
	greedyLooks   = 3
	// mostTasks bounds a look.
	mostTasks = 1 << 14
	// How often it is looked, and how often at what is suspected or known to be greedy.
	greedEvery = time.Second
	greedSoon  = 100 * time.Millisecond
)

// greed looks whether a process, with all that it has started, leaves others their part
// of the processors, and so those that take its place one after the other. It is for one
// goroutine.
type greed struct {
	pid  int
	seen int  // looks in a row in which it was greedy
	last bool // it comes after everything else
}

// next is the time until the next look.
func (g *greed) next() time.Duration {
	if g.seen > 0 || g.last {
		return greedSoon
	}
	return greedEvery
}

// look tells whether the process has just been put behind all others. What it starts later
// is there from the beginning.
func (g *greed) look() bool {
	all, wanting := tasksOf(g.pid)
	if wanting <= greedyThreads*runtime.NumCPU() {
		g.seen = 0
		return false
	}
	if g.seen++; g.seen < greedyLooks {
		return false
	}
	first := !g.last
	g.last = true
	putLast(all)
	return first
}

// yield puts the process behind all others from the beginning, if that is where it belongs.
func (g *greed) yield() {
	if g.last {
		all, _ := tasksOf(g.pid)
		putLast(all)
	}
}

// tasks of a process and of all that it has started.
type tasks struct{ processes, threads []int }

// putLast is for a kernel that weighs threads and for one that weighs sessions
// (autogroup, sched(7)), where a thread's nice value counts within its session alone.
// Some may have ended.
func putLast(all tasks) {
	for _, tid := range all.threads {
		_ = unix.Setpriority(unix.PRIO_PROCESS, tid, lastOfAll)
	}
	for _, pid := range all.processes {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(lastOfAll)), 0)
	}
}

// tasksOf a process, and how many of the threads run or wait for a processor.
func tasksOf(pid int) (all tasks, wanting int) {
	for next := []int{pid}; len(next) > 0 && len(all.threads) < mostTasks; next = next[1:] {
		all.processes = append(all.processes, next[0])
		folders, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", next[0]))
		for _, folder := range folders {
			tid, err := strconv.Atoi(filepath.Base(folder))
			if err != nil {
				continue
			}
			all.threads = append(all.threads, tid)
			stat, _ := os.ReadFile(filepath.Join(folder, "stat"))
			if end := bytes.LastIndexByte(stat, ')'); end >= 0 && bytes.HasPrefix(stat[end:], []byte(") R")) {
				wanting++
			}
			children, _ := os.ReadFile(filepath.Join(folder, "children"))
			for _, word := range bytes.Fields(children) {
				if child, err := strconv.Atoi(string(word)); err == nil {
					next = append(next, child)
				}
			}
		}
	}
	return all, wanting
}
