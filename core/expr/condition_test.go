package expr_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// explained compiles a condition that stands in a file, with what says why it is not true.
func explained(t *testing.T, file, when string) (*expr.Program, expr.Conditions) {
	t.Helper()
	at := strings.Index(file, when)
	start := hcl.Pos{Line: 1 + strings.Count(file[:at], "\n"), Column: 1, Byte: at}
	e, diags := hclsyntax.ParseExpression([]byte(when), "config.hcl", start)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	env := expr.Env{Roots: map[string]*expr.Shape{"event": nil}}
	p, diags := expr.Compile(e, env)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	part, diags := expr.Parts(e, env)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p, expr.Conditions{p: {Part: part, File: file, Name: "config.hcl"}}
}

func TestExplain(t *testing.T) {
	const when = "event.raw.a == 1 &&\n\t(event.raw.b == \"x\" || has(event.raw.c))"
	p, why := explained(t, "pipeline \"x\" {\n  when = (\n"+when+"\n)\n}\n", when)
	s := &expr.Scope{}
	s.Set("event", expr.Object(map[string]expr.Value{"raw": expr.JSON([]byte(`{"a":1,"b":["y"]}`))}))
	want := expr.Explanation{
		Text: `event.raw.a == 1 && (event.raw.b == "x" || has(event.raw.c))`, Place: "config.hcl:3", Truth: "false",
		Reasons: []expr.Reason{
			{Text: `event.raw.b == "x"`, Truth: "false", Reads: []expr.ReasonsValue{{Name: "event.raw.b", Value: `["y"]`}}},
			{Text: `has(event.raw.c)`, Truth: "false", Reads: []expr.ReasonsValue{{Name: "event.raw.c", Value: "null"}}},
		},
	}
	if diff := cmp.Diff(want, why.Explain(p, s)); diff != "" {
		t.Error(diff)
	}
	s.Set("event", expr.Object(map[string]expr.Value{"raw": expr.JSON([]byte(`{"a":1,"b":"x"}`))}))
	if e := why.Explain(p, s); !e.True() || len(e.Reasons) > 0 {
		t.Errorf("%+v", e)
	}
	if e := why.Explain(nil, s); !e.True() {
		t.Errorf("no condition: %+v", e)
	}
	if e := expr.Conditions(nil).Explain(p, s); !e.True() || e.Text != "" {
		t.Errorf("not among the conditions: %+v", e)
	}
}

// The reasons are those of the parts, as far as there are not too many.
func TestExplainIsWhatThePartsSay(t *testing.T) {
	words := []string{"true", "false", "null"}
	for _, when := range []string{
		"event.a && event.b && event.c", "event.a || event.b || event.c", "event.a && (event.b || !event.c)",
		"!(event.a || event.b) && event.c", "!(event.a && !event.b) || event.c", "!(event.a && (event.b || event.c))", "event.a == event.b && !event.c",
	} {
		p, why := explained(t, when, when)
		for i := range 27 {
			s := &expr.Scope{}
			s.Set("event", expr.JSON(fmt.Appendf(nil, `{"a":%s,"b":%s,"c":%s}`, words[i%3], words[i/3%3], words[i/9])))
			var want, got []string
			for _, f := range why[p].Part.Find(s).Reasons() {
				want = append(want, when[f.Part.Range.Start.Byte:f.Part.Range.End.Byte]+" "+f.Truth.String())
			}
			e := why.Explain(p, s)
			if e.True() {
				want = nil // it is said why one is not true
			}
			for _, r := range e.Reasons {
				got = append(got, r.Text+" "+r.Truth)
			}
			if diff := cmp.Diff(want, got); diff != "" || e.More {
				t.Errorf("%s, case %d: %v %s", when, i, e.More, diff)
			}
		}
	}
}

// Whatever a condition reads, what is said of it is small.
func TestExplainIsBounded(t *testing.T) {
	when := "event.raw.a == 1" + strings.Repeat(` && event.raw.a == "`+strings.Repeat("é", 20)+`"`, 100)
	p, why := explained(t, when, when)
	s := &expr.Scope{}
	s.Set("event", expr.Object(map[string]expr.Value{"raw": expr.JSON([]byte(`{"a":"` + strings.Repeat("é", 1<<16) + `"}`))}))
	e := why.Explain(p, s)
	if len(e.Reasons) != 8 || !e.More || len(e.Text) > 610 || !strings.HasSuffix(e.Text, "…") || strings.Contains(e.Text, "\ufffd") {
		t.Errorf("%d reasons, more: %v, %d bytes of text: %q", len(e.Reasons), e.More, len(e.Text), e.Text)
	}
	for _, r := range e.Reasons {
		for _, v := range r.Reads {
			if len(v.Value) > 170 {
				t.Errorf("a value of %d bytes", len(v.Value))
			}
		}
	}
	// What is too much work is given up, and no reason is looked for.
	heavy := `length([for x in split(",", event.raw.a) : [for y in split(",", event.raw.a) : x + y]]) > 1`
	p, why = explained(t, heavy, heavy)
	s.Set("event", expr.Object(map[string]expr.Value{"raw": expr.JSON([]byte(`{"a":"` + strings.Repeat("x,", 1<<15) + `"}`))}))
	if e := why.Explain(p, s); e.Truth != expr.GivenUp || e.True() || len(e.Reasons) > 0 {
		t.Errorf("%+v", e)
	}
}
