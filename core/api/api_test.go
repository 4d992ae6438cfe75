package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/measure"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/shadow"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/core/trace"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is an API over a real store and a real log, with an engine that remembers.
type world struct {
	t        testing.TB
	store    *store.Store
	settings eventlog.Settings
	log      *eventlog.Log
	engine   *fakeEngine
	handler  http.Handler
}

type fakeEngine struct {
	mu     sync.Mutex
	orders []model.Command
	err    error
	status Status
	uses   []match.Use
	rules  []measure.Rule
	// application answers orders to apply.
	application func(dryRun bool) (Application, error)
	// decide does what an order is for; nil: nothing.
	decide func(model.Command)
}

func (e *fakeEngine) Order(_ context.Context, c model.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.orders = append(e.orders, c)
	if e.decide != nil {
		e.decide(c)
	}
	return e.err
}

func (e *fakeEngine) Status(context.Context) (Status, error) {
	st := e.status
	st.At, st.Troubles = noon, []Trouble{}
	return st, nil
}
func (e *fakeEngine) Plugins() []host.Status { return nil }
func (e *fakeEngine) Grouping(context.Context) (correlate.Settings, error) {
	return correlate.Settings{Window: time.Hour, Common: 2}, nil
}

func (e *fakeEngine) Rules(context.Context) ([]measure.Rule, error) { return e.rules, nil }

func (e *fakeEngine) Matching() *match.Settings { return nil }

func (e *fakeEngine) Uses() []match.Use { return e.uses }
func (e *fakeEngine) Shadow(_ context.Context, q shadow.Query) (shadow.Report, error) {
	if q.Name == "nobody" {
		return shadow.Report{}, shadow.ErrNoShadow
	}
	return shadow.Report{At: noon, Since: q.Since, Enrichments: []shadow.Enrichment{}, Detectors: []shadow.Detector{{Window: q.Window.Seconds()}}}, nil
}

func (e *fakeEngine) Trace(_ context.Context, q trace.Query, given GivenConfig) (trace.Report, error) {
	return trace.Report{At: noon, Note: q.Event + " of " + q.Source, Event: trace.Event{Size: len(given.Source)}}, e.err
}

func (e *fakeEngine) Weighing(_ context.Context, c decide.Stored) (decide.Weighing, error) {
	return decide.Weighing{Why: "nothing is in force for " + c.Case.ID}, nil
}

func (e *fakeEngine) Draft(_ context.Context, p model.Proposal, expires time.Time) (Draft, error) {
	return Draft{Name: "n", Text: "ignore \"n\" {}\n", Expires: expires}, e.err
}

func (e *fakeEngine) AcceptProposal(ctx context.Context, p model.Proposal, by, because string, expires time.Time) (Draft, error) {
	d, err := e.Draft(ctx, p, expires)
	return d, errors.Join(err, e.Order(ctx, model.Command{Kind: model.AcceptProposal, Proposal: p.ID, By: by, Because: because, Text: d.Text}))
}

func (e *fakeEngine) DraftRule(_ context.Context, caseID, name string) (RuleDraft, error) {
	return RuleDraft{Name: name, Text: "rule of " + caseID}, e.err
}

func (e *fakeEngine) MayConfigure(_ context.Context, who string) (string, error) {
	if who == "eve" {
		return "eve does not have the role engineer", nil
	}
	return "", nil
}

func (e *fakeEngine) Apply(_ context.Context, dryRun bool) (Application, error) {
	return e.application(dryRun)
}

func (e *fakeEngine) Names(context.Context) (map[string]string, error) { return nil, nil }

func (e *fakeEngine) RestartPlugin(_ context.Context, name string) error {
	if name != "file" {
		return host.ErrUnknown
	}
	return nil
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, eventlog.SyncInterval)
}

