// Package api is the HTTP API. It is served on a socket in the data folder that
// only its owner may use; a command that finds no running Kelpie serves it to
// itself. Bodies are JSON; an error is {"error": "for people"}.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

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
)

// Engine is the part of a Kelpie that acts.
type Engine interface {
	// Order gives decide a person's command and waits until it is decided.
	Order(ctx context.Context, c model.Command) error
	// Status of everything.
	Status(ctx context.Context) (Status, error)
	// Plugins that run; empty if Kelpie does not.
	Plugins() []host.Status
	// Uses are what rules and pipelines take in matching; empty if Kelpie does not run.
	Uses() []match.Use
	// Matching is how events are matched now; nil if Kelpie does not run.
	Matching() *match.Settings
	// RestartPlugin starts one that has failed.
	RestartPlugin(ctx context.Context, name string) error
	// Apply reads the configuration again and puts it in force, or with dryRun only tries
	// whether it could.
	Apply(ctx context.Context, dryRun bool) (Application, error)
	// Names are the addresses of now of blocks that were renamed, by those under which
	// everything durable knows them.
	Names(ctx context.Context) (map[string]string, error)
	// Trace shows a stored event going through all stages, by the configuration that is given
	// or, where that is empty, the one in force.
	Trace(ctx context.Context, q trace.Query, given GivenConfig) (trace.Report, error)
	// Grouping is what the configuration in force says makes signals one case.
	Grouping(ctx context.Context) (correlate.Settings, error)
	// Rules are what reports signals, by the configuration in force.
	Rules(ctx context.Context) ([]measure.Rule, error)
	// Weighing says which responses a case asks for, by the configuration in force, and
	// what would decide it otherwise.
	Weighing(ctx context.Context, c decide.Stored) (decide.Weighing, error)
	// Draft works out what a proposal would write, with this last day, and tries it on what
	// is stored.
	Draft(ctx context.Context, p model.Proposal, expires time.Time) (Draft, error)
	// AcceptProposal writes it and puts it in force, or nothing.
	AcceptProposal(ctx context.Context, p model.Proposal, by, because string, expires time.Time) (Draft, error)
	// DraftRule writes an experimental rule with a test from the events of a case.
	DraftRule(ctx context.Context, caseID, name string) (RuleDraft, error)
	// MayConfigure says why somebody may not change the configuration; empty: they may.
	MayConfigure(ctx context.Context, who string) (string, error)
	// Shadow compares what is tried with what counts.
	Shadow(ctx context.Context, q shadow.Query) (shadow.Report, error)
}

// Server answers requests.
type Server struct {
	Store  *store.Store
	Log    *eventlog.Log
	Engine Engine
	Logger *slog.Logger
	Now    func() time.Time
}

// Bounds of what is sent, in bytes.
const (
	maxBody   = 64 << 10
	maxName   = 256
	maxReason = 4096
)

