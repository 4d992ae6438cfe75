package store

import (
	"context"
	"slices"
	"sync"
	"time"
)

// maxJoined is how many transactions of several callers become one.
const maxJoined = 64

// job is one caller's transaction.
type job struct {
	do   func(*writer) error
	done chan error // has room for one
}

// line holds the jobs that wait for the turn.
type line struct {
	mu   sync.Mutex
	jobs []*job
}

func (l *line) join(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, j)
}

// leave takes a job out, unless it is being run.
func (l *line) leave(j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.jobs, j)
	if i < 0 {
		return false
	}
	l.jobs = slices.Delete(l.jobs, i, i+1)
	return true
}

// next takes the jobs that waited longest.
func (l *line) next() []*job {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.jobs), maxJoined)
	taken := slices.Clone(l.jobs[:n])
	l.jobs = slices.Delete(l.jobs, 0, n)
	return taken
}

// transact runs do in a write transaction: all of it is durable when transact returns
// nil, and none of it was done otherwise. What several callers want meanwhile becomes
// one transaction, since each costs a wait for the disk; do may therefore run more
// than once, and on another caller's goroutine. ctx bounds the wait for the turn; a
// transaction that has begun is short, and is not cut off.
func (s *Store) transact(ctx context.Context, do func(*writer) error) error {
	return s.transactAfter(ctx, 0, do)
}

// soon is how long what is in no hurry waits for another's transaction.
const soon = 20 * time.Millisecond

// transactSoon is transact for what nobody waits for: it leaves the disk to others, and
// goes into the next transaction that is made.
func (s *Store) transactSoon(ctx context.Context, do func(*writer) error) error {
	return s.transactAfter(ctx, soon, do)
}

func (s *Store) transactAfter(ctx context.Context, wait time.Duration, do func(*writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{do: do, done: make(chan error, 1)}
	s.line.join(j)
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case err := <-j.done:
			return err
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	for {
		select {
		case err := <-j.done:
			return err
		case t := <-s.turn:
			s.writeNext()
			s.turn <- t
			s.checkpoints.wrote()
		case <-ctx.Done():
			if s.line.leave(j) {
				return ctx.Err()
			}
			return <-j.done
		}
	}
}

// writeNext runs the jobs that wait, by whoever has the turn.
func (s *Store) writeNext() {
	jobs := s.line.next()
	if len(jobs) > 1 && s.joined(jobs) {
		return
	}
	for _, j := range jobs {
		j.done <- s.alone(j)
	}
}

// alone runs one job in a transaction of its own.
func (s *Store) alone(j *job) error {
	w := s.writer
	w.err = nil
	w.exec(`BEGIN IMMEDIATE`)
	if w.err != nil {
		return classify(w.err)
	}
	err := j.do(w)
	if err == nil {
		err = w.err
	}
	if err == nil {
		w.exec(`COMMIT`)
		err = w.err
	}
	if err != nil {
		s.rollback()
	}
	return classify(err)
}

// joined runs several jobs in one transaction. A job that would not, for reasons of its
// own, and has written nothing, does not keep the others from going on. If it has, or
// the database itself fails, nothing of any is done, nobody is answered, and joined
// returns false.
//
// There is no savepoint for each job: with one open, SQLite copies each page that is
// written, and after each statement goes through all the copies.
func (s *Store) joined(jobs []*job) bool {
	w := s.writer
	w.err = nil
	results := make([]error, len(jobs))
	w.exec(`BEGIN IMMEDIATE`)
	for i, j := range jobs {
		if w.err != nil {
			break
		}
		before := w.writes
		if results[i] = j.do(w); results[i] != nil && w.writes > before {
			s.rollback()
			return false
		}
	}
	w.exec(`COMMIT`)
	if w.err != nil {
		s.rollback()
		return false
	}
	for i, j := range jobs {
		j.done <- classify(results[i])
	}
	return true
}

// rollback ends a transaction that failed. A full disk has rolled it back already;
// there is nothing to add to its error.
func (s *Store) rollback() {
	s.writer.err, s.writer.trail = nil, nil
	s.writer.exec(`ROLLBACK`)
	s.writer.err = nil
}
