package expr

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

var update = flag.Bool("update", false, "write the golden files")

func TestDiagnostics(t *testing.T) {
	const file = "testdata/diagnostics.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := Env{
		Roots:     eventRoots(),
		Constants: map[string]Value{"var": From(map[string]any{"sensors": []string{"a"}}), "local": From(map[string]any{})},
		Want:      BoolKind,
	}
	var got strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		source, _, _ := strings.Cut(block, "\n")
		if got.Len() > 0 {
			got.WriteString("\n")
		}
		got.WriteString(source + "\n")
		if strings.HasPrefix(source, "#") {
			continue
		}
		e, diags := hclsyntax.ParseExpression([]byte(source), "t.hcl", hcl.InitialPos)
		if !diags.HasErrors() {
			_, diags = Compile(e, env)
		}
		for _, d := range diags {
			fmt.Fprintf(&got, "    %s: %s. %s\n", strings.TrimPrefix(d.Subject.String(), "t.hcl:"), d.Summary, d.Detail)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != string(text) {
		t.Errorf("diagnostics differ from %s; got\n%s", file, got.String())
	}
}

func TestPaths(t *testing.T) {
	env := Env{
		Roots: map[string]*Shape{
			"event": nil, "step": nil, "each": nil,
			"case": {Kind: ObjectKind, Fields: map[string]*Shape{
				"assets": {Kind: ListKind, Elem: &Shape{Kind: ObjectKind, Fields: map[string]*Shape{"owner": nil, "roles": nil}}},
				"score":  {Kind: ObjectKind},
			}},
		},
		Constants: map[string]Value{"local": From(map[string]any{"x": 1})},
	}
	tests := []struct{ source, want string }{
		{`event.raw.a == 1 && event.raw.b.c != event.raw.a`, "event.raw.a event.raw.b.c"},
		{`event.raw["a"]["b c"]`, "event.raw.a.b c"},
		{`event.raw.list[0].x`, "event.raw.list.*.x"},
		{`event.raw[event.raw.key].x`, "event.raw.*.x event.raw.key"},
		{`step.ask.result == "timed_out"`, "step.ask.result"},
		{`case.assets.owner`, "case.assets.*.owner"},
		{`case.assets[*].owner`, "case.assets.*.owner"},
		{`[for a in case.assets : a.owner if contains(a.roles, "web")]`, "case.assets case.assets.*.owner case.assets.*.roles"},
		{`[for a in case.assets : [for r in a.roles : r]]`, "case.assets case.assets.*.roles case.assets.*.roles.*"},
		{`local.x`, ""},
		{`event`, "event"},
		{`"${each.value.a} ${each.key}"`, "each.key each.value.a"},
	}
	for _, test := range tests {
		var got []string
		for _, path := range mustCompile(t, test.source, env).Paths() {
			got = append(got, path.String())
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("%s\n got  %s\n want %s", test.source, got, test.want)
		}
	}
}

func TestReads(t *testing.T) {
	p := mustCompile(t, `step.ask.result == "x" && case.assets[0].owner == "y"`, Env{Roots: map[string]*Shape{"step": nil, "case": nil}})
	tests := []struct {
		path string
		want bool
	}{
		{"step", true},
		{"step.ask", true},
		{"step.ask.result", true},
		{"step.ask.result.deeper", true},
		{"step.tell", false},
		{"step.*.result", true},
		{"step.*.sent", false},
		{"case.assets.*.owner", true},
		{"case.assets.7.owner", true},
		{"case.verdicts", false},
		{"event", false},
	}
	for _, test := range tests {
		if got := p.Reads(strings.Split(test.path, ".")...); got != test.want {
			t.Errorf("Reads(%s) = %v", test.path, got)
		}
	}
}

func TestConstantsAreFolded(t *testing.T) {
	env := Env{
		Roots:     eventRoots(),
		Constants: map[string]Value{"var": From(map[string]any{"level": 2, "nets": []string{"10.0.0.0/8"}})},
	}
	for source, want := range map[string]string{
		`1 + var.level`:                                    "3",
		`[for n in var.nets : "net ${n}"]`:                 `["net 10.0.0.0/8"]`,
		`cidr_contains(var.nets, "10.1.1.1") ? "a" : "b"`:  `"a"`,
		`[for x in [1, 2] : [for y in [3] : x * y]][1][0]`: "6",
	} {
		v, ok := mustCompile(t, source, env).Constant()
		if !ok || v.String() != want {
			t.Errorf("%s: got %s, constant %v, want %s", source, v, ok, want)
		}
	}
	for _, source := range []string{`event.raw`, `[for x in [1] : event.raw.a]`, `[for x in event.raw : 1]`} {
		if v, ok := mustCompile(t, source, env).Constant(); ok {
			t.Errorf("%s is taken for the constant %s", source, v)
		}
	}
}

