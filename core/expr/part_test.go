package expr_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

func partsOf(t *testing.T, text string, strict bool) *expr.Part {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(text), "test", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := expr.Parts(e, expr.Env{
		Roots: map[string]*expr.Shape{"event": nil}, Strict: strict,
		Constants: map[string]expr.Value{"local": expr.JSON([]byte(`{"limit":3}`))},
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

func TestReasons(t *testing.T) {
	const event = `{"a":1,"b":"x","list":[{"n":1},{"n":2}],"deep":{"c":true}}`
	for _, tt := range []struct {
		when string
		want string // the whole, then a reason a line with what it read
	}{
		{`event.a == 1`, "true\nevent.a == 1: true; event.a=1"},
		{`event.a == 2`, "false\nevent.a == 2: false; event.a=1"},
		{`event.a == 1 && event.b == "y" && event.d == 3`, "false\nevent.b == \"y\": false; event.b=\"x\"\nevent.d == 3: false; event.d=null"},
		{`event.a == 2 || (event.b == "y" && event.deep.c)`, "false\nevent.a == 2: false; event.a=1\nevent.b == \"y\": false; event.b=\"x\""},
		{`event.a == 2 || event.deep.c`, "true\nevent.deep.c: true; event.deep.c=true"},
		{`event.a == 1 && !(event.b == "y" || event.d == 1)`, "true\nevent.a == 1: true; event.a=1\nnot event.b == \"y\": false; event.b=\"x\"\nnot event.d == 1: false; event.d=null"},
		{`!!(event.a == 2)`, "false\nevent.a == 2: false; event.a=1"},
		{`!(event.a == 1 && event.deep.c)`, "false\nnot event.a == 1: true; event.a=1\nnot event.deep.c: true; event.deep.c=true"},
		{`!(event.a == 1 || event.b == "y")`, "false\nnot event.a == 1: true; event.a=1"},
		{`event.d > 3 || event.a == 2`, "null\nevent.d > 3: null; event.d=null\nevent.a == 2: false; event.a=1"},
		{`!event.d`, "null\nnot event.d: null; event.d=null"},
		{`event.a > local.limit`, "false\nevent.a > local.limit: false; event.a=1; local.limit=3"},
		{`contains([for x in event.list : x.n], 3)`, "false\ncontains([for x in event.list : x.n], 3): false; event.list=[{\"n\":1},{\"n\":2}]"},
		{`event.list[0].n == 2 && event["a"] == event.a`, "false\nevent.list[0].n == 2: false; event.list[0].n=1"},
	} {
		s := &expr.Scope{}
		s.Set("event", expr.JSON([]byte(event)))
		f := partsOf(t, tt.when, false).Find(s)
		got := f.Truth.String()
		for _, r := range f.Reasons() {
			at := r.Part.Range
			got += "\n" + map[bool]string{true: "not "}[r.Negated] + tt.when[at.Start.Byte:at.End.Byte] + ": " + r.Truth.String()
			for i, read := range r.Part.Reads {
				got += fmt.Sprintf("; %s=%s", read.Name, r.Values[i])
			}
		}
		if got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.when, got, tt.want)
		}
	}
}

// The whole says the same taken apart: over all truths of three operands.
func TestPartsTruth(t *testing.T) {
	words := []string{"true", "false", "null"}
	for _, when := range []string{
		"event.a && event.b && event.c", "event.a || event.b || event.c", "event.a && (event.b || !event.c)",
		"!(event.a || event.b) && event.c", "!(event.a && !event.b) || event.c", "event.a == event.b && !event.c",
	} {
		for _, strict := range []bool{false, true} {
			parts := partsOf(t, when, strict)
			e, _ := hclsyntax.ParseExpression([]byte(when), "test", hcl.InitialPos)
			whole, diags := expr.Compile(e, expr.Env{Roots: map[string]*expr.Shape{"event": nil}, Strict: strict})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			for i := range 27 {
				text := fmt.Sprintf(`{"a":%s,"b":%s,"c":%s}`, words[i%3], words[i/3%3], words[i/9])
				s := &expr.Scope{}
				s.Set("event", expr.JSON([]byte(text)))
				want, f := whole.Truth(s), parts.Find(s)
				if f.Truth != want {
					t.Errorf("%s with %s, strict %v: %v in parts, %v as a whole", when, text, strict, f.Truth, want)
				}
				for _, r := range f.Reasons() {
					// Of what is true, or false, no reason may say the contrary.
					if got := r.Truth; got != expr.Null && want != expr.Null && (got == want) == r.Negated {
						t.Errorf("%s with %s is %v, since a part (negated: %v) is %v", when, text, want, r.Negated, got)
					}
				}
			}
		}
	}
}

func TestPartsOfWhatIsWrong(t *testing.T) {
	e, _ := hclsyntax.ParseExpression([]byte(`event.a && nosuch.b`), "test", hcl.InitialPos)
	p, diags := expr.Parts(e, expr.Env{Roots: map[string]*expr.Shape{"event": nil}})
	if p != nil || !strings.Contains(diags.Error(), "nosuch") {
		t.Errorf("%v, %v", p, diags)
	}
}
