//go:build linux

package host

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A plugin that wants all processors for many processes comes after everything else, with
// all of them, and says so; also when it was started again, unless somebody wished it.
func TestGreedyComesLast(t *testing.T) {
	a := enrichment("enrichment.a", "well", "busy")
	a.Config = fmt.Appendf(nil, `{"do":"busy","times":%d}`, greedyThreads*runtime.NumCPU()+4)
	h := started(t, settings(t, quick(), a), quiet())
	details(t, enricher(t, h, "enrichment.a"))
	pid := h.Status()[0].PID
	eventually(t, 20*time.Second, "it is noticed", func() bool { return !h.Status()[0].Behind.IsZero() })
	for _, one := range append(childrenOf(pid), pid) {
		// The system call itself gives 20 less the nice value.
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, one); err != nil || n != 20-lastOfAll {
			t.Errorf("process %d has %d, %v", one, n, err)
		}
	}
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, 20*time.Second, "started again", func() bool { return h.Status()[0].Restarts == 1 })
	pid = h.Status()[0].PID
	eventually(t, 5*time.Second, "it comes last again", func() bool {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
		return err == nil && n == 20-lastOfAll
	})
	if err := h.Restart("fake"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "started as others are", func() bool { return h.Status()[0].Restarts == 2 && h.Status()[0].Behind.IsZero() })
}

// One that has much to do, and no more threads at it than there are processors, is left
// alone.
func TestBusyIsNotGreedy(t *testing.T) {
	a := enrichment("enrichment.a", "well", "busy")
	a.Config = fmt.Appendf(nil, `{"do":"busy","times":%d}`, runtime.NumCPU())
	h := started(t, settings(t, quick(), a), quiet())
	details(t, enricher(t, h, "enrichment.a"))
	g := greed{pid: h.Status()[0].PID}
	for range 2 * greedyLooks {
		if g.look() {
			t.Fatal("it is taken for greedy")
		}
	}
}
