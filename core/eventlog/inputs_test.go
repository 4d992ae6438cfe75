package eventlog

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func mustJoiner(t testing.TB, l *Log, name string) *Joiner {
	t.Helper()
	j, err := l.Joiner(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return j
}

func mustInputs(t testing.TB, l *Log, from uint64) *Reader {
	t.Helper()
	r, err := l.Inputs(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func appendN(t testing.TB, j *Joiner, n int) {
	t.Helper()
	for i := range n {
		if _, err := j.Append(t.Context(), fmt.Appendf(nil, "part %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInputsAreReadInOrderFromAPosition(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	if end, err := l.InputsEnd(t.Context()); err != nil || end != 0 {
		t.Fatalf("end of an empty stream = %d, %v", end, err)
	}
	j := mustJoiner(t, l, "match")
	appendN(t, j, 200)
	for _, from := range []uint64{1, 57, 200} {
		r := mustInputs(t, l, from)
		for seq := from; seq <= 200; seq++ {
			in, err := r.Next(within(t, 20*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("part %d", seq-1); in.Seq != seq || len(in.Parts) != 1 || string(in.Parts[0]) != want {
				t.Fatalf("input = %d %q, want %d %q", in.Seq, in.Parts, seq, want)
			}
		}
	}
	if end, err := l.InputsEnd(t.Context()); err != nil || end != 200 {
		t.Errorf("end = %d, %v, want 200", end, err)
	}
}

func TestInputsWaitForWhatComes(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	r := mustInputs(t, l, 1)
	if r.Ready() {
		t.Error("an empty stream is ready")
	}
	if _, err := r.Next(within(t, 20*time.Millisecond)); err == nil {
		t.Fatal("an empty stream has an input")
	}
	appendN(t, mustJoiner(t, l, "match"), 1)
	if in, err := r.Next(within(t, 20*time.Second)); err != nil || in.Seq != 1 {
		t.Errorf("input = %d, %v, want 1", in.Seq, err)
	}
}

func TestInputsRefuseAWrongPosition(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	appendN(t, mustJoiner(t, l, "match"), 10)
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.streams[inputs].Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from, have uint64
		want       error
	}{
		{1, 4, ErrGap},
		{3, 4, ErrGap},
		{4, 0, nil},
		{11, 0, nil},
		{12, 10, ErrShort},
		{99, 10, ErrShort},
	} {
		r, err := l.Inputs(t.Context(), tt.from)
		if err == nil {
			r.Close()
		}
		var pos *PositionError
		if !errors.Is(err, tt.want) {
			t.Errorf("from %d: %v, want %v", tt.from, err, tt.want)
		} else if errors.As(err, &pos) && (pos.Want != tt.from || pos.Have != tt.have) {
			t.Errorf("from %d: %+v", tt.from, pos)
		}
	}
	if _, err := l.Inputs(t.Context(), 0); err == nil {
		t.Error("inputs can be read from 0")
	}
}

func TestInputsNoticeAMissingMessage(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	appendN(t, mustJoiner(t, l, "match"), 6)
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.streams[inputs].DeleteMsg(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	r := mustInputs(t, l, 2)
	for want := uint64(2); want < 4; want++ {
		if in, err := r.Next(within(t, 20*time.Second)); err != nil || in.Seq != want {
			t.Fatalf("input = %d, %v, want %d", in.Seq, err, want)
		}
	}
	for range 2 {
		_, err = r.Next(within(t, 20*time.Second))
		var pos *PositionError
		if !errors.Is(err, ErrGap) || !errors.As(err, &pos) || pos.Want != 4 || pos.Have != 5 {
			t.Fatalf("err = %v, want a gap at 4", err)
		}
	}
}

func TestInputsStopAtADamagedMessage(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	srv, err := l.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.publish(t.Context(), inputs+".other", 0, []byte{99}); err != nil {
		t.Fatal(err)
	}
	r := mustInputs(t, l, 1)
	for range 2 {
		if _, err := r.Next(within(t, 20*time.Second)); !errors.Is(err, ErrDamaged) {
			t.Fatalf("err = %v, want ErrDamaged", err)
		}
	}
}

func TestFillGivesNoSequenceTwice(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	j := mustJoiner(t, l, "match")
	appendN(t, j, 3)
	s := mustSource(t, l, "edr")
	put(t, s, "1", 5, nil)

	missing, err := l.Fill(t.Context(), Positions{Events: 4, Inputs: 6})
	if err != nil || missing != (Positions{3, 3}) {
		t.Fatalf("missing = %+v, %v", missing, err)
	}
	if missing, err = l.Fill(t.Context(), Positions{Events: 4, Inputs: 6}); err != nil || missing != (Positions{}) {
		t.Errorf("second time: missing = %+v, %v", missing, err)
	}
	if seq, err := j.Append(t.Context(), []byte("next")); err != nil || seq != 7 {
		t.Errorf("next input = %d, %v, want 7", seq, err)
	}
	if seq := put(t, s, "2", 1, nil); seq != 5 {
		t.Errorf("next batch = %d, want 5", seq)
	}
	r := mustInputs(t, l, 4)
	for want := uint64(4); want <= 6; want++ {
		if in, err := r.Next(within(t, 20*time.Second)); err != nil || in.Seq != want || len(in.Parts) != 0 {
			t.Errorf("input = %+v, %v, want %d without parts", in, err, want)
		}
	}
	c, err := l.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for want := uint64(1); want <= 5; want++ {
		m, err := c.Next(within(t, 20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if empty := want > 1 && want < 5; m.Seq != want || (m.Instance == "") != empty || (m.Count == 0) != empty {
			t.Errorf("message %d = %q with %d events", m.Seq, m.Instance, m.Count)
		}
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	}
}
