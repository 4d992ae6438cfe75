package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func detector() sdk.Connector {
	return sdk.Connector{
		Kind:          sdk.KindDetector,
		Summary:       "Acme's alerts.",
		CursorVersion: 1,
		Finite:        true, // "kelpie run --once" reads what there is, and ends
		New:           func() sdk.Instance { return &alerts{} },
	}
}

// alerts is the detector: the SDK asks it for what is new, page by page.
type alerts struct {
	client
	config struct {
		Every time.Duration `kelpie:"every" default:"30s" doc:"How often to ask when there is nothing more."`
	}
}

func (d *alerts) Config() any             { return &d.config }
func (d *alerts) Interval() time.Duration { return d.config.Every }

// Fetch returns one page. All that must survive a restart is in the cursor: the same
// cursor has to give the same events again, with the same ids.
func (d *alerts) Fetch(ctx context.Context, cursor []byte) (sdk.Page, error) {
	var answer struct {
		Items []json.RawMessage `json:"items"`
		Next  string            `json:"next"`
		More  bool              `json:"more"`
	}
	if err := d.call(ctx, http.MethodGet, "/v1/alerts?after="+url.QueryEscape(string(cursor)), "", nil, &answer); err != nil {
		return sdk.Page{}, err
	}
	page := sdk.Page{Cursor: []byte(answer.Next), More: answer.More}
	for _, raw := range answer.Items {
		page.Events = append(page.Events, event(raw))
	}
	return page, nil
}

// event keeps the vendor's JSON as it came, and reads from it what it can. What cannot
// be read is sent all the same, with what is wrong.
func event(raw json.RawMessage) sdk.Event {
	var alert struct {
		ID       string    `json:"id"`
		Version  int       `json:"version"`
		Name     string    `json:"name"`
		Severity *int      `json:"severity"`
		At       time.Time `json:"at"`
		Host     string    `json:"host"`
		Blocked  *bool     `json:"blocked"`
	}
	if err := json.Unmarshal(raw, &alert); err != nil {
		return sdk.Event{ID: alert.ID, Raw: raw, Problem: err.Error()}
	}
	e := sdk.Event{
		ID:       alert.ID, // the vendor's own; an alert that grew is a new revision of it
		Revision: strconv.Itoa(alert.Version),
		Raw:      raw,
		Time:     alert.At,
		Title:    alert.Name,
		Severity: alert.Severity,
		Stopped:  alert.Blocked,
	}
	if alert.Host != "" {
		e.Observables = []sdk.Observable{{Kind: sdk.Host, Value: alert.Host, Role: sdk.Subject}}
	}
	return e
}
