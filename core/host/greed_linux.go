package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// lastOfAll is the nice value of what comes after everything else.
	lastOfAll = 19
	// A plugin is greedy if so many of its threads want a processor, for each that there
	// is, in so many looks one after the other: whoever else wants one waits for them all.
	greedyThreads = 4
	greedyLooks   = 2
	// mostTasks bounds a look.
	mostTasks = 1 << 14
)

// greed looks whether a process, with all that it has started, leaves others their part
// of the processors. It is for one goroutine.
type greed struct {
	pid  int
	seen int  // looks in a row in which it was greedy
	last bool // it comes after everything else
}

// look tells whether the process has just been put behind all others. What it starts later
// is there from the beginning.
func (g *greed) look() bool {
	tasks, wanting := tasksOf(g.pid)
	if wanting <= greedyThreads*runtime.NumCPU() {
		g.seen = 0
		return false
	}
	if g.seen++; g.seen < greedyLooks {
		return false
	}
	first := !g.last
	g.last = true
	putLast(tasks)
	return first
}

// yield puts the process behind all others from the beginning, if that is where it belongs.
func (g *greed) yield() {
	if g.last {
		tasks, _ := tasksOf(g.pid)
		putLast(tasks)
	}
}

func putLast(tasks []int) {
	for _, tid := range tasks {
		_ = unix.Setpriority(unix.PRIO_PROCESS, tid, lastOfAll) // it may have ended
	}
}

// tasksOf are the threads of a process and of all that it has started, and how many of
// them run or wait for a processor.
func tasksOf(pid int) (tasks []int, wanting int) {
	for next := []int{pid}; len(next) > 0 && len(tasks) < mostTasks; next = next[1:] {
		folders, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", next[0]))
		for _, folder := range folders {
			tid, err := strconv.Atoi(filepath.Base(folder))
			if err != nil {
				continue
			}
			tasks = append(tasks, tid)
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
	return tasks, wanting
}
