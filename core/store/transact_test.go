package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// held takes the store's turn, so that what comes meanwhile waits in line.
func held(t *testing.T, s *Store, jobs int, start func()) {
	t.Helper()
	turn := <-s.turn
	start()
	for {
		s.line.mu.Lock()
		n := len(s.line.jobs)
		s.line.mu.Unlock()
		if n == jobs {
			break
		}
	}
	s.turn <- turn
}

func TestJoinedTransactionsAreIndependent(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(fmt.Sprintf("written=%t", written), func(t *testing.T) { independent(t, written) })
	}
}

// independent: some of many jobs would not, before or after they have written something.
func independent(t *testing.T, written bool) {
	s, err := Open(t.Context(), Settings{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const jobs = 40
	refused := errors.New("would not")
	results := make([]error, jobs)
	var all sync.WaitGroup
	held(t, s, jobs, func() {
		for i := range jobs {
			all.Go(func() {
				results[i] = s.transact(t.Context(), func(w *writer) error {
					if i%4 == 3 && !written {
						return refused
					}
					w.meta(fmt.Sprint("job ", i), i)
					if i%4 == 3 {
						return refused
					}
					return nil
				})
			})
		}
	})
	all.Wait()
	for i, err := range results {
		var got int
		read := s.getMeta(t.Context(), fmt.Sprint("job ", i), &got)
		if i%4 == 3 {
			if !errors.Is(err, refused) || !errors.Is(read, ErrNotFound) {
				t.Errorf("job %d: %v, its row %v; want it refused, and no row", i, err, read)
			}
		} else if err != nil || read != nil || got != i {
			t.Errorf("job %d: %v, its row %d, %v; want it written", i, err, got, read)
		}
	}
}

func TestJoinedTransactionsFailAlone(t *testing.T) {
	s, err := Open(t.Context(), Settings{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var good, bad error
	var all sync.WaitGroup
	held(t, s, 2, func() {
		all.Go(func() {
			bad = s.transact(t.Context(), func(w *writer) error { w.exec(`INSERT INTO nowhere VALUES (1)`); return nil })
		})
		all.Go(func() {
			good = s.transact(t.Context(), func(w *writer) error { w.meta("good", 1); return nil })
		})
	})
	all.Wait()
	if bad == nil || good != nil {
		t.Errorf("the broken one gave %v, the other %v; want an error and none", bad, good)
	}
	var got int
	if err := s.getMeta(t.Context(), "good", &got); err != nil || got != 1 {
		t.Errorf("the other's row: %d, %v", got, err)
	}
}

func TestWaitingForTheTurnEndsWithTheContext(t *testing.T) {
	s, err := Open(t.Context(), Settings{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var got error
	var all sync.WaitGroup
	held(t, s, 1, func() {
		all.Go(func() {
			got = s.transact(ctx, func(w *writer) error { w.meta("late", 1); return nil })
		})
	})
	all.Wait()
	if got != nil {
		t.Fatal(got)
	}
	turn := <-s.turn
	all.Go(func() { got = s.transact(ctx, func(w *writer) error { w.meta("never", 1); return nil }) })
	for {
		s.line.mu.Lock()
		n := len(s.line.jobs)
		s.line.mu.Unlock()
		if n == 1 {
			break
		}
	}
	cancel()
	all.Wait()
	s.turn <- turn
	var v int
	if !errors.Is(got, context.Canceled) || !errors.Is(s.getMeta(t.Context(), "never", &v), ErrNotFound) {
		t.Errorf("gave %v; want it cancelled and nothing written", got)
	}
}
