package expr

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever a plan covers, whatever lies at a path and in whatever order it is asked for, the value is the one that the
// path leads to from the root.
func TestIndexedPaths(t *testing.T) {
	texts := []string{
		`{"a": {"x": 1, "y": {"z": [1, {"q": 2}]}, "w": "v"}, "b": "s", "c": {}, "d": {"x": 5}, "l": [{"x": 1, "y": {"z": 3}}, {"x": [2, {"q": 4}]}]}`,
		`{"a": [{"x": 1, "y": {"z": "é"}}, 7, {"y": [{"z": 1}]}], "b": {"0": "zero", "c": null}, "l": {"0": {"x": "in an object"}}}`,
		"{ \"\\u0061\" : { \"\\u0078\" : \"\\u0041\\n\" } , \"d\" : {\"x\": 123456789012345678901234567890}, \"caf\\u00e9\": 1, \"l\": \"a\"}",
		`{"cafe` + "\u0301" + `": {"x": true}, "a": null, "b": false, "l": [[[{"x": 1}]]]}`,
		`[{"a": {"x": 1}}, {"a": {"x": 2}, "l": [{"x": 8}]}]`,
		`"text"`, `7`, `{}`, `[]`, `null`,
	}
	sources := []string{
		`event.raw.a`, `event.raw.a.x`, `event.raw.a.y.z`, `event.raw.a.y`, `event.raw.a.w`, `event.raw.b`, `event.raw.b.c`, `event.raw.c.no`,
		`event.raw["d"].x`, `event.raw.l[0].x`, `event.raw.l.0.x`, `event.raw.l["0"].x`, `event.raw.l[1].x[1].q`, `event.raw.l[*].x`, `event.raw.l.y.z`,
		`event.raw.café`, `event.raw.café.x`, `event.raw.no`, `event.raw`, `event.raw[0].a.x`, `event.raw.l[1e300]`, `event.raw.l.x`,
		`[for v in event.raw.l : v.x]`, `event.title`, `event.raw[event.raw.b]`,
	}
	env := indexedEnv()
	programs := make([]*Program, len(sources))
	for i, source := range sources {
		programs[i] = mustCompile(t, source, env)
	}
	for _, text := range texts {
		want := make([]string, len(sources))
		for i, source := range sources {
			want[i] = mustCompile(t, source, Env{Roots: eventRoots()}).Eval(eventScope(text)).String()
		}
		rapid.Check(t, func(t *rapid.T) {
			var chosen []*Program
			for _, p := range programs {
				if rapid.Bool().Draw(t, "covered") {
					chosen = append(chosen, p)
				}
			}
			scope := plannedScope(text, NewPlan(chosen...))
			for range 30 {
				i := rapid.IntRange(0, len(sources)-1).Draw(t, "asked")
				if got := programs[i].Eval(scope).String(); got != want[i] {
					t.Fatalf("%s of %s: got %s, want %s", sources[i], text, got, want[i])
				}
			}
		})
	}
}

// Programs of different configurations may meet in one plan after a reload; their numbers mean different paths.
func TestPlanOfTwoIndexes(t *testing.T) {
	p := mustCompile(t, `[event.raw.a, event.raw.b]`, indexedEnv())
	q := mustCompile(t, `[event.raw.b, event.raw.c, event.raw.a]`, indexedEnv())
	for _, programs := range [][]*Program{{p, q}, {q, p}, {p}, {q}, {}} {
		scope := plannedScope(`{"a": 1, "b": 2, "c": 3}`, NewPlan(programs...))
		if got := p.Eval(scope).String() + q.Eval(scope).String(); got != "[1,2][2,3,1]" {
			t.Errorf("planned for %d: got %s", len(programs), got)
		}
	}
}

