package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a-token-of-some-length"

// core is a Sender in whose place a test decides.
type core struct {
	mu       sync.Mutex
	events   []sdk.Event
	troubles []error

	// send is called before events are taken; what it returns is Send's error.
	send func(ctx context.Context) error
	// durable is called by each Wait.
	durable func(ctx context.Context) error
}

func (c *core) Send(ctx context.Context, events []sdk.Event, cursor []byte) (sdk.Receipt, error) {
	if cursor != nil {
		panic("there is no cursor")
	}
	if c.send != nil {
		if err := c.send(ctx); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, events...)
	return receipt{c}, nil
}

func (c *core) Status(trouble error, _ int64, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles = append(c.troubles, trouble)
}

type receipt struct{ core *core }

func (r receipt) Wait(ctx context.Context) error {
	if r.core.durable == nil {
		return nil
	}
	return r.core.durable(ctx)
}

func (c *core) seen() []sdk.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

func (c *core) trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.troubles) == 0 {
		return nil
	}
	return c.troubles[len(c.troubles)-1]
}

// running is a session in the test's process.
type running struct {
	t      *testing.T
	url    string
	addr   string
	client *http.Client
	stop   func() error // ends the session
}

// run begins a session of a block with some changes.
func run(t *testing.T, c sdk.Sender, change func(*config)) *running {
	t.Helper()
	i := &intake{}
	if wrong := sdk.Decode([]byte(`{"listen":"127.0.0.1:0","token":"`+secret+`"}`), i.Config()); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if change != nil {
		change(&i.config)
	}
	if err := i.Open(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	addr := make(chan net.Addr, 1)
	i.listening = func(a net.Addr) { addr <- a }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Detect(ctx, sdk.Start{}, c) }()
	r := &running{t: t}
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	transport := &http.Transport{DisableCompression: true}
	r.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		_ = r.stop()
		transport.CloseIdleConnections()
	})
	select {
	case a := <-addr:
		r.addr = a.String()
		r.url = "http://" + r.addr + i.config.Path
	case <-time.After(10 * time.Second):
		t.Fatal("it does not listen")
	}
	return r
}

// post sends a body with headers given as name and value in turn.
func (r *running) post(body []byte, headers ...string) (status int, header http.Header, answer map[string]any) {
	r.t.Helper()
	resp, err := r.client.Do(r.request(r.t.Context(), body, headers...))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		r.t.Fatalf("the answer %q is no JSON: %v", text, err)
	}
	return resp.StatusCode, resp.Header, answer
}

func (r *running) request(ctx context.Context, body []byte, headers ...string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	for n := 0; n < len(headers); n += 2 {
		switch {
		case headers[n] == "method":
			req.Method = headers[n+1]
		case headers[n] == "path":
			req.URL.Path = headers[n+1]
		case headers[n+1] == "":
			req.Header.Del(headers[n])
		default:
			req.Header.Set(headers[n], headers[n+1])
		}
	}
	return req
}

func await(t *testing.T, met func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatal("waited in vain")
		case <-tick.C:
		}
	}
}
