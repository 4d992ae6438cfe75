package api

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
)

// removed takes a message out of a log that nobody has open.
func removed(dir, stream string, seq uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("the log's server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	return st.DeleteMsg(ctx, seq)
}

// TestAMessageThatWasNotDecidedGoes: which events it held is known by those around it.
func TestAMessageThatWasNotDecidedGoes(t *testing.T) {
	w := newWorldOn(t, eventlog.SyncAlways)
	ledgered(w, 5)
	for _, name := range []string{"detector.b", "detector.a"} {
		source, err := w.log.Source(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		w.publish(source, name, []string{"x", "y"})
	}
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := removed(w.settings.Dir, "EVENTS", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := eventlog.Open(t.Context(), w.settings); !errors.Is(err, eventlog.ErrLost) {
		t.Errorf("it is opened to be written: %v", err)
	}
	w.settings.Look = true
	w.open()
	var got Ledger
	w.get("/v1/ledger", &got)
	want := Missing{
		Stream: "EVENTS", Seqs: decide.Span{From: 2, To: 2},
		Events: []MissingEvents{{"detector.a", decide.Span{From: 6, To: 10}}},
	}
	if len(got.Missing) != 1 || got.Missing[0].text() != want.text() || got.AddsUp {
		t.Errorf("missing %+v, faults %q", got.Missing, got.Faults)
	}
	if s := got.Sources[0]; s.Received != 12 || s.Missing != 5 || s.Pending != 2 || s.PendingSince.IsZero() {
		t.Errorf("source %+v", s)
	}
	var st Status
	w.get("/v1/status", &st)
	if !slices.ContainsFunc(st.Troubles, func(tr Trouble) bool { return tr.What == want.text() }) {
		t.Errorf("status says %+v", st.Troubles)
	}
}