// A document that is read again knows nothing of the text before, whatever became of reading it.
func TestDocumentIsReadAgain(t *testing.T) {
	env := indexedEnv()
	p := mustCompile(t, `[event.raw.a, event.raw.b.c]`, env)
	plan := NewPlan(p)
	var e testEvent
	s := &Scope{}
	s.Set("event", Record(&e))
	s.SetDocument(&e.document)
	for _, test := range []struct{ text, want string }{
		{`{"a": "first", "b": {"c": 1}}`, `["first",1]`},
		{`{"b": {"c": 2}}`, `[null,2]`},
		{`{"a": "half", "b": {"c": 3}`, `[null,null]`},
		{`{"a": "whole"}`, `["whole",null]`},
		{`{"a": "twice", "a": "twice"}`, `[null,null]`},
		{`{}`, `[null,null]`},
	} {
		_ = e.document.Read([]byte(test.text), plan)
		if got := p.Eval(s).String(); got != test.want {
			t.Errorf("%s: got %s, want %s", test.text, got, test.want)
		}
	}
	e.document.generation = ^uint32(0) - 1
	for i := range 4 { // the count of texts begins again
		if err := e.document.Read(fmt.Appendf(nil, `{"a": %d}`, i), plan); err != nil {
			t.Fatal(err)
		}
		if got, want := p.Eval(s).String(), fmt.Sprintf("[%d,null]", i); got != want {
			t.Errorf("text %d: got %s, want %s", i, got, want)
		}
		if err := e.document.Read([]byte(`{"b": 0}`), plan); err != nil || p.Eval(s).String() != "[null,null]" {
			t.Errorf("after text %d: got %s, %v", i, p.Eval(s), err)
		}
	}
}

// Of a text that is gone nothing is kept: a rare path would hold a whole batch.
func TestDocumentLetsTextsGo(t *testing.T) {
	env := indexedEnv()
	p := mustCompile(t, `event.raw.rare.name`, env)
	var e testEvent
	s := &Scope{}
	s.Set("event", Record(&e))
	s.SetDocument(&e.document)
	plan := NewPlan(p)
	for _, text := range []string{`{"rare": {"name": "x"}}`, `{}`} {
		if err := e.document.Read([]byte(text), plan); err != nil {
			t.Fatal(err)
		}
		p.Eval(s)
	}
	for slot, f := range e.document.found {
		if f.value.str != "" || f.value.ref != nil {
			t.Errorf("slot %d still has %s", slot, f.value)
		}
	}
}

// Names that meet in the plan's tables, and plans of many paths.
func TestPlanOfManyPaths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	env := indexedEnv()
	var programs []*Program
	var text strings.Builder
	text.WriteString(`{`)
	const n = 400
	for i := range n {
		name := fmt.Sprintf("f%s%d", strings.Repeat("x", r.IntN(12)), i)
		programs = append(programs, mustCompile(t, fmt.Sprintf("event.raw.o%d.%s", i%7, name), env))
	}
	for o := range 7 {
		fmt.Fprintf(&text, `"o%d": {`, o)
		for i := o; i < n; i += 7 {
			fmt.Fprintf(&text, `%q: %d, `, programs[i].paths[0].Names[3], i)
		}
		fmt.Fprintf(&text, `"fx": {"o1": 0}}, `)
	}
	text.WriteString(`"last": 1}`)
	scope := plannedScope(text.String(), NewPlan(programs...))
	for i, p := range programs {
		if got := p.Eval(scope); !got.Equal(Int(int64(i))) {
			t.Errorf("%s: got %s, want %d", p.paths[0], got, i)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	env := indexedEnv()
	tests := []struct {
		name    string
		sources []string
		budget  float64
	}{
		{"index alone", nil, 0},
		{"two comparisons", []string{`event.raw.alert.severity <= 2 && event.raw.event_type == "alert"`}, 0},
		{"functions", []string{`starts_with(event.raw.alert.signature, "ET MALWARE") && cidr_contains("10.0.0.0/8", event.raw.dest_ip) && contains(["GET", "POST"], event.raw.http.http_method)`}, 0},
		{"absent paths", []string{`event.raw.nothing.here == null`, `event.raw.event_type.deeper == null`}, 0},
		{"a list", []string{`event.raw.alert.metadata.deployment[0] == "Perimeter"`}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var programs []*Program
			for _, source := range test.sources {
				programs = append(programs, mustCompile(t, source, env))
			}
			plan := NewPlan(programs...)
			var e testEvent
			s := &Scope{}
			s.Set("event", Record(&e))
			s.SetDocument(&e.document)
			payload := []byte(eve)
			got := testing.AllocsPerRun(100, func() {
				if err := e.document.Read(payload, plan); err != nil {
					t.Fatal(err)
				}
				for i, p := range programs {
					if p.Truth(s) != True {
						t.Fatalf("%s is not true", test.sources[i])
					}
				}
			})
			if got > test.budget {
				t.Errorf("%v allocations an event, want at most %v", got, test.budget)
			}
		})
	}
}
