package expr

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// eventRoots is how a pipeline would describe an event.
func eventRoots() map[string]*Shape {
	return map[string]*Shape{"event": {Kind: ObjectKind, Fields: map[string]*Shape{
		"raw":      {},
		"title":    {Kind: StringKind},
		"severity": {Kind: NumberKind},
		"subjects": {Kind: ListKind, Elem: &Shape{Kind: ObjectKind, Fields: map[string]*Shape{
			"type": {Kind: StringKind}, "value": {Kind: StringKind},
		}}},
	}}}
}

// testEvent is an event that Go provides, with the payload in a Document.
type testEvent struct{ document Document }

func (e *testEvent) Field(name string) Value {
	switch name {
	case "raw":
		return e.document.Value()
	case "title":
		return String("Beacon")
	case "severity":
		return Int(60)
	}
	return Value{}
}

func (e *testEvent) Names() []string { return []string{"raw", "severity", "subjects", "title"} }

func eventScope(payload string) *Scope { return plannedScope(payload, nil) }

// plannedScope is an event as match has it.
func plannedScope(payload string, plan *Plan) *Scope {
	e := &testEvent{}
	if err := e.document.Read([]byte(payload), plan); err != nil {
		panic(err)
	}
	s := &Scope{}
	s.Set("event", Record(e))
	s.SetDocument(&e.document)
	return s
}

func mustParse(t testing.TB, source string) hclsyntax.Expression {
	t.Helper()
	e, diags := hclsyntax.ParseExpression([]byte(source), "test.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", source, diags)
	}
	return e
}

func mustCompile(t testing.TB, source string, env Env) *Program {
	t.Helper()
	p, diags := Compile(mustParse(t, source), env)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", source, diags)
	}
	return p
}

func TestSemantics(t *testing.T) {
	files, err := filepath.Glob("testdata/semantics/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { testSemantics(t, file) })
	}
}

func testSemantics(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Roots: eventRoots()}
	scope, payload := &Scope{}, "{}"
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line == "strict":
			env.Strict = true
		case strings.HasPrefix(line, "event "):
			payload = line[len("event "):]
			if err := CheckJSON([]byte(payload)); err != nil {
				t.Fatal(err)
			}
			scope = eventScope(payload)
		default:
			i := strings.LastIndex(line, " => ")
			source, want := line[:i], line[i+4:]
			e := mustParse(t, source)
			p, diags := Compile(e, env)
			if diags.HasErrors() {
				t.Errorf("%s: %v", source, diags)
				continue
			}
			if got := p.Eval(scope).String(); got != compactJSON(t, want) {
				t.Errorf("%s\n got  %s\n want %s", source, got, want)
			}
			env := env
			env.Index = NewIndex("event", "raw")
			planned := mustCompile(t, source, env)
			if got := planned.Eval(plannedScope(payload, NewPlan(planned))).String(); got != compactJSON(t, want) {
				t.Errorf("%s, from an index\n got  %s\n want %s", source, got, want)
			}
			if got := Reference(e, env, scope).String(); got != compactJSON(t, want) {
				t.Errorf("Reference: %s\n got  %s\n want %s", source, got, want)
			}
		}
	}
}

// compactJSON keeps numbers as they are written.
func compactJSON(t *testing.T, text string) string {
	t.Helper()
	var v Value
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v.String()
}

func TestFunctionExamples(t *testing.T) {
	for _, f := range Functions() {
		t.Run(f.Name, func(t *testing.T) {
			if f.Doc == "" || !strings.HasSuffix(f.Doc, ".") || len(f.Examples) == 0 {
				t.Errorf("has no documentation: %q, %d examples", f.Doc, len(f.Examples))
			}
			for _, example := range f.Examples {
				if !strings.Contains(example.Expression, f.Name+"(") {
					t.Errorf("the example %s is of another function", example.Expression)
				}
				want := mustCompile(t, example.Result, Env{}).Eval(nil)
				if got := mustCompile(t, example.Expression, Env{}).Eval(nil); !got.Equal(want) {
					t.Errorf("%s = %s, want %s", example.Expression, got, want)
				}
				if got := Reference(mustParse(t, example.Expression), Env{}, &Scope{}); !got.Equal(want) {
					t.Errorf("Reference: %s = %s, want %s", example.Expression, got, want)
				}
			}
		})
	}
}