func TestFunctionsOfTheConfiguration(t *testing.T) {
	env := Env{
		Roots: eventRoots(),
		Functions: map[string]func([]Value) (Value, error){
			"env": func(args []Value) (Value, error) {
				if name, _ := args[0].Str(); name == "HOME" {
					return String("/root"), nil
				}
				return Value{}, errors.New("it is not set")
			},
		},
	}
	if got := mustCompile(t, `"${env("HOME")}/x"`, env).Eval(nil).String(); got != `"/root/x"` {
		t.Errorf("got %s", got)
	}
	for source, want := range map[string]string{
		`env("NOPE")`:      "Call failed; env: it is not set.",
		`env(event.title)`: "Must be known beforehand; env() is called when the configuration is read; its argument can be a literal, a var or a local.",
		`secret("x")`:      "Not in this place; secret() stands alone",
	} {
		_, diags := Compile(mustParse(t, source), env)
		if !diags.HasErrors() || !strings.Contains(diags[0].Error(), want) {
			t.Errorf("%s: got %v, want %s", source, diags, want)
		}
	}
}

func TestShape(t *testing.T) {
	verdicts := &Shape{Kind: ListKind, Elem: &Shape{Kind: ObjectKind, Fields: map[string]*Shape{"score": {Kind: NumberKind}}}}
	env := Env{Roots: map[string]*Shape{"case": {Kind: ObjectKind, Fields: map[string]*Shape{"verdicts": verdicts}}}}
	each := mustCompile(t, "case.verdicts", env).Shape().Elem
	env.Roots["each"] = &Shape{Kind: ObjectKind, Fields: map[string]*Shape{"value": each}}
	if _, diags := Compile(mustParse(t, "each.value.scor * 2"), env); !diags.HasErrors() ||
		!strings.Contains(diags[0].Detail, `did you mean "score"?`) {
		t.Errorf("each.value.scor: %v", diags)
	}
	for source, want := range map[string]Kind{
		`each.value.score > 1`: BoolKind, `each.value.score`: NumberKind, `"a${each.value.score}"`: StringKind,
		`[for v in case.verdicts : v.score]`: ListKind, `{ a = 1 }`: ObjectKind, `null`: NullKind,
		`each.value.score > 1 ? "a" : "b"`: StringKind, `coalesce(each.value.score, 1)`: NullKind,
	} {
		if got := mustCompile(t, source, env).Shape(); got.kind() != want {
			t.Errorf("%s: got %s, want %s", source, got.kind(), want)
		}
	}
}

// A program may be used by many at once, each with a scope of its own.
func TestConcurrentUse(t *testing.T) {
	p := mustCompile(t, `{
		s = join(",", sort([for a in event.raw.list : "${a.n}${event.raw.x}" if a.n > 1]))
		r = regex("b+", event.raw.x) && contains(["abbc", "x"], event.raw.x)
		n = sum(event.raw.list.n) / 4
	}`, Env{Roots: eventRoots(), Index: NewIndex("event", "raw")})
	plan := NewPlan(p)
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			scope := &Scope{}
			e := &testEvent{}
			scope.Set("event", Record(e))
			scope.SetDocument(&e.document)
			for i := range 200 {
				x := "abbc"
				if (i+worker)%2 == 0 {
					x = "acc"
				}
				text := fmt.Appendf(nil, `{"list": [{"n": 3}, {"n": 1}, {"n": 2}, {"n": %d}], "x": %q}`, i+4, x)
				if err := e.document.Read(text, plan); err != nil {
					t.Error(err)
					return
				}
				want := fmt.Sprintf(`{"n":%s,"r":%v,"s":%q}`,
					Number(fmt.Sprint(i+10)).quotient(4), x == "abbc", sortedJoin("2"+x, "3"+x, fmt.Sprint(i+4)+x))
				if got := p.Eval(scope).String(); got != want {
					t.Errorf("worker %d, %d: got %s, want %s", worker, i, got, want)
					return
				}
			}
		})
	}
	wait.Wait()
}

func (v Value) quotient(by int64) string {
	return number(v.decimal().div(whole(by))).String()
}

func sortedJoin(items ...string) string {
	slices.Sort(items)
	return strings.Join(items, ",")
}
