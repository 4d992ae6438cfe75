package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLostAnswerIsFoundInTheLog(t *testing.T) {
	var f fault
	l := mustOpenDial(t, small(t.TempDir()), f.dial)
	s := mustSource(t, l, "edr")
	put(t, s, "1", 1, nil)
	l.timeout = 300 * time.Millisecond
	f.loseAnswers.Store(true)
	seq, err := s.Publish(t.Context(), following(s, "2", 1), nil)
	if err != nil || seq != 2 {
		t.Fatalf("publish = %d, %v; the batch was written", seq, err)
	}
	if _, reason := l.Sick(); reason != nil {
		t.Errorf("the log is sick: %v", reason)
	}
	if h, _, err := l.Last(t.Context(), "edr"); err != nil || h.BatchID != "2" {
		t.Errorf("last = %+v, %v", h, err)
	}
}

func TestLostRequestMakesTheLogSickUntilReopened(t *testing.T) {
	var f fault
	l := mustOpenDial(t, small(t.TempDir()), f.dial)
	s := mustSource(t, l, "edr")
	j := mustJoiner(t, l, "match")
	r := mustInputs(t, l, 1)
	c := mustEvents(t, l)
	put(t, s, "1", 1, nil)
	appendN(t, j, 1)
	held := mustNext(t, c)

	l.timeout = 300 * time.Millisecond
	f.loseRequests.Store(true)
	if _, err := s.Publish(t.Context(), following(s, "2", 1), nil); !errors.Is(err, ErrSick) {
		t.Fatalf("err = %v, want ErrSick", err)
	}
	start := time.Now()
	if _, err := s.Publish(t.Context(), following(s, "2", 1), nil); !errors.Is(err, ErrSick) {
		t.Errorf("err = %v, want ErrSick", err)
	}
	if _, err := j.Append(t.Context(), nil); !errors.Is(err, ErrSick) {
		t.Errorf("joiner: %v, want ErrSick", err)
	}
	if took := time.Since(start); took > l.timeout {
		t.Errorf("a sick log took %v to refuse", took)
	}
	if since, reason := l.Sick(); reason == nil || time.Since(since) > time.Minute {
		t.Errorf("sick = %v since %v", reason, since)
	}
	if in, err := r.Next(within(t, 20*time.Second)); err != nil || in.Seq != 1 {
		t.Errorf("a sick log is still read: %d, %v", in.Seq, err)
	}

	f.loseRequests.Store(false)
	l.timeout = 20 * time.Second
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, reason := l.Sick(); reason != nil {
		t.Errorf("after opening again: %v", reason)
	}
	// All that was handed out before goes on.
	if seq := put(t, s, "2", 1, nil); seq != 2 {
		t.Errorf("batch 2 has sequence %d", seq)
	}
	if seq, err := j.Append(t.Context(), []byte("x")); err != nil || seq != 2 {
		t.Errorf("input = %d, %v, want 2", seq, err)
	}
	if in, err := r.Next(within(t, 20*time.Second)); err != nil || in.Seq != 2 {
		t.Errorf("input = %d, %v, want 2", in.Seq, err)
	}
	if m := mustNext(t, c); m.Seq != 2 {
		t.Errorf("message %d came while 1 was held", m.Seq)
	} else {
		mustAck(t, m)
	}
	mustAck(t, held)
	until(t, "all is acknowledged", func() bool { return acked(t, l) == 2 })
}

