package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// TestNothingAnsweredIsLost has senders whose connections are cut, and a log that now
// and then refuses, loses what it was given, or has it and cannot say so. Each sender
// repeats until it is told 200.
func TestNothingAnsweredIsLost(t *testing.T) {
	const senders, requests = 8, 25
	var mu sync.Mutex
	logged := map[string]string{} // by id
	chance := func(n int) bool { return rand.IntN(n) == 0 }
	c := &flaky{send: func(_ context.Context, events []sdk.Event) (sdk.Receipt, error) {
		if chance(5) {
			return nil, sdk.ErrSessionOver
		}
		if chance(5) {
			return settled{sdk.ErrSessionOver}, nil // lost
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range events {
			if before, ok := logged[e.ID]; ok && before != string(e.Raw) {
				t.Errorf("event %s is %s and %s", e.ID, before, e.Raw)
			}
			logged[e.ID] = string(e.Raw)
		}
		if chance(5) {
			return settled{sdk.ErrSessionOver}, nil // logged, and nobody knows
		}
		return settled{}, nil
	}}
	r := run(t, c, nil)
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for n := range requests {
				key := fmt.Sprintf("%d-%d", s, n)
				body := fmt.Sprintf(`[{"key":%q,"n":0},{"key":%q,"n":1}]`, key, key)
				for tries := 0; !r.sent(key, body, chance(3)); tries++ {
					if tries > 200 {
						t.Errorf("request %s is never taken", key)
						return
					}
				}
				mu.Lock()
				if logged[key+":0"] == "" || logged[key+":1"] == "" {
					t.Errorf("request %s was answered and is not logged", key)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(logged) != senders*requests*2 {
		t.Errorf("%d events, want %d", len(logged), senders*requests*2)
	}
}

// sent sends a request, perhaps cutting the connection at some point, and reports
// whether it was answered with 200.
func (r *running) sent(key, body string, cut bool) bool {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	if cut {
		timer := time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, cancel)
		defer timer.Stop()
	}
	resp, err := r.client.Do(r.request(ctx, []byte(body), "Idempotency-Key", key))
	if err != nil {
		if !cut || !errors.Is(err, context.Canceled) {
			r.t.Error(err)
		}
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch resp.StatusCode {
	case http.StatusOK:
		return err == nil && strings.Contains(string(text), `"events":2`)
	case http.StatusServiceUnavailable:
	default:
		r.t.Errorf("status %d %s", resp.StatusCode, text)
	}
	return false
}

// flaky is a Sender that is only a function.
type flaky struct {
	send func(context.Context, []sdk.Event) (sdk.Receipt, error)
}

func (f *flaky) Send(ctx context.Context, events []sdk.Event, _ []byte) (sdk.Receipt, error) {
	return f.send(ctx, events)
}

func (f *flaky) Status(error, int64, string) {}

type settled struct{ err error }

func (s settled) Wait(context.Context) error { return s.err }
