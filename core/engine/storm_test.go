package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// mailbox is a mail server that keeps what it gets, by who gets it.
type mailbox struct {
	mu    sync.Mutex
	mails map[string][]string
}

type mailing struct {
	box *mailbox
	to  []string
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailing{box: b}, nil }
func (m *mailing) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailing) Rcpt(to string, _ *smtp.RcptOptions) error   { m.to = append(m.to, to); return nil }
func (m *mailing) Reset()                                      { m.to = nil }
func (m *mailing) Logout() error                               { return nil }

func (m *mailing) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	for _, to := range m.to {
		m.box.mails[to] = append(m.box.mails[to], string(text))
	}
	return err
}

func (b *mailbox) got(address string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mails[address])
}

// serveMail takes mails until the test ends.
func serveMail(t *testing.T) (*mailbox, string) {
	t.Helper()
	box := &mailbox{mails: map[string][]string{}}
	s := smtp.NewServer(box)
	s.AllowInsecureAuth = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return box, l.Addr().String()
}

// TestStorm: a thousand cases at once are one message to whom they are about, a second
// time is one more, and each of their steps has an outcome.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const burst = 1000
	box, address := serveMail(t)
	w := newWorld(t, strings.NewReplacer(
		"do = action.sink.notify", "do = action.mail.notify", `to = "soc@example.org"`, "to = route.owner",
		`action "counter" "sink" {
  file = "calls"
}`, `action "email" "mail" {
  server = "smtp://`+address+`"
  from   = "kelpie@example.org"
}

route "owner" {
  to        = ["kim@example.org"]
  otherwise = "soc@example.org"
}`).Replace(standard))
	r := w.run()
	storm := func(from int) {
		t.Helper()
		all := make([]string, burst)
		for i := range all {
			all[i] = fmt.Sprintf("198.51.%d.%d", 100+(from+i)/250, (from+i)%250)
		}
		w.alerts(all...)
		r.until("an account of all events", func() bool { return r.counted() == uint64(from+burst) })
		r.until("an outcome of each step", func() bool {
			counts, err := r.k.Store().Counts(t.Context())
			w.check(err)
			return counts.IntentsDone >= from+burst && counts.IntentsPending == 0
		})
	}
	storm(0)
	if n := box.got("kim@example.org"); n != 1 {
		t.Errorf("the owner got %d mails about %d cases", n, burst)
	}
	storm(burst)
	if n := box.got("kim@example.org"); n != 2 {
		t.Errorf("the owner got %d mails about two times %d cases", n, burst)
	}
	if n := box.got("soc@example.org"); n != 0 {
		t.Errorf("others got %d mails", n)
	}
	counts, err := r.k.Store().Counts(t.Context())
	w.check(err)
	if counts.Cases != 2*burst || counts.IntentsDone != 2*burst+2 {
		t.Errorf("%d cases, %d steps done", counts.Cases, counts.IntentsDone)
	}
	intents, err := r.k.Store().Intents(t.Context(), store.IntentQuery{Limit: store.MostIntents})
	w.check(err)
	for _, in := range intents {
		if in.State != model.IntentDone || in.FinishedAt.IsZero() {
			t.Errorf("%s of %s is %s", in.ID, in.Response, in.State)
		}
	}
	r.end()
}

var oncallCalendar = strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:1
DTSTART:20260101T000000Z
DTEND:20260102T000000Z
RRULE:FREQ=DAILY
ATTENDEE:mailto:WHO
SUMMARY:on call
END:VEVENT
END:VCALENDAR
`, "\n", "\r\n")

// TestScheduleIsRead: who is on call is told by the calendar that is there, a broken one
// changes nothing and is told, and a start goes on with what was known.
func TestScheduleIsRead(t *testing.T) {
	w := newWorld(t, strings.NewReplacer(`to = "soc@example.org"`, "to = route.owner").Replace(standard)+`
route "owner" {
  to        = schedule.netsec
  otherwise = "soc@example.org"
  gather    = "0s"
}

schedule "netsec" {
  ical = "oncall.ics"
}
`)
	calendar := func(text string) {
		t.Helper()
		w.write("oncall.new", text)
		w.check(os.Rename(w.path("oncall.new"), w.path("oncall.ics")))
	}
	calendar(strings.ReplaceAll(oncallCalendar, "WHO", "kim@example.org"))
	r := w.run()
	onCall := func() string {
		all, err := r.k.Store().Schedules(t.Context())
		w.check(err)
		if len(all) != 1 {
			return ""
		}
		return strings.Join(all[0].Now(time.Now()), ",") + all[0].Problem
	}
	told := func(want string) {
		t.Helper()
		r.until("a step for "+want, func() bool {
			intents, err := r.k.Store().Intents(t.Context(), store.IntentQuery{Limit: store.MostIntents})
			w.check(err)
			for _, in := range intents {
				if in.Target.Value == want {
					return true
				}
			}
			return false
		})
	}
	r.until("who is on call", func() bool { return onCall() == "kim@example.org" })
	w.alerts("198.51.100.1")
	told("kim@example.org")
	calendar(strings.ReplaceAll(oncallCalendar, "WHO", "ann@example.org"))
	r.until("who is on call now", func() bool { return onCall() == "ann@example.org" })
	w.alerts("198.51.100.2")
	told("ann@example.org")
	calendar("nonsense")
	r.until("a trouble", func() bool {
		for _, trouble := range r.troubles() {
			if strings.Contains(trouble.What, "schedule.netsec can't be read: not an iCalendar file") {
				return true
			}
		}
		return false
	})
	if got := onCall(); !strings.HasPrefix(got, "ann@example.org") {
		t.Errorf("after a broken file %q is on call", got)
	}
	r.end()

	r = w.run()
	r.until("the trouble again", func() bool { return len(r.troubles()) == 1 })
	if got := onCall(); !strings.HasPrefix(got, "ann@example.org") {
		t.Errorf("after a start %q is on call", got)
	}
	calendar(strings.ReplaceAll(oncallCalendar, "WHO", "lee@example.org"))
	r.until("its end", func() bool { return len(r.troubles()) == 0 && onCall() == "lee@example.org" })
	r.end()
}
