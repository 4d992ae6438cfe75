package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// handler answers the requests of one session.
type handler struct {
	intake *intake
	out    sdk.Sender
	memory *budget
	slots  chan struct{} // one for each request under way

	mu       sync.Mutex
	stopping bool
	running  sync.WaitGroup
}

func newHandler(i *intake, out sdk.Sender) *handler {
	return &handler{
		intake: i,
		out:    out,
		memory: &budget{left: max(minMemory, bodiesAtOnce*i.config.MaxBody)},
		slots:  make(chan struct{}, i.config.MaxRequests),
	}
}

// refusal is an answer that is not 200.
type refusal struct {
	status int
	text   string // for the sender
	header [2]string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// later asks the sender to come again.
func later(status int, format string, args ...any) *refusal {
	r := refuse(status, format, args...)
	r.header = [2]string{"Retry-After", "1"}
	return r
}

// ServeHTTP answers 200 when all events of the request are durable.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	taken, err := h.take(w, r)
	var refused *refusal
	switch {
	case err == nil:
		_ = json.NewEncoder(w).Encode(taken)
		return
	case !errors.As(err, &refused):
		refused = later(http.StatusServiceUnavailable, "the events could not be logged; send them again")
		h.intake.log.Warn("a request failed", "error", err)
	}
	if refused.header[0] != "" {
		w.Header().Set(refused.header[0], refused.header[1])
	}
	w.WriteHeader(refused.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": refused.text})
}

// taken is what a sender is told.
type taken struct {
	Request  string `json:"request"`
	Events   int    `json:"events"`
	SetAside int    `json:"set_aside,omitempty"`
}

func (h *handler) take(w http.ResponseWriter, r *http.Request) (*taken, error) {
	if err := h.admit(r); err != nil {
		return nil, err
	}
	if !h.enter() {
		return nil, later(http.StatusServiceUnavailable, "Kelpie is stopping; send it again")
	}
	defer h.running.Done()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, later(http.StatusTooManyRequests, "too many requests are under way; send it again")
	}
	request, err := requestID(r)
	if err != nil {
		return nil, err
	}
	lease := h.memory.lease()
	defer lease.release()
	body, err := readBody(w, r, h.intake.config.MaxBody, lease)
	if err != nil {
		return nil, err
	}
	events, aside, err := h.intake.events(request, body, isLines(r))
	if err != nil {
		return nil, err
	}
	if err := h.send(r.Context(), events); err != nil {
		return nil, err
	}
	return &taken{Request: request, Events: len(events), SetAside: aside}, nil
}

// send hands over all events at once and waits until they are durable.
func (h *handler) send(ctx context.Context, events []sdk.Event) error {
	ctx, cancel := context.WithTimeout(ctx, h.intake.config.Wait)
	defer cancel()
	receipt, err := h.out.Send(ctx, events, nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return later(http.StatusTooManyRequests, "the log takes no more events now; send it again")
	case err != nil:
		return later(http.StatusServiceUnavailable, "Kelpie is stopping; send it again")
	}
	if err := receipt.Wait(ctx); err != nil {
		return later(http.StatusServiceUnavailable, "it is not known whether the events were logged; send them again, under the same Idempotency-Key")
	}
	return nil
}

// admit looks at all but the body.
func (h *handler) admit(r *http.Request) error {
	if r.URL.Path != h.intake.config.Path {
		return refuse(http.StatusNotFound, "there is nothing here")
	}
	if r.Method != http.MethodPost {
		refused := refuse(http.StatusMethodNotAllowed, "events are sent by POST")
		refused.header = [2]string{"Allow", http.MethodPost}
		return refused
	}
	// No page may send events by the browser of someone who can reach this port.
	if r.Header.Get("Origin") != "" {
		return refuse(http.StatusForbidden, "events are not taken from browsers")
	}
	if !h.intake.authorised(r) {
		h.intake.denied.note(h.intake.log, r.RemoteAddr)
		refused := refuse(http.StatusUnauthorized, "the bearer token is missing or wrong")
		refused.header = [2]string{"WWW-Authenticate", "Bearer"}
		return refused
	}
	if kind := mediaType(r); !isJSON(kind) {
		return refuse(http.StatusUnsupportedMediaType, "the content type must be application/json or application/x-ndjson, not %q", kind)
	}
	if r.ContentLength > h.intake.config.MaxBody {
		return tooLarge(h.intake.config.MaxBody)
	}
	return nil
}

// authorised compares digests, so that neither content nor length of the token shows in
// the time that it takes.
func (i *intake) authorised(r *http.Request) bool {
	if i.config.Token == "" {
		return i.config.Insecure
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(digest[:], i.digest[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// maxKey bounds a sender's key of a request, in bytes.
const maxKey = 255

// requestID is the sender's key of the request, under which it may send it again, or
// else a random one.
func requestID(r *http.Request) (string, error) {
	for _, name := range []string{"Idempotency-Key", "Webhook-Id"} {
		key := r.Header.Get(name)
		if key == "" {
			continue
		}
		if len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
			return "", refuse(http.StatusBadRequest, "%s must have at most %d printable ASCII characters", name, maxKey)
		}
		return key, nil
	}
	return "request-" + strings.ToLower(rand.Text()), nil
}

// enter counts a request in, unless the session is ending.
func (h *handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		return false
	}
	h.running.Add(1)
	return true
}

// stop lets no further request in.
func (h *handler) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

// wait returns when the last request has been answered.
func (h *handler) wait() { h.running.Wait() }

// deniedEvery is how often requests without the right token are logged.
const deniedEvery = 10 * time.Second

// denials keeps somebody who guesses tokens from filling the log.
type denials struct {
	mu    sync.Mutex
	told  time.Time
	since int
}

func (d *denials) note(log *slog.Logger, remote string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since++
	if now := time.Now(); now.Sub(d.told) >= deniedEvery {
		host, _, _ := net.SplitHostPort(remote)
		log.Warn("requests without the right token were refused", "last_from", host, "count", d.since)
		d.told, d.since = now, 0
	}
}