// Handler serves the API. It is safe for concurrent use.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(*http.Request) (any, error)) { mux.HandleFunc("GET "+path, s.answer(f)) }
	post := func(path string, f func(*http.Request) (any, error)) { mux.HandleFunc("POST "+path, s.answer(f)) }
	get("/v1/cases", s.cases)
	get("/v1/cases/{id}", s.explain)
	get("/v1/cases/{id}/rule", s.draftRule)
	get("/v1/rules", s.rules)
	get("/v1/rules/outcomes", s.ruleOutcomes)
	get("/v1/rules/forecast", s.forecast)
	get("/v1/signals", s.signals)
	post("/v1/cases/merge", s.merge)
	post("/v1/cases/{id}/split", s.split)
	post("/v1/cases/{id}/end", s.end)
	post("/v1/cases/{id}/reopen", s.reopen)
	get("/v1/decisions", s.decisions)
	post("/v1/decisions/{id}/undo", s.undoDecision)
	get("/v1/common", s.common)
	get("/v1/never_join", s.neverJoins)
	post("/v1/never_join", s.neverJoin)
	get("/v1/events", s.events)
	get("/v1/events/tail", s.tail)
	get("/v1/rejected", s.rejected)
	get("/v1/intents", s.intents)
	post("/v1/intents/{id}/resolve", s.resolve)
	get("/v1/questions", s.questions)
	get("/v1/questions/{id}", s.question)
	post("/v1/questions/{id}/choose", s.choose)
	get("/v1/proposals", s.proposals)
	get("/v1/proposals/{id}", s.proposal)
	mux.HandleFunc("POST /v1/proposals/{id}/accept", patient(s.answer(s.accept)))
	post("/v1/proposals/{id}/refuse", s.refuseProposal)
	get("/v1/holds", s.holds)
	get("/v1/schedules", s.schedules)
	post("/v1/holds/{hold}/release", s.release)
	post("/v1/holds/{hold}/extend", s.extend)
	post("/v1/holds/release", s.releaseAll)
	get("/v1/plugins", s.plugins)
	get("/v1/plugins/status", s.pluginStatus)
	post("/v1/plugins/{name}/restart", s.restart)
	get("/v1/status", s.status)
	get("/v1/ledger", s.ledger)
	get("/v1/shadow", s.shadow)
	get("/v1/trace", s.trace)
	post("/v1/trace", s.trace)
	mux.Handle("GET /metrics", s.metrics())
	get("/v1/audit", s.audit)
	get("/v1/audit/head", s.auditHead)
	get("/v1/audit/verify", s.verifyAudit)
	mux.HandleFunc("POST /v1/apply", patient(s.answer(s.apply)))
	post("/v1/actions/pause", s.order(model.PauseActions))
	post("/v1/actions/resume", s.order(model.ResumeActions))
	post("/v1/pauses", s.pause)
	post("/v1/pauses/end", s.resume)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			w = &refusal{w}
		}
		mux.ServeHTTP(w, r)
	})
}

// refusal makes of the mux's own answers, which are text, what ours are.
type refusal struct{ http.ResponseWriter }

func (w *refusal) WriteHeader(code int) {
	w.Header().Del("Content-Length")
	text := map[int]string{
		http.StatusNotFound: "there is no such path", http.StatusMethodNotAllowed: "this path does not take that method",
	}[code]
	if text == "" {
		text = http.StatusText(code)
	}
	refuse(w.ResponseWriter, code, text)
}

func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// If the caller has gone nobody needs it.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

func (w *refusal) Write(text []byte) (int, error) { return len(text), nil }

// Error is a failure that the caller should read as it is.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

func (s *Server) answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyRoom(r))
		renamed, err := s.Engine.Names(r.Context())
		if err != nil {
			s.Logger.Error("it is not known what was renamed", "error", err)
		}
		v, err := f(names(renamed).ask(r))
		code := http.StatusOK
		var e *Error
		switch {
		case err == nil:
			if a, ok := v.(Application); ok && a.Outcome == Refused {
				code = http.StatusUnprocessableEntity // and what is wrong is the answer
			}
		case errors.As(err, &e):
			code = e.Code
		case errors.Is(err, store.ErrNotFound), errors.Is(err, eventlog.ErrNotFound), errors.Is(err, host.ErrUnknown):
			code, err = http.StatusNotFound, errors.New("not found")
		case r.Context().Err() != nil:
			return // nobody waits for an answer
		default:
			s.Logger.Error("a request failed", "path", r.URL.Path, "error", err)
			code, err = http.StatusInternalServerError, errInternal
		}
		if err != nil {
			v = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		err = enc.Encode(v)
		if _, named := v.(Application); err == nil && len(renamed) > 0 && !named && !strings.HasPrefix(r.URL.Path, "/v1/audit") {
			// Of an application both names are told, and the audit is as it was written.
			_, err = w.Write(names(renamed).tell(text.Bytes()))
		} else if err == nil {
			_, err = w.Write(text.Bytes())
		}
		if err != nil {
			s.Logger.Debug("an answer was not taken", "path", r.URL.Path, "error", err)
		}
	}
}

// errInternal is all that a caller hears of a failure that is none of theirs.
var errInternal = errors.New("kelpie could not do this; \"kelpie status\" says what is broken, and its log why")

func bad(text string) error { return &Error{http.StatusBadRequest, text} }

func number(r *http.Request, name string, otherwise, most int) (int, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > most {
		return 0, bad(name + " must be a number from 0 to " + strconv.Itoa(most))
	}
	return n, nil
}