// A batch whose publish was not answered may turn up later: the same batch is
// then not written twice, and another one is fenced.
func TestLateBatchIsSettled(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	for _, tt := range []struct {
		id   string
		want error
	}{{"late", nil}, {"another", ErrFenced}} {
		t.Run(tt.id, func(t *testing.T) {
			s := mustSource(t, l, "edr "+tt.id)
			put(t, s, "1", 1, nil)
			h := following(s, "late", 1)
			srv, err := l.server(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			body := frame{id: h.BatchID, total: h.Total, count: 1}.append(nil)
			late, err := srv.publish(t.Context(), s.w.subject, s.w.seq, body)
			if err != nil {
				t.Fatal(err)
			}
			s.w.doubt = true
			seq, err := s.Publish(t.Context(), following(s, tt.id, 1), nil)
			if !errors.Is(err, tt.want) || err == nil && seq != late {
				t.Errorf("publish = %d, %v, want %d, %v", seq, err, late, tt.want)
			}
		})
	}
}

func TestCloseWhileOpeningAndTwice(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	done := make(chan error)
	go func() { done <- l.Reopen(context.WithoutCancel(t.Context())) }()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Reopen(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("reopen after close: %v", err)
	}
	if _, err := l.Source(t.Context(), "edr"); !errors.Is(err, ErrClosed) {
		t.Errorf("source after close: %v", err)
	}
}

// tmpfs mounts a file system of a few MiB; only root can.
func tmpfs(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDiskLosesNothing(t *testing.T) {
	dir := tmpfs(t, 48)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 30<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	set := small(filepath.Join(dir, "log"))
	set.Sync = SyncAlways
	set.EventsBytes, set.InputsBytes, set.RejectedBytes = 40<<20, 8<<20, 1<<20
	l := mustOpen(t, set)
	if limits := l.srv.limits; limits.sum() >= 49<<20 {
		t.Errorf("limits %+v were not made smaller", limits)
	}
	// The streams' limits would stop it before the disk is full.
	if err := l.srv.resize(t.Context(), 1<<30); err != nil {
		t.Fatal(err)
	}
	l.timeout = 2 * time.Second
	s := mustSource(t, l, "edr")
	payload := make([]byte, 500<<10)
	var acknowledged int
	var err error
	for err == nil {
		if _, err = s.Publish(t.Context(), following(s, fmt.Sprint(acknowledged), 1), payload); err == nil {
			acknowledged++
		}
		if acknowledged > 200 {
			t.Fatal("the disk does not get full")
		}
	}
	if !errors.Is(err, ErrSick) && !errors.Is(err, ErrFull) {
		t.Fatalf("full disk: %v", err)
	}
	if _, reason := l.Sick(); reason == nil && errors.Is(err, ErrSick) {
		t.Error("the log does not say that it is sick")
	}
	t.Logf("%d batches, then: %v", acknowledged, err)
	if err := l.Reopen(t.Context()); acknowledged > 0 && err == nil && l.Room() != nil {
		t.Error("the log was opened again without room")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Last().Total != uint64(acknowledged) {
		t.Errorf("total = %d, want %d", s.Last().Total, acknowledged)
	}
	// The batch that was refused is published again by the same session.
	put(t, s, fmt.Sprint(acknowledged), 1, payload)
	acknowledged++
	checkTotals(t, l, uint64(acknowledged))
	h, _, err := l.Last(t.Context(), "edr")
	if err != nil || h.Total != uint64(acknowledged) {
		t.Errorf("last total = %d, %v, want %d", h.Total, err, acknowledged)
	}
}

// TestSickLogIsAsked: what is asked of a log that is being closed for it is sick says so,
// and a reader that is opened then reads when it is well.
func TestSickLogIsAsked(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	j := mustJoiner(t, l, "match")
	appendN(t, j, 1)
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv.markBroken(errors.New("the disk takes nothing"))
	srv.ask.Close()
	srv.pub.Close()
	for what, ask := range map[string]func() error{
		"stats":  func() error { _, err := l.Stats(t.Context()); return err },
		"end":    func() error { _, err := l.InputsEnd(t.Context()); return err },
		"events": func() error { _, err := l.Events(t.Context()); return err },
	} {
		if err := ask(); !errors.Is(err, ErrSick) {
			t.Errorf("%s: %v, want ErrSick", what, err)
		}
	}
	r, err := l.Inputs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if in, err := r.Next(within(t, 20*time.Second)); err != nil || in.Seq != 1 {
		t.Errorf("input %d, %v, want 1", in.Seq, err)
	}
}
