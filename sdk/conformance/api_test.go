package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// api is what the instances share: the client of farEnd.
type api struct {
	fake   *fake
	config struct {
		URL   string `kelpie:"url,required" doc:"Where the API is." example:"http://127.0.0.1:1"`
		Token string `kelpie:"token,secret,required" doc:"Its token."`
		Label string `kelpie:"label" doc:"What stands in answers." default:"none" example:"red"`
	}
}

func (a *api) Config() any { return &a.config }

func (a *api) Open(context.Context, sdk.Env) error {
	a.fake.mu.Lock()
	defer a.fake.mu.Unlock()
	a.fake.label = a.config.Label
	if a.fake.mode == "logs_secrets" {
		fmt.Fprintln(os.Stderr, "opened with "+a.config.Token)
	}
	return nil
}

// call asks farEnd; a limited one is an error that says so.
func (a *api) call(ctx context.Context, path string, query url.Values, into any) error {
	if a.fake.mode == "deaf" {
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.config.URL+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusTooManyRequests {
		e := &sdk.Error{Fault: sdk.FaultVendor, Err: errors.New("too many requests")}
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && a.fake.mode != "no_retry_time" {
			e.Reason, e.RetryAfter = sdk.Retry, time.Duration(seconds)*time.Second
		}
		return e
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

type detector struct{ api }

func (d *detector) Interval() time.Duration { return 50 * time.Millisecond }

func (d *detector) Fetch(ctx context.Context, cursor []byte) (sdk.Page, error) {
	var got struct {
		Events []json.RawMessage `json:"events"`
		Next   int               `json:"next"`
		More   bool              `json:"more"`
	}
	query := url.Values{"after": {string(cursor)}}
	if d.fake.mode == "takes_early" { // a queue, told at once that all is taken
		query.Set("take", "1")
	}
	if err := d.call(ctx, "/events", query, &got); err != nil {
		return sdk.Page{}, err
	}
	page := sdk.Page{Cursor: []byte(strconv.Itoa(got.Next)), More: got.More}
	if d.fake.mode == "takes_early" {
		page.Cursor = nil
	}
	for _, raw := range got.Events {
		var e struct{ ID string }
		if err := json.Unmarshal(raw, &e); err != nil {
			return sdk.Page{}, err
		}
		page.Events = append(page.Events, sdk.Event{ID: e.ID, Raw: raw})
	}
	return page, nil
}

type enricher struct{ api }

func (e *enricher) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	if strings.HasPrefix(e.fake.mode, "prints") || e.fake.mode == "sdk_prints" {
		fmt.Println("looking up " + questions[0].Observable.Value)
	}
	label := e.config.Label
	if e.fake.mode == "mixes" {
		e.fake.mu.Lock()
		label = e.fake.label
		e.fake.mu.Unlock()
	}
	var replies []sdk.Reply
	for _, q := range questions {
		if e.fake.mode == "breaks" && strings.Contains(q.Observable.Value, "\x1b") {
			go func() { panic("what is this?") }()
		}
		var got struct{ Score int }
		if err := e.call(ctx, "/ask", url.Values{"value": {q.Observable.Value}}, &got); err != nil {
			return nil, err
		}
		replies = append(replies, sdk.Reply{Answers: []sdk.Answer{{Verdict: &sdk.Verdict{
			Disposition: sdk.Suspicious, Score: got.Score, Confidence: 50, Labels: []string{label},
		}}}})
	}
	return replies, nil
}

type actor struct{ api }

// did is farEnd's answer about a key.
type did struct{ Before, Now bool }

func (a *actor) Execute(ctx context.Context, c sdk.Call) (sdk.Result, error) {
	if c.DryRun {
		return sdk.Result{Outcome: sdk.OutcomeDone, Message: "would isolate " + c.Target.Value}, nil
	}
	query := url.Values{"key": {c.Key}}
	if a.fake.mode == "repeats" {
		query.Set("again", "1")
	}
	var got did
	err := a.call(ctx, "/act", query, &got)
	var limited *sdk.Error
	switch {
	case errors.As(err, &limited) && a.fake.mode == "unsure":
		return sdk.Result{Outcome: sdk.OutcomeUnknown}, nil
	case errors.As(err, &limited):
		return sdk.Result{Outcome: sdk.OutcomeFailed, Message: limited.Error()}, nil
	case err != nil:
		return sdk.Result{}, err
	case got.Before && a.fake.mode != "repeats":
		return sdk.Result{Outcome: sdk.OutcomeAlready, SameKey: a.fake.mode != "forgets", UndoToken: []byte(c.Key)}, nil
	}
	return sdk.Result{Outcome: sdk.OutcomeDone, UndoToken: []byte(c.Key)}, nil
}

func (a *actor) Undo(ctx context.Context, c sdk.UndoCall) (sdk.Result, error) {
	var got did
	if err := a.call(ctx, "/undo", url.Values{"key": {string(c.Token)}}, &got); err != nil {
		return sdk.Result{}, err
	}
	if !got.Before {
		return sdk.Result{Outcome: sdk.OutcomeAlready, SameKey: true}, nil
	}
	return sdk.Result{Outcome: sdk.OutcomeDone}, nil
}

func (a *actor) Check(ctx context.Context, c sdk.CheckCall) (sdk.Result, error) {
	var got did
	if err := a.call(ctx, "/look", url.Values{"key": {c.Key}}, &got); err != nil {
		return sdk.Result{}, err
	}
	if got.Now {
		return sdk.Result{Outcome: sdk.OutcomeDone}, nil
	}
	return sdk.Result{Outcome: sdk.OutcomeFailed}, nil
}
