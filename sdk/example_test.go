package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// This is a whole plugin for a product that does not exist, Acme: a detector that asks
// for alerts, an enrichment that knows hosts, and an action that isolates one. What all
// of them need to reach Acme is in the connection.

type connection struct {
	URL    string   `kelpie:"url,required" doc:"Where Acme's API is." example:"https://acme.example.org"`
	Token  string   `kelpie:"token,secret,required" doc:"A token of a service account."`
	CAFile sdk.Path `kelpie:"ca_file" doc:"PEM certificates to trust instead of the system's."`
}

// acme is what the three connectors share.
type acme struct {
	connection connection
	http       *http.Client
}

func (a *acme) ConfigConnection() any { return &a.connection }

// Open is called once, when the configuration is known.
func (a *acme) Open(_ context.Context, _ sdk.Env) (err error) {
	options := sdk.HTTPOptions{CAFile: string(a.connection.CAFile), UserAgent: "kelpie-acme/1.0.0"}
	if a.http, err = sdk.NewHTTPClient(options); err != nil {
		return sdk.Diagnostic{Path: []string{"ca_file"}, Summary: err.Error(), Connection: true}
	}
	return nil
}

// Validate complains at the attribute that is wrong, beyond its type.
func (a *acme) Validate() []sdk.Diagnostic {
	if u, err := url.Parse(a.connection.URL); err != nil || u.Scheme != "https" {
		return []sdk.Diagnostic{{
			Path: []string{"url"}, Connection: true,
			Summary: "url must begin with https", Detail: "Acme's tokens must not travel in the clear.",
		}}
	}
	return nil
}

// call asks Acme, and says in its errors what the core should make of them.
func (a *acme) call(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.connection.URL+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.connection.Token)
	resp, err := a.http.Do(req)
	if err != nil {
		return &sdk.Error{Fault: sdk.FaultVendor, Err: err}
	}
	body, err := sdk.ReadBody(resp, 8<<20)
	if err != nil {
		return &sdk.Error{Fault: sdk.FaultVendor, Err: err}
	}
	failed := &sdk.Error{Fault: sdk.FaultVendor, Err: fmt.Errorf("acme answers %s", resp.Status)}
	switch resp.StatusCode {
	case http.StatusOK:
		return json.Unmarshal(body, into)
	case http.StatusUnauthorized, http.StatusForbidden:
		failed.Reason = sdk.Denied
	case http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		failed.Reason, failed.RetryAfter = sdk.Retry, time.Duration(seconds)*time.Second
	}
	return failed
}

// alerts is a detector: the SDK's poller asks it for what is new.
type alerts struct {
	acme
	config struct {
		Every    time.Duration `kelpie:"every" default:"30s" doc:"How often to ask."`
		Products []string      `kelpie:"products" oneof:"edr,mail" default:"[\"edr\"]" doc:"Whose alerts to read."`
	}
}

func (d *alerts) Config() any             { return &d.config }
func (d *alerts) Interval() time.Duration { return d.config.Every }

// Fetch returns one page. Everything that must survive is in the cursor.
func (d *alerts) Fetch(ctx context.Context, cursor []byte) (sdk.Page, error) {
	var answer struct {
		Alerts []json.RawMessage `json:"alerts"`
		Next   string            `json:"next"`
		More   bool              `json:"more"`
	}
	if err := d.call(ctx, http.MethodGet, "/alerts?after="+url.QueryEscape(string(cursor)), &answer); err != nil {
		return sdk.Page{}, err
	}
	page := sdk.Page{Cursor: []byte(answer.Next), More: answer.More}
	for _, raw := range answer.Alerts {
		page.Events = append(page.Events, event(raw))
	}
	return page, nil
}

// event keeps the vendor's JSON as it came, and reads from it what it can.
func event(raw []byte) sdk.Event {
	var alert struct {
		ID       string    `json:"id"`
		Version  int       `json:"version"`
		Name     string    `json:"name"`
		Severity *int      `json:"severity"`
		At       time.Time `json:"at"`
		Host     string    `json:"host"`
	}
	if err := json.Unmarshal(raw, &alert); err != nil {
		return sdk.Event{Raw: raw, Problem: err.Error()}
	}
	e := sdk.Event{
		ID: alert.ID, Revision: strconv.Itoa(alert.Version), Raw: raw,
		Time: alert.At, Title: alert.Name, Severity: alert.Severity,
	}
	if alert.Host != "" {
		e.Observables = []sdk.Observable{{Kind: sdk.Host, Value: alert.Host, Role: sdk.Subject}}
	}
	return e
}

// hosts is an enrichment.
type hosts struct{ acme }

func (h *hosts) Config() any { return nil } // its block has no attributes of its own

