package faulttest

import (
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Outcome is what a world came to.
type Outcome struct {
	// Cases as "case list --json" prints them.
	Cases   string
	summary struct {
		Sources []struct {
			Source                              string
			Received, Matched, Passed, Repeated int
			Rejected                            map[string]int
		}
		Cases []api.CaseLine
	}
	intents []model.Intent
	mails   []letter
}

// letter is one mail that the server took.
type letter struct {
	id     string
	repeat bool // marked as a possible repeat
}

// mails reads what the mail server kept.
func (w *World) mails() []letter {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "mail", "new", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	var all []letter
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			w.t.Fatal(err)
		}
		m, err := mail.ReadMessage(f)
		f.Close()
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		all = append(all, letter{
			id:     m.Header.Get("Message-Id"),
			repeat: strings.Contains(strings.ToLower(m.Header.Get("Subject")), "possible repeat"),
		})
	}
	return all
}

// Check compares with the model.
func (o Outcome) Check(t *testing.T, m Model) {
	t.Helper()
	if n := len(o.summary.Sources); n != 1 {
		t.Fatalf("%d sources, want 1", n)
	}
	s := o.summary.Sources[0]
	if s.Received != m.Events || s.Matched != m.Alerts() || s.Passed != m.Events-m.Alerts() || len(s.Rejected) != 0 {
		t.Errorf("counted %+v, want %d received, %d matched, the rest passed", s, m.Events, m.Alerts())
	}
	want := m.Cases()
	if len(o.summary.Cases) != len(want) {
		t.Errorf("%d cases, want %d", len(o.summary.Cases), len(want))
	}
	for _, c := range o.summary.Cases {
		if len(c.Indicators) != 1 || want[c.Indicators[0].Value] != c.Signals {
			t.Errorf("case %s has %d signals of %v, want %v", c.ID, c.Signals, c.Indicators, want)
		}
	}
	o.checkMails(t, len(want))
}

// checkMails: each case is told once, and what came again says so.
func (o Outcome) checkMails(t *testing.T, cases int) {
	t.Helper()
	plain, any := map[string]int{}, map[string]int{}
	for _, l := range o.mails {
		any[l.id]++
		if !l.repeat {
			plain[l.id]++
		}
	}
	if len(any) != cases {
		t.Errorf("%d different mails, want %d", len(any), cases)
	}
	for id, n := range plain {
		if n > 1 {
			t.Errorf("mail %s came %d times unmarked", id, n)
		}
	}
	for _, in := range o.intents {
		if in.State != model.IntentDone {
			t.Errorf("intent %s is %s (%s), want done", in.ID, in.State, in.Message)
		}
	}
}
