package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// fake decides what is chosen as decide does, as far as the page can tell.
type fake struct {
	mu        sync.Mutex
	questions map[string]model.Question
	told      map[string]sdk.Notice
	gathered  map[string][]string
	orders    []model.Command
	err       error
}

func (f *fake) Question(_ context.Context, id string) (model.Question, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q, ok := f.questions[id]
	if !ok {
		return q, ErrNone
	}
	q.Choices = slices.Clone(q.Choices)
	return q, f.err
}

func (f *fake) Told(_ context.Context, intent string) (sdk.Notice, error) {
	n, ok := f.told[intent]
	if !ok {
		return n, ErrNone
	}
	return n, nil
}

func (f *fake) Gathered(_ context.Context, intent string) ([]string, error) {
	ids, ok := f.gathered[intent]
	if !ok {
		return nil, ErrNone
	}
	return ids, nil
}

func (f *fake) Choose(_ context.Context, c model.Command) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, c)
	if f.err != nil {
		return f.err
	}
	q := f.questions[c.Question]
	choice := model.Choice{Option: c.Option, Reason: c.Because, By: c.By, Address: c.Address, Road: c.Road, At: now, Counts: q.Open()}
	if reader := q.Asks(c.Address); reader != nil && reader.Subject {
		choice.Counts = false
	}
	q.Choices = append(slices.Clone(q.Choices), choice)
	if choice.Counts && len(q.Choices) >= q.People {
		q.State, q.Choice, q.By, q.ClosedAt = model.QuestionAnswered, c.Option, c.By, now
	}
	f.questions[c.Question] = q
	return nil
}

// site is a page with its fake, and its tokens.
type site struct {
	*Page
	fake *fake
}

func newSite(t *testing.T) *site {
	f := &fake{questions: map[string]model.Question{}, told: map[string]sdk.Notice{}, gathered: map[string][]string{}}
	return &site{fake: f, Page: &Page{
		Questions: f, Key: link.NewKey(), Origin: func() string { return "https://kelpie.example.org" },
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	}}
}

// ask opens a question to people.
func (s *site) ask(id string, to ...model.Asked) model.Question {
	q := question(id)
	q.Asked = to
	s.fake.questions[id] = q
	for _, a := range to {
		s.fake.told[a.Intent] = notice()
	}
	return q
}

func (s *site) token(t *testing.T, q model.Question, address string) string {
	t.Helper()
	token, err := s.Key.Sign(link.Claim{
		Kind: link.Question, ID: q.ID, Address: address, Options: link.Hash(optionNames(q.Options)), Expires: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// do makes a request as a browser does.
func (s *site) do(method, path string, form url.Values, with ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "null")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, f := range with {
		f(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

var kim = model.Asked{Address: "kim@example.org", Person: "kim", Intent: "i-kim"}

func question(id string) model.Question {
	return model.Question{
		ID: id, Kind: model.QuestionChoice, State: model.QuestionOpen, Case: "c-17", Response: "response.ask_then_isolate", Step: "ask",
		Options: []model.Option{
			{Name: "contain", Summary: "Isolate the computer", Run: []string{"isolate"}},
			{Name: "ignore", NeedsReason: true, Reasons: []string{model.ReasonExpected, model.ReasonTest, model.ReasonFalseAlarm, model.ReasonDuplicate}},
			{Name: "not_mine"},
			{Name: "escalate", NeedsReason: true},
		},
		OpenedAt: now.Add(-3 * time.Minute), AcceptedAt: now.Add(-2 * time.Minute), Wait: 20 * time.Minute, Until: now.Add(18 * time.Minute),
	}
}

func notice() sdk.Notice {
	criticality, yes := 70, true
	return sdk.Notice{
		Case: "c-17", Title: "Beacon to 203.0.113.7, then a program was received", Severity: 80,
		Asked:   "Is this yours, and may the computer be cut off from the network?",
		Plainly: "A computer may be under somebody else's control.",
		Because: "you own ws-17",
		Assets: []sdk.NoticeAsset{{
			Name: "ws-17", IPs: []string{"10.1.2.3"}, Owner: "kim", Team: "netsec", OS: "Windows 11 23H2", Criticality: &criticality,
		}},
		Identities: []sdk.NoticeIdentity{{Name: "Robin Ode", Mail: "robin@example.org", Title: "Accountant", Department: "Finance", Manager: "Sam Lee", Privileged: &yes}},
		Subjects:   []sdk.NoticeObservable{{Kind: "host", Value: "ws-17"}, {Kind: "user", Value: "ACME\\robin"}},
		Indicators: []sdk.NoticeObservable{{Kind: "ip", Value: "203.0.113.7", Note: "AS64500, not ours"}, {Kind: "hash", Value: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}},
		Score: sdk.NoticeScore{Total: 83.4, Upper: 91, Factors: []sdk.NoticeFactor{
			{Label: "threat", Points: 86.7, Share: 69.4, Lines: []sdk.NoticeLine{
				{Label: "verdicts", Points: 76, Counted: 76, Because: "reputation calls 203.0.113.7 malicious", Source: "enrichment.reputation", At: now.Add(-2 * time.Hour)},
				{Label: "detector", Points: 80, Counted: 10.7, Because: "reported at 80"},
			}},
			{Label: "machine", Points: 70, Share: 14, Lines: []sdk.NoticeLine{{Label: "criticality", Points: 70, Counted: 70, Because: "ws-17 is rated 70"}}},
		}},
		Unknowns: []sdk.NoticeUnknown{{What: "hash 9f86d081", Source: "enrichment.sandbox", State: "failed", Why: "no answer within 10 s"}},
		Signals: []sdk.NoticeSignal{
			{At: now.Add(-40 * time.Minute), Title: "ET MALWARE Beacon", Source: "pipeline.edge_ids", Severity: 60, Count: 14},
			{At: now.Add(-12 * time.Minute), Title: "Unsigned program started by a browser", Source: "pipeline.edr", Severity: 80},
		},
	}
}