// oneOf reads a parameter that is empty or one of some words.
func oneOf[T ~string](r *http.Request, name string, words ...T) (T, error) {
	v := T(r.URL.Query().Get(name))
	if v == "" || slices.Contains(words, v) {
		return v, nil
	}
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return "", bad(name + " must be one of " + strings.Join(texts, ", "))
}

func (s *Server) intents(r *http.Request) (any, error) {
	state, err := oneOf(r, "state", model.IntentPending, model.IntentDone, model.IntentAlready,
		model.IntentRefused, model.IntentFailed, model.IntentUnknown, model.IntentUndone, model.IntentGathered)
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", store.MostIntents, store.MostIntents)
	if err != nil {
		return nil, err
	}
	after := r.URL.Query().Get("after")
	all, err := s.Store.Intents(r.Context(), store.IntentQuery{State: state, After: after, Limit: limit})
	if errors.Is(err, store.ErrNotFound) {
		return nil, &Error{http.StatusNotFound, "there is no intent " + after + "; \"kelpie intent list\" lists them"}
	}
	if err != nil {
		return nil, err
	}
	return list(all), nil
}

// Order is the body of a command.
type Order struct {
	By      string            `json:"by"`
	Because string            `json:"because,omitempty"`
	State   model.IntentState `json:"state,omitempty"`
	// Case that lets go of a hold, or holds it for longer; empty: all.
	Case string `json:"case,omitempty"`
	// For is how long a pause lasts or by how much a hold is extended, such as "2h"; empty:
	// until somebody ends it. Of is the address of the rule, pipeline or response that is
	// paused.
	For string `json:"for,omitempty"`
	Of  string `json:"of,omitempty"`
}

// readBody reads the body of an order into v.
func readBody(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &Error{http.StatusRequestEntityTooLarge, fmt.Sprintf("an order has at most %d bytes", large.Limit)}
	case err != nil:
		return bad("the body is not an order: " + err.Error())
	case d.More():
		return bad("the body is more than one order")
	}
	return nil
}

func readOrder(r *http.Request) (Order, error) {
	var o Order
	err := readBody(r, &o)
	switch {
	case err != nil:
		return o, err
	case len(o.By) > maxName || len(o.Because) > maxReason:
		return o, bad(fmt.Sprintf("a name has at most %d bytes, a reason %d", maxName, maxReason))
	}
	if strings.TrimSpace(o.By) == "" {
		return o, bad("an order says by whom")
	}
	return o, nil
}

func (s *Server) resolve(r *http.Request) (any, error) {
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	switch o.State {
	case model.IntentDone, model.IntentFailed:
	default:
		return nil, bad(`an intent is resolved as "done" (it took effect) or "failed" (it did not)`)
	}
	in, err := s.Store.Intent(r.Context(), r.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, &Error{http.StatusNotFound, "there is no intent " + r.PathValue("id") + "; \"kelpie intent list\" lists them"}
	}
	if err != nil {
		return nil, err
	}
	if in.State != model.IntentUnknown && !s.endedByHand(r.Context(), in, o.State) {
		return nil, &Error{http.StatusConflict, "the intent is " + string(in.State) + ", not unknown"}
	}
	err = s.Engine.Order(r.Context(), model.Command{
		Kind: model.ResolveIntent, By: o.By, Because: o.Because, Intent: in.ID, State: o.State,
	})
	if err != nil {
		return nil, err
	}
	return s.Store.Intent(r.Context(), in.ID)
}

func (s *Server) order(kind model.CommandKind) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		o, err := readOrder(r)
		if err != nil {
			return nil, err
		}
		long, err := o.long()
		if err != nil {
			return nil, err
		}
		if err := s.Engine.Order(r.Context(), model.Command{Kind: kind, By: o.By, Because: o.Because, For: long}); err != nil {
			return nil, err
		}
		return s.Store.Flags(r.Context())
	}
}

func (s *Server) plugins(*http.Request) (any, error) { return list(s.Engine.Plugins()), nil }

func (s *Server) restart(r *http.Request) (any, error) {
	err := s.Engine.RestartPlugin(r.Context(), r.PathValue("name"))
	if errors.Is(err, host.ErrUnknown) {
		return nil, &Error{http.StatusNotFound, "no plugin " + r.PathValue("name") + " is in use; \"kelpie plugin list\" lists them"}
	}
	return struct{}{}, err
}

// list makes an empty list of none, so that nobody has to expect null.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}