func newWorldOn(t testing.TB, sync string) *world {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Settings{Dir: dir, Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: s, engine: &fakeEngine{}, settings: eventlog.Settings{
		Dir: dir + "/log", Sync: sync, SyncInterval: time.Minute, Reserve: 1,
		EventsBytes: 64 << 20, InputsBytes: 64 << 20, RejectedBytes: 64 << 20, RejectedQuota: 32 << 20,
	}}
	t.Cleanup(func() {
		if err := errors.Join(w.log.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	w.open()
	return w
}

// open opens the log, and serves it.
func (w *world) open() {
	w.t.Helper()
	l, err := eventlog.Open(w.t.Context(), w.settings)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = l
	server := &Server{Store: w.store, Log: l, Engine: w.engine, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
	w.handler = server.Handler()
}

func (w *world) commit(c decide.Changes) {
	w.t.Helper()
	if err := w.store.Commit(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// do sends a request and returns the answer's code and body.
func (w *world) do(method, path string, body io.Reader) (int, []byte) {
	r := httptest.NewRequest(method, path, body)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	if got := rec.Header().Get("Content-Type"); got != "application/json" {
		w.t.Errorf("%s %s: content type %q", method, path, got)
	}
	if !json.Valid(rec.Body.Bytes()) {
		w.t.Errorf("%s %s: the answer is no JSON: %q", method, path, rec.Body)
	}
	return rec.Code, rec.Body.Bytes()
}

func (w *world) get(path string, v any) {
	w.t.Helper()
	code, body := w.do(http.MethodGet, path, nil)
	if code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, code, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) publish(source *eventlog.Source, name string, ids []string) {
	w.t.Helper()
	b := model.Batch{Source: name, Received: noon}
	for _, id := range ids {
		b.Events = append(b.Events, model.Event{ID: id, Raw: []byte(`{"id":"` + id + `"}`)})
	}
	last := source.Last()
	h := eventlog.Header{BatchID: fmt.Sprintf("%s-%d-%s", name, last.Total, nextID()), Count: len(ids), Total: last.Total + uint64(len(ids))}
	var payload []byte
	if len(ids) > 0 {
		payload = model.AppendBatch(nil, &b)
	}
	if _, err := source.Publish(w.t.Context(), h, payload); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reject(source string, ids []string) {
	w.t.Helper()
	var lines []model.Rejected
	for _, id := range ids {
		lines = append(lines, model.Rejected{Source: source, ID: id, Reason: "not an event", Received: noon, Raw: []byte("\xff")})
	}
	payload, err := json.Marshal(lines)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.log.Reject(w.t.Context(), source, eventlog.Rejected{ID: ids[0], Count: len(ids), Payload: payload}); err != nil {
		w.t.Fatal(err)
	}
}

var lastID atomic.Int64

func nextID() string { return fmt.Sprint(lastID.Add(1)) }

// pages follows Before to the end of a list, whose order is newest first.
func (w *world) pages(path, source string, limit int) []string {
	var ids []string
	before := ""
	for range 10_000 {
		q := url.Values{"limit": {fmt.Sprint(limit)}}
		if source != "" {
			q.Set("source", source)
		}
		if before != "" {
			q.Set("before", before)
		}
		var page EventPage
		w.get(path+"?"+q.Encode(), &page)
		if len(page.Events) > limit {
			w.t.Fatalf("a page of %d has %d events", limit, len(page.Events))
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if page.Before == "" {
			slices.Reverse(ids)
			return ids
		}
		before = page.Before
	}
	w.t.Fatal("the pages have no end")
	return nil
}

// Whatever the pages' size, they hold each event once, in order.
func TestEventPages(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	sources := map[string]*eventlog.Source{}
	for _, name := range []string{"detector.a", "detector.b"} {
		s, err := w.log.Source(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = s
	}
	all, of, rejected := []string{}, map[string][]string{}, []string{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		name := []string{"detector.a", "detector.b"}[random.IntN(2)]
		var ids []string
		for range random.IntN(6) {
			ids = append(ids, nextID())
		}
		w.publish(sources[name], name, ids)
		all, of[name] = append(all, ids...), append(of[name], ids...)
		if name == "detector.a" && len(ids) > 0 {
			w.reject(name, ids)
			rejected = append(rejected, ids...)
		}
	}
	for _, limit := range []int{1, 2, 3, 7, mostEvents} {
		for _, c := range []struct {
			path, source string
			want         []string
		}{
			{"/v1/events", "", all},
			{"/v1/events", "detector.a", of["detector.a"]},
			{"/v1/events", "detector.b", of["detector.b"]},
			{"/v1/rejected", "", rejected},
			{"/v1/rejected", "detector.a", rejected},
			{"/v1/rejected", "detector.b", nil},
		} {
			if d := cmp.Diff(c.want, w.pages(c.path, c.source, limit)); d != "" {
				t.Errorf("%s of %q in pages of %d (-want +got):\n%s", c.path, c.source, limit, d)
			}
		}
	}
}

func TestPayloads(t *testing.T) {
	for _, c := range []struct {
		in, raw string
		bytes   []byte
	}{
		{in: `{"a": 1.50, "b":12345678901234567890}`, raw: `{"a": 1.50, "b":12345678901234567890}`},
		{in: "not json", bytes: []byte("not json")},
		{in: "{\"a\":\"\xff\"}", bytes: []byte("{\"a\":\"\xff\"}")},
		{in: "", bytes: []byte{}},
	} {
		var l EventLine
		l.payload([]byte(c.in))
		if string(l.Raw) != c.raw || !bytes.Equal(l.Bytes, c.bytes) {
			t.Errorf("payload of %q = %q, %q", c.in, l.Raw, l.Bytes)
		}
	}
}

func someCase(id string, score model.Hundredths) model.Case {
	return model.Case{
		ID: id, FirstID: id, State: model.CaseOpen, Title: id, Score: model.Score{Total: score, Upper: score},
		FirstAt: noon, LastAt: noon, OpenedAt: noon, UpdatedAt: noon,
		Subjects: []sdk.Observable{{Kind: sdk.User, Value: "kim", Role: sdk.Subject}}, Reported: 1,
	}
}

func casesAndIntents(w *world) {
	signal := model.Signal{
		ID: "s-1", Rule: "rule.x", Time: noon, Title: "odd", Raw: []byte(`{"x":1}`),
		Observables: []sdk.Observable{{Kind: sdk.IP, Value: "10.0.0.1", Role: sdk.Subject}},
	}
	ask := func(id string, o sdk.Observable) model.Ask {
		return model.Ask{ID: id, Enrichment: "enrichment.assets", Observable: o, AskedAt: noon}
	}
	w.commit(decide.Changes{
		Position: decide.Position{Seq: 1}, At: noon,
		Signals: []model.Signal{signal},
		Cases:   []model.Case{someCase("c-aa11", 9000), someCase("c-aa22", 5000), someCase("c-bb33", 100)},
		Members: []decide.Member{{Signal: "s-1", Case: "c-aa11"}},
		Aliases: []decide.Alias{{ID: "c-cc44", Case: "c-aa11"}},
		Asks: []model.Ask{
			ask("a-1", sdk.Observable{Kind: sdk.IP, Value: "10.0.0.1"}),
			ask("a-2", sdk.Observable{Kind: sdk.User, Value: "kim"}),
			ask("a-3", sdk.Observable{Kind: sdk.User, Value: "ann"}),
		},
		Intents: []model.Intent{
			{ID: "i-1", Case: "c-aa11", State: model.IntentUnknown, PlannedAt: noon},
			{ID: "i-2", Case: "c-bb33", State: model.IntentDone, PlannedAt: noon},
		},
	})
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	casesAndIntents(w)
	order := `{"by":"ann"}`
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		want                     string // part of the answer
	}{
		{"OK", "GET", "/v1/cases", "", 200, `"c-bb33"`},
		{"limit", "GET", "/v1/cases?limit=1", "", 200, `"c-aa11"`},
		{"negative limit", "GET", "/v1/cases?limit=-1", "", 400, "limit must be a number"},
		{"limit is no number", "GET", "/v1/cases?limit=all", "", 400, "limit must be a number"},
		{"limit too high", "GET", "/v1/cases?limit=99999999999999999999", "", 400, "limit must be a number"},
		{"score too high", "GET", "/v1/cases?min_score=101", "", 400, "min_score must be a number from 0 to 100"},
		{"unknown state", "GET", "/v1/cases?state=merged", "", 400, "open, closed"},
		{"case", "GET", "/v1/cases/c-aa11", "", 200, `"c-aa11"`},
		{"case without its prefix", "GET", "/v1/cases/bb", "", 200, `"c-bb33"`},
		{"older id", "GET", "/v1/cases/c-cc44", "", 200, `"id":"c-aa11"`},
		{"beginning of an older id", "GET", "/v1/cases/c-cc", "", 200, `"id":"c-aa11"`},
		{"ambiguous", "GET", "/v1/cases/c-aa", "", 409, "c-aa11, c-aa22"},
		{"unknown case", "GET", "/v1/cases/c-zz", "", 404, "there is no case c-zz"},
		{"odd case", "GET", "/v1/cases/%00%ff'%22--", "", 404, "there is no case"},
		{"intents", "GET", "/v1/intents?state=unknown", "", 200, `"i-1"`},
		{"intents after one", "GET", "/v1/intents?after=i-1&limit=1", "", 200, `"i-2"`},
		{"intents after none", "GET", "/v1/intents?after=i-9", "", 404, "there is no intent i-9"},
		{"too many intents", "GET", "/v1/intents?limit=1001", "", 400, "limit must be a number"},
		{"intents of an unknown state", "GET", "/v1/intents?state=lost", "", 400, "pending"},
		{"before is no place", "GET", "/v1/events?before=x", "", 400, "before must be"},
		{"before is negative", "GET", "/v1/events?before=3/-1", "", 400, "before must be"},
		{"before nothing", "GET", "/v1/events?before=0", "", 400, "before must be"},
		{"before beyond the log", "GET", "/v1/events?before=9999999", "", 200, `"events":[]`},
		{"page too large", "GET", "/v1/rejected?limit=10001", "", 400, "limit must be"},
		{"events of an odd source", "GET", "/v1/events?source=" + url.QueryEscape("*.> \x00"), "", 200, `"events":[]`},
		{"no plugins", "GET", "/v1/plugins", "", 200, "[]"},
		{"restart", "POST", "/v1/plugins/file/restart", "", 200, "{}"},
		{"restart an unknown plugin", "POST", "/v1/plugins/..%2f..%2fetc/restart", "", 404, "no plugin"},
		{"pause", "POST", "/v1/actions/pause", order, 200, "{"},
		{"pause by nobody", "POST", "/v1/actions/pause", `{"by":"  "}`, 400, "by whom"},
		{"no order", "POST", "/v1/actions/pause", "", 400, "not an order"},
		{"unknown field", "POST", "/v1/actions/pause", `{"by":"ann","at":"now"}`, 400, "unknown field"},
		{"two orders", "POST", "/v1/actions/pause", order + order, 400, "more than one"},
		{"long name", "POST", "/v1/actions/pause", `{"by":"` + strings.Repeat("a", 300) + `"}`, 400, "at most 256 bytes"},
		{"long reason", "POST", "/v1/actions/pause", `{"by":"a","because":"` + strings.Repeat("a", 5000) + `"}`, 400, "4096"},
		{"large body", "POST", "/v1/actions/pause", `{"by":"` + strings.Repeat("a", maxBody) + `"}`, 413, "at most 65536 bytes"},
		{"resolve as what", "POST", "/v1/intents/i-1/resolve", order, 400, "done"},
		{"resolve", "POST", "/v1/intents/i-1/resolve", `{"by":"ann","state":"done"}`, 200, `"i-1"`},
		{"resolve what is done", "POST", "/v1/intents/i-2/resolve", `{"by":"ann","state":"done"}`, 409, "the intent is done, not unknown"},
		{"resolve an unknown intent", "POST", "/v1/intents/i-9/resolve", `{"by":"ann","state":"done"}`, 404, "there is no intent i-9"},
		{"no such path", "GET", "/v1/secrets", "", 404, "no such path"},
		{"outside", "GET", "/", "", 404, "no such path"},
		{"no such method", "DELETE", "/v1/cases", "", 405, "does not take"},
		{"an order by GET", "GET", "/v1/actions/pause", "", 405, "does not take"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			code, body := w.do(c.method, c.path, strings.NewReader(c.body))
			if code != c.code || !strings.Contains(string(body), c.want) {
				t.Errorf("%s %s: %d %.200s, want %d with %s", c.method, c.path, code, body, c.code, c.want)
			}
		})
	}
	want := []model.Command{
		{Kind: model.PauseActions, By: "ann"},
		{Kind: model.ResolveIntent, By: "ann", Intent: "i-1", State: model.IntentDone},
	}
	if d := cmp.Diff(want, w.engine.orders); d != "" {
		t.Errorf("orders (-want +got):\n%s", d)
	}
}

// What enrichments found about a case is asked about too, and so are its answers
// shown; those about others are not.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	casesAndIntents(w)
	var e Explanation
	w.get("/v1/cases/c-aa11?raw", &e)
	var asked []string
	for _, l := range e.Lookups {
		asked = append(asked, l.Ask.ID)
	}
	if d := cmp.Diff([]string{"a-1", "a-2"}, asked); d != "" {
		t.Errorf("lookups (-want +got):\n%s", d)
	}
	if len(e.Signals) != 1 || string(e.Signals[0].Raw) != `{"x":1}` || len(e.Intents) != 1 || !e.At.Equal(noon) {
		t.Errorf("explanation is %+v", e)
	}
	if e.Weighing != nil {
		t.Errorf("what decides was not asked, and is %+v", e.Weighing)
	}
	w.get("/v1/cases/c-aa11?weighing", &e)
	if e.Weighing == nil || e.Weighing.Why != "nothing is in force for "+e.Case.ID {
		t.Errorf("what decides is %+v", e.Weighing)
	}
}

func TestInternalErrorsAreNotTold(t *testing.T) {
	w := newWorld(t)
	w.engine.err = errors.New("open /very/secret/path: broken")
	code, body := w.do(http.MethodPost, "/v1/actions/pause", strings.NewReader(`{"by":"ann"}`))
	if code != http.StatusInternalServerError || !strings.Contains(string(body), "says what is broken, and its log why") || strings.Contains(string(body), "secret") {
		t.Errorf("%d %s", code, body)
	}
}

func TestSetAside(t *testing.T) {
	hour := func(n int) time.Time { return noon.Add(time.Duration(-n) * time.Hour) }
	tally := func(received uint64, rejected map[string]int) decide.Tally {
		return decide.Tally{Received: received, Rejected: rejected}
	}
	got := setAside([]decide.SourceState{
		{Source: "detector.a", Sum: tally(300, map[string]int{"too large": 50, "not an event": 1}), RejectedFirst: hour(100), RejectedLast: hour(30)},
		{Source: "detector.b", Sum: tally(10, nil)},
		{Source: "detector.c", Sum: tally(10, map[string]int{"not an event": 2}), RejectedFirst: hour(1), RejectedLast: hour(1)},
	}, []decide.Ledger{
		{Source: "detector.a", Hour: hour(24), Tally: tally(100, map[string]int{"not an event": 1})},
		{Source: "detector.a", Hour: hour(2), Tally: tally(100, nil)},
		{Source: "detector.b", Hour: hour(1), Tally: tally(10, nil)},
		{Source: "detector.c", Hour: hour(1), Tally: tally(10, map[string]int{"not an event": 2})},
	}, noon)
	want := []SetAside{
		{
			Source: "detector.a", Received: 300, Events: 51, Reasons: map[string]int{"too large": 50, "not an event": 1},
			First: hour(100), Last: hour(30), DayReceived: 100,
		},
		{
			Source: "detector.c", Received: 10, Events: 2, Reasons: map[string]int{"not an event": 2},
			First: hour(1), Last: hour(1), Day: 2, DayReceived: 10,
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("set aside (-want +got):\n%s", d)
	}
	if got[0].tooMany() || !got[1].tooMany() {
		t.Errorf("too many: %v, %v, want false, true", got[0].tooMany(), got[1].tooMany())
	}
}

func TestStatusTellsWhatWasSetAside(t *testing.T) {
	w := newWorld(t)
	counts := decide.Tally{Received: 4, Matched: 1, Rejected: map[string]int{"not an event": 3}}
	w.commit(decide.Changes{
		Position: decide.Position{Seq: 1}, At: noon,
		Ledger:  []decide.Ledger{{Source: "detector.a", Hour: noon.Add(-time.Hour), Tally: counts}},
		Sources: []decide.SourceState{{Source: "detector.a", Sum: counts}},
	})
	var s Status
	w.get("/v1/status", &s)
	if len(s.SetAside) != 1 || s.SetAside[0].Events != 3 {
		t.Errorf("set aside: %+v", s.SetAside)
	}
	if len(s.Troubles) != 1 || !strings.Contains(s.Troubles[0].What, "3 of 4 events") {
		t.Errorf("troubles: %+v", s.Troubles)
	}
}

func TestConcurrently(t *testing.T) {
	w := newWorld(t)
	casesAndIntents(w)
	source, err := w.log.Source(t.Context(), "detector.a")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 10 {
				for _, path := range []string{"/v1/cases", "/v1/cases/c-aa11", "/v1/events?limit=3", "/v1/rejected", "/v1/intents", "/v1/status"} {
					if code, body := w.do(http.MethodGet, path, nil); code != http.StatusOK {
						t.Errorf("reader %d: %s: %d %s", i, path, code, body)
					}
				}
				if code, body := w.do(http.MethodPost, "/v1/actions/pause", strings.NewReader(`{"by":"ann"}`)); code != http.StatusOK {
					t.Errorf("pause: %d %s", code, body)
				}
			}
		})
	}
	for range 20 {
		w.publish(source, "detector.a", []string{nextID(), nextID()})
	}
	wait.Wait()
	if got := len(w.engine.orders); got != 80 {
		t.Errorf("%d orders, want 80", got)
	}
	if got := len(w.pages("/v1/events", "detector.a", 7)); got != 40 {
		t.Errorf("%d events, want 40", got)
	}
}
