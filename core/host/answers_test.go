//go:build linux

package host

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

func answers(t *testing.T, config string, cursor []byte) (*Host, *AnswerStream) {
	t.Helper()
	in := fakeInstance(model.Action, "action.chat", "well", config)
	in.Config, in.Secrets = []byte(config), []string{"hunter2hunter2"}
	h := started(t, settings(t, quick(), in), quiet())
	a, err := h.Action("action.chat")
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Answers(t.Context(), cursor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return h, s
}

// TestAnswers: what people chose comes as they chose it, after the cursor, scrubbed; a key
// that can be none is none.
func TestAnswers(t *testing.T) {
	const secret = `"secret":"hunter2hunter2"`
	for name, tt := range map[string]struct {
		config string
		want   PersonAnswer
	}{
		"well": {`{"do":"well"}`, PersonAnswer{Key: "i-1", Option: "contain", User: "kim", Cursor: []byte("abx")}},
		"leak": {`{"do":"leak",` + secret + `}`, PersonAnswer{Key: "i-1", Option: "use (secret)", Reason: "[31mred (secret)", User: "(secret)", Cursor: []byte("abx")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := answers(t, tt.config, []byte("ab"))
			got, err := s.Recv()
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if _, err := s.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("its end is %v", err)
			}
		})
	}
	_, s := answers(t, `{"do":"keys"}`, nil)
	for range 5 {
		if got, err := s.Recv(); err != nil || got.Key != "" || len(got.Cursor) != 1 {
			t.Errorf("%+v %v", got, err)
		}
	}
}

// TestAnswersThatBreakTheContract end their stream alone, and are counted.
func TestAnswersThatBreakTheContract(t *testing.T) {
	for name, tt := range map[string]struct{ config, want string }{
		"large":       {`{"do":"large","times":300000}`, "an answer of more than 256 KiB"},
		"cursor":      {`{"do":"cursor","times":70000}`, "a cursor of 70000 bytes, more than 65536"},
		"leak cursor": {`{"do":"leak cursor","secret":"hunter2hunter2"}`, "a cursor that holds a secret"},
		"bad utf8":    {`{"do":"bad utf8"}`, "not valid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := answers(t, tt.config, nil)
			_, err := s.Recv()
			if !errors.Is(err, ErrContract) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			s.Close()
			s.Close()
			in := h.Status()[0].Instances[0]
			if in.InFlight != 0 || len(in.Calls) != 1 || in.Calls[0].Method != "answers" || in.Calls[0].Calls != 1 || in.Calls[0].Plugin != 1 {
				t.Errorf("counted as %+v", in)
			}
			if h.Status()[0].Restarts > 0 {
				t.Error("the process was started again")
			}
		})
	}
}

// TestAnswersEnd: a stream ends with its process, which comes back by itself, and with its
// context.
func TestAnswersEnd(t *testing.T) {
	h, s := answers(t, `{"do":"crash"}`, nil)
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(h.Status()[0].PID, syscall.SIGKILL)
	if _, err := s.Recv(); !errors.Is(err, ErrCrashed) {
		t.Errorf("after kill -9: %v", err)
	}
	a, err := h.Action("action.chat")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	again, err := a.Answers(ctx, []byte("y"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, err := again.Recv(); err != nil || string(got.Cursor) != "yx" {
		t.Errorf("%+v %v", got, err)
	}
	cancel()
	if _, err := again.Recv(); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
}