func (h *hosts) Enrich(ctx context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	replies := make([]sdk.Reply, len(questions))
	for i, q := range questions {
		var host struct {
			Name  string `json:"name"`
			Owner string `json:"owner"`
		}
		// A question that fails fails alone.
		if replies[i].Err = h.call(ctx, http.MethodGet, "/hosts/"+url.PathEscape(q.Observable.Value), &host); replies[i].Err != nil {
			continue
		}
		if host.Name != "" {
			replies[i].Answers = []sdk.Answer{{Asset: &sdk.Asset{Name: host.Name, Owner: host.Owner}}}
		}
	}
	return replies, nil
}

// isolation is an action. It can undo what it did, and say afterwards whether it did.
type isolation struct{ acme }

func (i *isolation) Config() any { return nil }

type isolateParameters struct {
	Reason string `kelpie:"reason" doc:"Shown to the host's user."`
}

func (i *isolation) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	reason := call.Parameters.(*isolateParameters).Reason
	if call.DryRun {
		return sdk.Result{Outcome: sdk.OutcomeDone, Message: "would isolate " + call.Target.Value}, nil
	}
	path := fmt.Sprintf("/hosts/%s/isolate?key=%s&reason=%s", url.PathEscape(call.Target.Value), call.Key, url.QueryEscape(reason))
	return i.outcome(ctx, http.MethodPost, path)
}

func (i *isolation) Undo(ctx context.Context, call sdk.UndoCall) (sdk.Result, error) {
	return i.outcome(ctx, http.MethodPost, "/hosts/"+url.PathEscape(call.Target.Value)+"/release?key="+call.Key)
}

func (i *isolation) Check(ctx context.Context, call sdk.CheckCall) (sdk.Result, error) {
	return i.outcome(ctx, http.MethodGet, "/requests/"+call.Key)
}

// outcome claims nothing that did not happen: after an error that is not clear the core
// asks Check.
func (i *isolation) outcome(ctx context.Context, method, path string) (sdk.Result, error) {
	var answer struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	err := i.call(ctx, method, path, &answer)
	var told *sdk.Error
	if errors.As(err, &told) && told.Reason == sdk.Retry { // a limit: it was not taken
		return sdk.Result{Outcome: sdk.OutcomeFailed, Message: err.Error()}, nil
	}
	if err != nil {
		return sdk.Result{}, err
	}
	outcome := sdk.OutcomeUnknown
	switch answer.State {
	case "done":
		outcome = sdk.OutcomeDone
	case "already":
		outcome = sdk.OutcomeAlready
	}
	return sdk.Result{Outcome: outcome, Reference: answer.ID}, nil
}

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "acme",
		Version:     "1.0.0",
		Connection:  func() any { return &connection{} },
		Permissions: sdk.Permissions{Read: []string{"{ca_file}"}, Network: []string{"tcp:{url}"}},
		Connectors: []sdk.Connector{
			{
				Kind: sdk.KindDetector, Summary: "Acme's alerts.", CursorVersion: 1,
				New: func() sdk.Instance { return &alerts{} },
			},
			{
				Kind: sdk.KindEnrichment, Summary: "What Acme knows of hosts.", Local: true,
				Takes: []string{sdk.Host}, BatchLimit: 20, DefaultTTL: time.Hour,
				New: func() sdk.Instance { return &hosts{} },
			},
			{
				Kind: sdk.KindAction, Summary: "Isolates hosts.",
				New: func() sdk.Instance { return &isolation{} },
				Verbs: []sdk.Verb{{
					Name: "isolate_host", Targets: []string{sdk.Host}, Undo: true, Check: true, Idempotent: true,
					Settle: time.Minute, Parameters: func() any { return &isolateParameters{} },
				}},
			},
		},
	}
}

// The whole of a plugin's main.
func ExampleServe() {
	main := func() { sdk.Serve(plugin()) }
	_ = main
}

// A plugin that contradicts itself is found by a test, before its users do.
func ExampleNewServer() {
	_, err := sdk.NewServer(plugin())
	fmt.Println(err)

	wrong := plugin()
	wrong.Connectors[2].Verbs[0].Undo = false
	_, err = sdk.NewServer(wrong)
	fmt.Println(err)
	// Output:
	// <nil>
	// action: *sdk_test.isolation implements Undoer, but no verb says Undo
}

// What the operator writes is checked by the struct that it fills.
func ExampleDecode() {
	var d alerts
	for _, complaint := range sdk.Decode([]byte(`{"every": "5 minutes", "products": ["edr", "web"], "evry": "1m"}`), d.Config()) {
		fmt.Println(complaint.Path, complaint)
	}
	fmt.Println(sdk.Decode([]byte(`{"every": "5m"}`), d.Config()), d.config.Every, d.config.Products)
	// Output:
	// [every] "every": "5 minutes" is no duration; write it as 10s, 15m, 24h or 7d
	// [products 1] "products" must be one of "edr", "mail"
	// [evry] there is no attribute or block "evry" here
	// [] 5m0s [edr]
}
