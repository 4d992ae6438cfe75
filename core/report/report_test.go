package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hostile is what an attacker may write into a field.
const hostile = "<script>alert(1)</script> \" onmouseover=x ' ](https://evil.example) **b** `c` <img src=x> | # h\n# head\n- item\u202e\u0000 www.evil.example {{.}} &lt;"

// everything is a case with something in each section; text stands wherever an event, an
// answer or a person may have put it.
func everything(text string) *api.Explanation {
	no, rated := false, 60
	g := model.Signal{ID: "s-1", Rule: "pipeline.edr", Title: text, Severity: 80, Time: noon, Notes: []string{text}}
	several := g
	several.ID, several.Size, several.Last, several.Rule = "s-2", 12, noon.Add(time.Minute), "rule.many"
	host := sdk.Observable{Kind: "host", Value: text}
	return &api.Explanation{
		At: noon.Add(time.Hour),
		Case: model.Case{
			ID: "c-1", State: model.CaseClosed, Title: text, Severity: 80, Stopped: &no, Rules: []string{"pipeline.edr", "rule.many"},
			Subjects: []sdk.Observable{host, {Kind: "user", Value: "pat"}}, Reported: 1, Indicators: []sdk.Observable{{Kind: "ip", Value: "203.0.113.7"}},
			Techniques: []string{"T1204"}, FirstAt: noon, LastAt: noon.Add(time.Minute), OpenedAt: noon.Add(time.Second), Joined: []string{"they share " + text},
			Score: model.Score{Total: 7300, Upper: 8000, Unknown: []string{"enrichment.reputation about " + text}, Factors: []model.Factor{
				{Name: "threat", Combine: "max", Weight: "0.8", Sum: 8000, Share: 6400, Lines: []model.Line{{Points: 8000, Counted: 8000, Because: text}}}, {Name: "user"},
			}},
			Notes:   []model.Note{{Response: "response.contain", Step: "isolate", Target: text, Why: text, At: noon}},
			Finding: &model.Finding{Kind: model.TruePositive, By: text, Notes: text, At: noon.Add(time.Hour), Minutes: 25, Loss: 300},
		},
		Signals: []model.Signal{g, several},
		Lookups: []store.Lookup{
			{Ask: model.Ask{Enrichment: "enrichment.assets", Observable: host, AskedAt: noon}, Reply: &model.Reply{State: model.Known, AnsweredAt: noon, Answers: []model.Answer{{Asset: &model.Asset{Name: text, Owner: "kim", Criticality: &rated}}}}},
			{Ask: model.Ask{Enrichment: "enrichment.reputation", Observable: host, AskedAt: noon}, Reply: &model.Reply{State: model.Failed, AnsweredAt: noon, Reason: text}},
			{Ask: model.Ask{Enrichment: "enrichment.late", Observable: host, AskedAt: noon}},
		},
		Intents: []model.Intent{
			{ID: "i-1", Verb: "isolate_host", Action: "action.edr", Target: model.Target{Kind: "host", Value: text}, State: model.IntentUndone, Hold: "h-1", UndoAfter: 4 * time.Hour, Because: text, ChosenBy: "kim", PlannedAt: noon, FinishedAt: noon.Add(time.Minute), Reference: text},
			{ID: "i-2", Verb: "release_host", Action: "action.edr", Target: model.Target{Kind: "host", Value: text}, State: model.IntentFailed, Undoes: "i-1", Message: text, PlannedAt: noon.Add(4 * time.Hour)},
		},
		Questions: []model.Question{{
			ID: "q-1", Kind: model.QuestionChoice, Response: "response.ask", Step: "ask", State: model.QuestionTimedOut, OpenedAt: noon, Why: text,
			Levels:  []model.Level{{To: []string{"kim@example.org"}, Why: "owner of " + text}},
			Asked:   []model.Asked{{Address: "kim@example.org", Person: "kim", Intent: "i-3", Accepted: noon}, {Address: text, Failed: true, Intent: "i-4", Subject: true}},
			Choices: []model.Choice{{By: text, Option: "ignore", Road: model.RoadLink, At: noon, Reason: text, Why: text}},
		}},
	}
}

func written(t *testing.T, e *api.Explanation) (md, page string) {
	t.Helper()
	r := Of(e)
	var a, b strings.Builder
	if err := Markdown(&a, &r); err != nil {
		t.Fatal(err)
	}
	if err := HTML(&b, &r); err != nil {
		t.Fatal(err)
	}
	return a.String(), b.String()
}

func TestReport(t *testing.T) {
	md, page := written(t, everything("ws-17 was reached"))
	for name, text := range map[string]string{"report.md": md, "report.html": page} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestHostile: what an attacker writes into a field is text in the page, and changes
// nothing of how the report is built.
func TestHostile(t *testing.T) {
	plainMD, plainPage := written(t, everything("x"))
	md, page := written(t, everything(hostile))
	if want, got := tags(t, plainPage), tags(t, page); want != got {
		t.Errorf("the page is built otherwise:\n%s", cmp.Diff(want, got))
	}
	for _, bad := range []string{"<script", "<img", "\u202e", "\x00"} {
		if strings.Contains(page, bad) || strings.Contains(md, bad) {
			t.Errorf("%q is in it", bad)
		}
	}
	if want, got := strings.Count(plainMD, "\n"), strings.Count(md, "\n"); want != got {
		t.Errorf("%d lines of Markdown, not %d", got, want)
	}
	for line := range strings.Lines(strings.NewReplacer(`\]`, "", `\*`, "", "\\`", "").Replace(md)) {
		for _, bad := range []string{"](", "https://", " **b**", " `c`", "<"} {
			if strings.Contains(line, bad) {
				t.Errorf("%q is markup in %q", bad, line)
			}
		}
	}
}

// tags are the elements of a page with their attributes, in their order.
func tags(t *testing.T, page string) string {
	t.Helper()
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			b.WriteString(z.Token().String() + "\n")
		case html.TextToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

func TestEmptyReport(t *testing.T) {
	md, _ := written(t, &api.Explanation{})
	for _, want := range []string{"Nobody was asked", "Nothing was done", "Nobody has said yet"} {
		if !strings.Contains(md, want) {
			t.Errorf("%q is not in\n%s", want, md)
		}
	}
}
