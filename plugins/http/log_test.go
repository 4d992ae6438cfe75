package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// A sender hears of success only when the log has the events, also when it sends them
// again after its connection was cut.
func TestAnswerComesAfterTheLog(t *testing.T) {
	durable := make(chan struct{})
	var waiting atomic.Int32
	c := &core{durable: func(ctx context.Context) error {
		waiting.Add(1)
		select {
		case <-durable:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	r := run(t, c, nil)
	ctx, cut := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		resp, err := r.client.Do(r.request(ctx, []byte(`{"n":1}`), "Idempotency-Key", "k"))
		if err == nil {
			err = fmt.Errorf("status %d before the log had the event", resp.StatusCode)
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	await(t, func() bool { return waiting.Load() == 1 })
	cut()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(durable)
	status, _, answer := r.post([]byte(`{"n":1}`), "Idempotency-Key", "k")
	if status != 200 || answer["request"] != "k" {
		t.Fatalf("%d %v", status, answer)
	}
	events := c.seen()
	if len(events) != 2 || events[0].ID != events[1].ID || !bytes.Equal(events[0].Raw, events[1].Raw) {
		t.Errorf("events %v, want the same twice", events)
	}
}

func TestRefusalsOfTheLog(t *testing.T) {
	for _, test := range []struct {
		name   string
		core   *core
		status int
	}{
		{"no room", &core{send: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, 429},
		{"no answer", &core{durable: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, 503},
		{"session over before", &core{send: func(context.Context) error { return sdk.ErrSessionOver }}, 503},
		{"session over after", &core{durable: func(context.Context) error { return sdk.ErrSessionOver }}, 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := run(t, test.core, func(c *config) { c.Wait = 20 * time.Millisecond })
			status, header, answer := r.post([]byte(`{}`))
			if status != test.status || header.Get("Retry-After") == "" || answer["error"] == nil {
				t.Errorf("%d %v %v, want %d", status, header, answer, test.status)
			}
		})
	}
}

func TestTooManyRequests(t *testing.T) {
	release := make(chan struct{})
	var under atomic.Int32
	c := &core{send: func(context.Context) error { under.Add(1); <-release; return nil }}
	r := run(t, c, func(c *config) { c.MaxRequests = 3 })
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			if status, _, answer := r.post([]byte(`{}`)); status != 200 {
				t.Errorf("%d %v", status, answer)
			}
		})
	}
	await(t, func() bool { return under.Load() == 3 })
	if status, header, _ := r.post([]byte(`{}`)); status != 429 || header.Get("Retry-After") == "" {
		t.Errorf("status %d, want 429 and when to come again", status)
	}
	close(release)
	clients.Wait()
}

func TestTooMuchAtOnce(t *testing.T) {
	b := &budget{left: 100}
	first, second := b.lease(), b.lease()
	if !first.take(60) || second.take(60) || !second.take(40) {
		t.Error("the budget is not kept")
	}
	first.release()
	if !second.take(60) {
		t.Error("what was released is not there again")
	}
	body := strings.Repeat("x", 1<<20)
	var refused *refusal
	if _, err := readAll(strings.NewReader(body), (&budget{left: 1 << 20}).lease()); !errors.As(err, &refused) || refused.status != 429 {
		t.Errorf("a body beyond the budget: %v", err)
	}
	if got, err := readAll(strings.NewReader(body), (&budget{left: 4 << 20}).lease()); err != nil || string(got) != body {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// At the end of a session what waits for the log is answered, and nothing new is taken.
func TestStop(t *testing.T) {
	var waiting atomic.Int32
	settled := make(chan struct{})
	c := &core{durable: func(context.Context) error { waiting.Add(1); <-settled; return nil }}
	r := run(t, c, nil)
	answered := make(chan int, 1)
	go func() {
		status, _, _ := r.post([]byte(`{}`))
		answered <- status
	}()
	await(t, func() bool { return waiting.Load() == 1 })
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	await(t, func() bool {
		conn, err := net.Dial("tcp", r.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(settled)
	if status := <-answered; status != 200 {
		t.Errorf("status %d of a request that the log had, want 200", status)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Detect returned %v", err)
	}
	h := newHandler(&intake{}, c)
	h.stop()
	if h.enter() {
		t.Error("a request is let in after the end")
	}
}

// TestOverGRPC sends by HTTP to a plugin whose core acknowledges over gRPC.
func TestOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	if wrong := client.Configure(t, "detector.hook", sdk.KindDetector, map[string]any{"listen": addr, "token": secret}); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := client.Detect.Detect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	say := func(m *pluginv1.DetectRequest) {
		t.Helper()
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	say(&pluginv1.DetectRequest{Instance: "detector.hook", Message: &pluginv1.DetectRequest_Start{Start: &pluginv1.DetectStart{}}})
	say(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: 8}}})

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r := &running{t: t, url: "http://" + addr + "/", addr: addr, client: &http.Client{Transport: transport}}
	await(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	answered := make(chan int, 1)
	go func() { // 1,300 events need three batches
		status, _, _ := r.post([]byte("[" + strings.Repeat(`{"a":1},`, 1299) + `{"a":1}]`))
		answered <- status
	}()
	for events := 0; events < 1300; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if b := m.GetBatch(); b != nil {
			events += len(b.GetEvents())
			select {
			case status := <-answered:
				t.Fatalf("answer %d with %d of 1300 events taken", status, events)
			default:
			}
			say(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: b.GetNumber()}}})
		}
	}
	if status := <-answered; status != 200 {
		t.Errorf("status %d", status)
	}
	say(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Stop{Stop: &pluginv1.DetectStop{}}})
	for {
		if _, err := stream.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			return
		}
	}
}
