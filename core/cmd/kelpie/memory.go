package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// memoryLimit is the memory of Go's that the collector works to stay below, which is
	// not all that a process has: the program itself and the database's pages come on
	// top, 70 MiB and more.
	memoryLimit = 352 << 20
	// The collector runs when memory has grown by so many per cent since it last ran:
	// by less where little happens, and a smaller process is worth the time.
	calmGrowth, busyGrowth = 50, 100
	// busyRate of bytes allocated in a second is where time is worth more.
	busyRate = 80 << 20
	// rateEvery is how often it is looked.
	rateEvery = time.Second
)

// tendMemory bounds Go's memory until stop is called, which waits for its end. What the
// operator says with GOMEMLIMIT and GOGC holds.
func tendMemory(ctx context.Context) (stop func()) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var tending sync.WaitGroup
	tending.Go(func() { tendGrowth(ctx) })
	return func() {
		cancel()
		tending.Wait()
	}
}

func tendGrowth(ctx context.Context) {
	growth := calmGrowth
	debug.SetGCPercent(growth)
	t := time.NewTicker(rateEvery)
	defer t.Stop()
	for before := allocated(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := allocated()
		if g := growthAt(now - before); g != growth {
			growth = g
			debug.SetGCPercent(growth)
		}
		before = now
	}
}

// growthAt is what memory may grow by where so much is allocated in a second.
func growthAt(rate uint64) int {
	if rate >= busyRate {
		return busyGrowth
	}
	return calmGrowth
}

// allocated is how many bytes were ever.
func allocated() uint64 {
	s := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s[:])
	return s[0].Value.Uint64()
}
