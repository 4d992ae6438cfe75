package eventlog

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eventSize is that of the Suricata alerts that all figures are about.
const eventSize = 1300

// benchSettings give the streams room for any number of runs.
func benchSettings(b *testing.B, sync string) Settings {
	set := small(b.TempDir())
	set.Sync, set.SyncInterval = sync, 10*time.Second
	set.EventsBytes, set.InputsBytes = 64<<30, 64<<30
	return set
}

// perEvent starts to measure; what it returns reports, also the time on the
// processor, which other work on the machine disturbs less.
func perEvent(b *testing.B, size int) func() {
	before := cpu(b)
	b.ResetTimer()
	return func() {
		b.StopTimer()
		events := float64(b.N * size)
		b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/events, "cpu-us/event")
	}
}

func cpu(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// One detector's session, one publish in flight; nobody reads.
func BenchmarkPublish(b *testing.B) {
	for _, sync := range []string{SyncAlways, SyncInterval} {
		for _, size := range []int{64, 256, 512} {
			b.Run(fmt.Sprintf("sync=%s/batch=%d", sync, size), func(b *testing.B) {
				l := mustOpen(b, benchSettings(b, sync))
				s := mustSource(b, l, "edr")
				payload := make([]byte, size*eventSize)
				b.SetBytes(int64(len(payload)))
				report := perEvent(b, size)
				for i := range b.N {
					put(b, s, fmt.Sprint(i), size, payload)
				}
				report()
			})
		}
	}
}

// The same with a worker that answers each batch in INPUTS and acknowledges it,
// and with a reader of INPUTS: all that the log does for an event.
func BenchmarkFlow(b *testing.B) {
	for _, sync := range []string{SyncAlways, SyncInterval} {
		for _, size := range []int{64, 256, 512} {
			b.Run(fmt.Sprintf("sync=%s/batch=%d", sync, size), func(b *testing.B) { benchFlow(b, sync, size) })
		}
	}
}

func benchFlow(b *testing.B, sync string, size int) {
	l := mustOpen(b, benchSettings(b, sync))
	s := mustSource(b, l, "edr")
	j := mustJoiner(b, l, "match")
	c := mustEvents(b, l)
	r := mustInputs(b, l, 1)
	payload := make([]byte, size*eventSize)
	b.SetBytes(int64(len(payload)))
	report := perEvent(b, size)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var acks atomic.Int64
	go func() {
		for {
			m, err := c.Next(ctx)
			if err != nil {
				return
			}
			err = j.Add(ctx, make([]byte, 100), func(_ uint64, err error) {
				if err == nil && m.Ack() == nil {
					acks.Add(1)
				}
			})
			if err != nil {
				return
			}
		}
	}()
	read := make(chan error, 1)
	go func() {
		for parts := 0; parts < b.N; {
			in, err := r.Next(ctx)
			if err != nil {
				read <- err
				return
			}
			parts += len(in.Parts)
		}
		read <- nil
	}()
	for i := range b.N {
		put(b, s, fmt.Sprint(i), size, payload)
	}
	if err := <-read; err != nil {
		b.Fatal(err)
	}
	report()
	until(b, "all is acknowledged", func() bool { return acks.Load() == int64(b.N) })
}

// Parts of 1 KiB from many goroutines, each waiting for its answer.
func BenchmarkJoiner(b *testing.B) {
	for _, sync := range []string{SyncAlways, SyncInterval} {
		b.Run("sync="+sync, func(b *testing.B) {
			l := mustOpen(b, benchSettings(b, sync))
			j := mustJoiner(b, l, "match")
			data := make([]byte, 1<<10)
			b.SetParallelism(256)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := j.Append(b.Context(), data); err != nil {
						b.Error(err)
						return
					}
				}
			})
			end, err := l.InputsEnd(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/float64(end), "parts/message")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "parts/s")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	set := benchSettings(b, SyncInterval)
	l := mustOpen(b, set)
	s := mustSource(b, l, "edr")
	payload := make([]byte, 256*eventSize)
	for i := range 1000 {
		put(b, s, fmt.Sprint(i), 256, payload)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		l, err := Open(b.Context(), set)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
