package main

import (
	"os"
	"runtime/debug"
	"testing"
	"time"
)

// TestTendMemory: the collector runs more often where little is allocated, and stays as
// the operator has set it.
func TestTendMemory(t *testing.T) {
	growth := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	defer debug.SetGCPercent(growth())
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	t.Setenv("GOMEMLIMIT", "") // both as if nobody had said anything
	t.Setenv("GOGC", "")

	stop := tendMemory(t.Context())
	for end := time.Now().Add(time.Minute); growth() != calmGrowth; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("memory may grow by %d %%", growth())
		}
	}
	if limit := debug.SetMemoryLimit(-1); limit != memoryLimit {
		t.Errorf("the limit is %d", limit)
	}
	stop()

	debug.SetGCPercent(77)
	debug.SetMemoryLimit(500 << 20)
	if err := os.Setenv("GOGC", "77"); err != nil { // t.Setenv above puts it back
		t.Fatal(err)
	}
	if err := os.Setenv("GOMEMLIMIT", "500MiB"); err != nil {
		t.Fatal(err)
	}
	tendMemory(t.Context())()
	if growth() != 77 || debug.SetMemoryLimit(-1) != 500<<20 {
		t.Errorf("growth %d and limit %d are not the operator's", growth(), debug.SetMemoryLimit(-1))
	}
	for rate, want := range map[uint64]int{0: calmGrowth, busyRate - 1: calmGrowth, busyRate: busyGrowth, 1 << 40: busyGrowth} {
		if got := growthAt(rate); got != want {
			t.Errorf("at %d bytes a second: %d %%, want %d", rate, got, want)
		}
	}
}
