package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// before what the page shows stand its detector, actions and who knows the computers.
const beforeRespondPage = `
kelpie {
  listen = "127.0.0.1:8420"
}

detector "file" "edr_alerts" {
  path = "edr.json"
}

pipeline "edr" {
  from    = [detector.edr_alerts]
  alerts  = true
  respond = [response.ask_then_isolate]

  map {
    title    = "A program calls home"
    severity = event.raw.severity
    subjects = { host = event.raw.host }
  }
}

enrichment "table" "assets" {
  internal = true
  path     = "assets.csv"
  takes    = ["host"]
}

action "email" "mail" {
  server = "smtp://mail.example.org:587"
  from   = "kelpie@example.org"
}

connection "carbonblack" "edr" {
  url   = "https://cb.example.org"
  token = secret("cb-token")
}

action "carbonblack" "edr" {
  connection = connection.edr
}

`

// TestRespondPage: what the page shows is a configuration, and what it says.
func TestRespondPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/respond.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```hcl\n")
	text, _, _ = strings.Cut(text, "```")
	src, c, diags := parseText(t, beforeRespondPage+text, Options{})
	if c == nil || len(diags)+len(c.NotBuilt) > 0 {
		var out strings.Builder
		if c != nil {
			diags = append(diags, c.NotBuilt...)
		}
		if err := WriteText(&out, diags, src.Listing(), false); err != nil {
			t.Fatal(err)
		}
		t.Fatal(out.String())
	}
	wantRespondPage(t, c)
}

func wantRespondPage(t *testing.T, c *Config) {
	t.Helper()
	wantUsers := []plan.User{
		{
			Name: "kim", Mail: []string{"kim@example.org", "netsec@example.org"}, Roles: []string{"approver"}, Team: "netsec",
			Accounts: []string{"user:kim", `account:acme\kim`},
		},
		{Name: "lee", Mail: []string{"lee@example.org", "netsec@example.org"}, Roles: []string{"approver"}, Team: "netsec"},
	}
	if diff := cmp.Diff(wantUsers, c.Decide.Plan.Users); diff != "" {
		t.Error(diff)
	}
	steps := c.Decide.Plan.Responses[0].Steps
	ask, contain := steps[0], steps[1]
	wantOptions := []model.Option{
		{Name: "ignore", NeedsReason: true, Reasons: ignoreReasons()},
		{Name: "contain", Summary: "Isolate the computer", Run: []string{"isolate"}},
		{Name: "not_mine"},
	}
	if diff := cmp.Diff(wantOptions, ask.Options); diff != "" || ask.Wait != 20*time.Minute || ask.Text.Subject == nil || ask.Text.Asked == nil || ask.Text.Body != nil {
		t.Errorf("%s%+v", diff, ask)
	}
	a := *contain.Approval
	if a.To == nil {
		t.Error("nobody approves")
	}
	a.To = nil
	if diff := cmp.Diff(plan.Approval{Via: "action.mail", People: 2, Role: "approver", Wait: 30 * time.Minute, Otherwise: "refuse"}, a); diff != "" {
		t.Error(diff)
	}
	if contain.Parallel != 2 || len(contain.OnFailure) != 1 || len(steps[3].Needs) != 1 {
		t.Errorf("%+v", contain)
	}
	wantRetries := map[string]respond.Retry{
		"response.ask_then_isolate.isolate": {On: []string{"unavailable"}, Times: 5, First: 5 * time.Second, Most: 5 * time.Minute},
	}
	if diff := cmp.Diff(wantRetries, c.Respond.Retries); diff != "" {
		t.Error(diff)
	}
}
