package main

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
)

// remove takes a message out of the log of a Kelpie that does not run.
func remove(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: remove STREAM N")
	}
	seq, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	ts.Check(removeMessage(ts.MkAbs("data/log"), args[0], seq))
}

func removeMessage(dir, stream string, seq uint64) (err error) {
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

func TestSinceTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2h":                   now.Add(-2 * time.Hour),
		"0s":                   now,
		"2026-02-28":           time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC),
		"2026-02-28 07:30":     time.Date(2026, 2, 28, 7, 30, 0, 0, time.UTC),
		"2026-02-28T07:30:00Z": time.Date(2026, 2, 28, 7, 30, 0, 0, time.UTC),
		"-2h":                  {},
		"yesterday":            {},
		"":                     {},
	} {
		got, err := sinceTime(text, now)
		if !got.Equal(want) || (err == nil) == want.IsZero() {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
