package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func detector() sdk.Connector {
	return sdk.Connector{
		Kind:          sdk.KindDetector,
		Summary:       "Reputation's alerts.",
		CursorVersion: 1,
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
		Alerts []json.RawMessage `json:"alerts"`
		Pages  int               `json:"pages"`
	}
	if err := d.call(ctx, http.MethodGet, "/v1/alerts?since="+url.QueryEscape(string(cursor)), "", nil, &answer); err != nil {
		return sdk.Page{}, err
	}
	page := sdk.Page{More: answer.Pages > 1}
	for _, raw := range answer.Alerts {
		e := event(raw)
		page.Events = append(page.Events, e)
		if e.ID != "" {
			page.Cursor = []byte(e.ID) // what comes after it is on the next first page
		}
	}
	return page, nil
}

// event keeps the vendor's JSON as it came, and reads from it what it can. What cannot
// be read is sent all the same, with what is wrong.
func event(raw json.RawMessage) sdk.Event {
	var alert struct {
		ID       string    `json:"id"`
		Seen     time.Time `json:"seen"`
		Title    string    `json:"title"`
		Risk     string    `json:"risk"`
		Attacker string    `json:"attacker"`
		Machine  string    `json:"machine"`
	}
	if err := json.Unmarshal(raw, &alert); err != nil {
		return sdk.Event{ID: alert.ID, Raw: raw, Problem: err.Error()}
	}
	e := sdk.Event{ID: alert.ID, Raw: raw, Time: alert.Seen, Title: alert.Title}
	if severity, ok := map[string]int{"low": 20, "medium": 50, "high": 80}[alert.Risk]; ok {
		e.Severity = &severity
	}
	if alert.Machine != "" {
		e.Observables = append(e.Observables, sdk.Observable{Kind: sdk.IP, Value: alert.Machine, Role: sdk.Subject})
	}
	if alert.Attacker != "" {
		e.Observables = append(e.Observables, sdk.Observable{Kind: sdk.IP, Value: alert.Attacker, Role: sdk.Indicator})
	}
	return e
}
