package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the sizes and however many add at once: every part is answered once,
// in order, with the message that holds it, and no message joins more than 1 MiB.
func TestJoinerProperties(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > 15 {
			return // a hundred would write gigabytes
		}
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 400<<10),
			rapid.IntRange(joinBytes-5, joinBytes+5), rapid.Just(1500<<10))
		workers := rapid.SliceOfN(rapid.SliceOfN(size, 0, 12), 1, 4).Draw(rt, "sizes")
		begin, err := l.InputsEnd(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		j, err := l.Joiner(t.Context(), fmt.Sprintf("run %d", run))
		if err != nil {
			rt.Fatal(err)
		}
		var (
			wg       sync.WaitGroup
			mu       sync.Mutex
			answers  = map[string]int{}
			sequence = map[string]uint64{}
			before   uint64
		)
		total := 0
		for w, sizes := range workers {
			total += len(sizes)
			wg.Go(func() {
				for n, size := range sizes {
					name := fmt.Sprintf("%d/%d ", w, n)
					data := append([]byte(name), make([]byte, size)...)
					err := j.Add(t.Context(), data, func(seq uint64, err error) {
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							t.Errorf("part %s: %v", name, err)
						}
						if seq < before {
							t.Errorf("part %s in %d was answered after %d", name, seq, before)
						}
						before = seq
						answers[name]++
						sequence[name] = seq
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := j.Close(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if len(answers) != total {
			rt.Fatalf("%d parts of %d were answered", len(answers), total)
		}
		end, err := l.InputsEnd(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		r, err := l.Inputs(t.Context(), begin+1)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		next := make([]int, len(workers))
		for seq := begin + 1; seq <= end; seq++ {
			in, err := r.Next(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			joined := 0
			for _, p := range in.Parts {
				joined += partSize(len(p))
				name, _, _ := bytes.Cut(p, []byte(" "))
				var w, n int
				if _, err := fmt.Sscanf(string(name), "%d/%d", &w, &n); err != nil {
					rt.Fatal(err)
				}
				key := string(name) + " "
				if n != next[w] || sequence[key] != in.Seq || answers[key] != 1 || len(p) != len(key)+workers[w][n] {
					rt.Fatalf("part %s has %d bytes in message %d; it was answered %d times with %d; want number %d of its worker",
						key, len(p), in.Seq, answers[key], sequence[key], next[w])
				}
				next[w]++
			}
			if len(in.Parts) == 0 || len(in.Parts) > 1 && joined > joinBytes {
				rt.Fatalf("message %d joins %d parts to %d bytes", in.Seq, len(in.Parts), joined)
			}
		}
	})
}

func TestJoinerJoinsWhatWaits(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	j := mustJoiner(t, l, "match")
	const n = 500
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := j.Append(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if end, err := l.InputsEnd(t.Context()); err != nil || end == 0 || end > n/2 {
		t.Errorf("%d parts took %d messages, %v", n, end, err)
	}
}

func TestJoinerRefuses(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	j, err := l.Joiner(t.Context(), "match")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Joiner(t.Context(), "match"); err == nil {
		t.Error("two joiners have one name")
	}
	never := func(uint64, error) { t.Error("a refused part was answered") }
	if err := j.Add(t.Context(), make([]byte, MaxPart+1), never); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversize part: %v", err)
	}
	if _, err := j.Append(t.Context(), make([]byte, MaxPart)); err != nil {
		t.Errorf("largest part: %v", err)
	}
	if err := j.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := j.Add(t.Context(), nil, never); !errors.Is(err, ErrClosed) {
		t.Errorf("add after close: %v", err)
	}
	again, err := l.Joiner(t.Context(), "match")
	if err != nil {
		t.Fatalf("the name is not free after close: %v", err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A joiner that gets no answer holds up who adds, in bounded memory, and its
// Close ends in time with every part answered.
func TestJoinerWithoutAnswers(t *testing.T) {
	var f fault
	l := mustOpenDial(t, small(t.TempDir()), f.dial)
	j, err := l.Joiner(t.Context(), "match")
	if err != nil {
		t.Fatal(err)
	}
	f.loseRequests.Store(true)
	var mu sync.Mutex
	added, answered := 0, 0
	ctx := within(t, 200*time.Millisecond)
	for {
		err := j.Add(ctx, make([]byte, 256<<10), func(_ uint64, err error) {
			mu.Lock()
			defer mu.Unlock()
			answered++
			if err == nil {
				t.Error("a part that was never written is answered without an error")
			}
		})
		if errors.Is(err, context.DeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		added++
	}
	if max := (waitBytes + joinBytes) / (256 << 10); added > max {
		t.Errorf("%d parts wait, want at most %d", added, max)
	}
	if err := j.Close(within(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if answered != added {
		t.Errorf("%d parts of %d were answered", answered, added)
	}
}

// The subject's last message may be trimmed away under a joiner.
func TestJoinerGoesOnAfterTrimming(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	a, b := mustJoiner(t, l, "a"), mustJoiner(t, l, "b")
	appendN(t, a, 3)
	appendN(t, b, 3)
	l.set.Keep = time.Nanosecond
	if got, err := l.Trim(t.Context(), Positions{Inputs: 6}); err != nil || got.Inputs != 5 {
		t.Fatalf("trimmed %+v, %v", got, err)
	}
	appendN(t, a, 1)
	appendN(t, b, 1)
	if end, err := l.InputsEnd(t.Context()); err != nil || end != 8 {
		t.Errorf("end = %d, %v, want 8", end, err)
	}
}

// TestAJoinerOfASickLog: it is there, and reports again when the log is well, behind what
// was reported before.
func TestAJoinerOfASickLog(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	before := mustJoiner(t, l, "match")
	appendN(t, before, 3)
	if err := before.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv.markBroken(errors.New("no write reaches the disk"))
	j := mustJoiner(t, l, "match")
	if seq, err := j.Append(t.Context(), []byte("x")); !errors.Is(err, ErrSick) {
		t.Errorf("input %d, %v; want the log to be sick", seq, err)
	}
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seq, err := j.Append(t.Context(), []byte("y")); err != nil || seq != 4 {
		t.Errorf("input %d, %v; want 4", seq, err)
	}
}
