package score

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

func program(t testing.TB, text string) *expr.Program {
	t.Helper()
	if text == "" {
		return nil
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), "score.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := expr.Compile(e, expr.Env{Roots: map[string]*expr.Shape{"case": nil, "each": nil, "factor": nil}})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

func evidence(t testing.TB, name, forEach, when, points, because string) Evidence {
	return Evidence{
		Name: name, ForEach: program(t, forEach), When: program(t, when),
		Points: program(t, points), Because: program(t, because),
	}
}

func scorer(t testing.TB, factors ...Factor) *Scorer {
	t.Helper()
	sc, err := New(Settings{Factors: factors})
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func value(v any) expr.Value { return expr.From(v) }

func ptr[T any](v T) *T { return &v }

// lines shows a factor as "points→counted, … = sum, capped, share".
func lines(f model.Factor) string {
	var b strings.Builder
	for i, l := range f.Lines {
		if i > 0 {
			b.WriteString(" ")
		}
		fmt.Fprintf(&b, "%d→%d", l.Points, l.Counted)
	}
	fmt.Fprintf(&b, " = %d, %d, %d", f.Sum, f.Capped, f.Share)
	return b.String()
}

func TestCombine(t *testing.T) {
	for _, c := range []struct {
		name, combine, weight string
		points                []any
		want                  string
	}{
		{"nothing", Max, "1", nil, " = 0, 0, 0"},
		{"max", Max, "0.8", []any{30, 70, 70, 5}, "3000→0 7000→7000 7000→0 500→0 = 7000, 7000, 5600"},
		{"sum", Sum, "1", []any{30, 20}, "3000→3000 2000→2000 = 5000, 5000, 5000"},
		{"sum over the cap", Sum, "1", []any{80, 40}, "8000→8000 4000→4000 = 12000, 10000, 10000"},
		{"decay sorts downwards", Decay, "1", []any{10, 80, 40}, "1000→250 8000→8000 4000→2000 = 10250, 10000, 10000"},
		{"decay rounds each line", Decay, "1", []any{1, 1, 1, 1, 1, 1, 1}, "100→100 100→50 100→25 100→13 100→6 100→3 100→2 = 199, 199, 199"},
		{"null counts nothing and has no line", Sum, "1", []any{nil, 10, "20", true}, "1000→1000 = 1000, 1000, 1000"},
		{"half away from zero", Sum, "1", []any{expr.Number("0.125"), expr.Number("-0.125"), expr.Number("0.1249999999")}, "13→13 -13→-13 12→12 = 12, 12, 12"},
		{"negative lines", Sum, "1", []any{50, -20}, "5000→5000 -2000→-2000 = 3000, 3000, 3000"},
		{"not below zero", Sum, "1", []any{-20}, "-2000→-2000 = -2000, 0, 0"},
		{"exact weight", Max, "0.335", []any{1}, "100→100 = 100, 100, 34"},
		{"beyond all bounds", Sum, "1", []any{expr.Number("1e300"), expr.Number("-1e300")}, "100000000→100000000 -100000000→-100000000 = 0, 0, 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Factor{Name: "f", Weight: c.weight, Combine: c.combine, Evidence: []Evidence{
				evidence(t, "e", "case.list", "", "each.value", ""),
			}}
			got := scorer(t, f).Score(value(map[string]any{"list": c.points}), nil, 0)
			if s := lines(got.Factors[0]); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestScoreOfACase(t *testing.T) {
	sc := scorer(
		t,
		Factor{Name: "threat", Weight: "0.8", Combine: Max, Evidence: []Evidence{
			evidence(t, "verdicts", "case.verdicts", "each.value.disposition != \"benign\"",
				"each.value.score * each.value.confidence / 100",
				`"${each.value.source} calls ${each.value.observable} ${each.value.disposition}"`),
			evidence(t, "detector", "", "", "case.severity", `"reported at ${case.severity}"`),
		}},
		Factor{Name: "machine", Weight: "0.2", Combine: Max, Evidence: []Evidence{
			evidence(t, "criticality", "case.assets", "", "each.value.criticality", `"${each.value.name} is rated ${each.value.criticality}"`),
		}},
		Factor{Name: "history", Weight: "0.5", Combine: Sum, Evidence: []Evidence{
			evidence(t, "stopped", "", "case.stopped", "-10", ""),
		}},
	)
	c := value(map[string]any{
		"severity": 60, "stopped": false,
		"verdicts": []any{
			map[string]any{"source": "enrichment.vt", "observable": "bad.example", "about": "domain:bad.example", "at": "2026-03-01T11:00:00+01:00", "disposition": "malicious", "score": 90, "confidence": 85},
			map[string]any{"source": "enrichment.vt", "observable": "good.example", "disposition": "benign", "score": 100, "confidence": 100},
		},
		"assets": []any{map[string]any{"name": "ws-17"}},
	})
	got := sc.Score(c, []string{"enrichment.x failed"}, 3)
	want := model.Score{
		Total: 6120, Sum: 6120, Upper: 10000,
		Factors: []model.Factor{
			{
				Name: "threat", Combine: Max, Weight: "0.8", Sum: 7650, Capped: 7650, Share: 6120,
				Lines: []model.Line{
					{
						Evidence: "verdicts", Points: 7650, Counted: 7650, Because: "enrichment.vt calls bad.example malicious",
						Source: "enrichment.vt", About: "domain:bad.example", At: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), Reliability: ptr(85),
					},
					{Evidence: "detector", Points: 6000, Because: "reported at 60"},
				},
			},
			{Name: "machine", Combine: Max, Weight: "0.2"},
			{Name: "history", Combine: Sum, Weight: "0.5"},
		},
		Unknown: []string{"enrichment.x failed", "and 2 more"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := sc.Score(c, nil, 0); got.Upper != got.Total || got.Unknown != nil {
		t.Errorf("with nothing unknown upper is %d of %d", got.Upper, got.Total)
	}
}

func TestForEachOverAnObject(t *testing.T) {
	sc := scorer(t, Factor{Name: "f", Weight: "1", Combine: Sum, Evidence: []Evidence{
		evidence(t, "e", "case.patches", "", "each.value * 2", `"${each.key}: ${each.value}"`),
	}})
	got := sc.Score(value(map[string]any{"patches": map[string]any{"high": 3, "critical": 5}}), nil, 0)
	if s := lines(got.Factors[0]); s != "1000→1000 600→600 = 1600, 1600, 1600" || got.Factors[0].Lines[0].Because != "critical: 5" {
		t.Errorf("got %s, %q", s, got.Factors[0].Lines[0].Because)
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	for _, f := range []Factor{
		{Name: "f", Weight: "1/3", Combine: Max},
		{Name: "f", Weight: "", Combine: Max},
		{Name: "f", Weight: "1e9", Combine: Max},
		{Name: "f", Weight: "-1", Combine: Max},
		{Name: "f", Weight: "1.", Combine: Max},
		{Name: "f", Weight: "1000.5", Combine: Max},
		{Name: "f", Weight: "0.1234567891", Combine: Max},
		{Name: "f", Weight: "1", Combine: "mean"},
		{Name: "f", Weight: "1", Combine: Max, Round: 3},
		{Name: "f", Weight: "1", Combine: Max, Divide: -1},
		{Name: "f", Weight: "1", Combine: Max, Divide: MaxDivide + 1},
	} {
		if _, err := New(Settings{Factors: []Factor{f}}); !errors.Is(err, ErrSettings) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestManyLines(t *testing.T) {
	for combine, want := range map[string]model.Hundredths{Max: 100, Sum: 10000, Decay: 200} {
		sc := scorer(t, Factor{Name: "f", Weight: "1", Combine: combine, Evidence: []Evidence{evidence(t, "e", "case.list", "", "each.value", "")}})
		list := make([]any, 5000)
		for i := range list {
			list[i] = 1
		}
		got := sc.Score(value(map[string]any{"list": list}), nil, 0)
		f := got.Factors[0]
		var sum model.Hundredths
		for _, l := range f.Lines {
			sum += l.Counted
		}
		if len(f.Lines) != 100 || sum != f.Sum || got.Total != want || f.Lines[99].Because != "and 4901 more" {
			t.Errorf("%s: %d lines give %d of %d, total %d, last %+v", combine, len(f.Lines), sum, f.Sum, got.Total, f.Lines[99])
		}
	}
}

func collect(v expr.Value) []expr.Value {
	var items []expr.Value
	for item := range v.Items() {
		items = append(items, item)
	}
	return items
}
