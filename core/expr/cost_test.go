package expr

import (
	"fmt"
	"strings"
	"testing"
)

func TestCosts(t *testing.T) {
	env := Env{
		Roots: map[string]*Shape{
			"event": {Kind: ObjectKind, Fields: map[string]*Shape{
				"raw": {}, "title": {Kind: StringKind},
				"observables": {Kind: ListKind, Elem: &Shape{Kind: ObjectKind, Fields: map[string]*Shape{"kind": {Kind: StringKind}}}},
			}},
		},
		Constants: map[string]Value{"var": From(map[string]any{"nets": []string{"10.0.0.0/8"}})},
		Index:     NewIndex("event", "raw"),
	}
	tests := []struct {
		source  string
		lookups int
		want    string // kind and what is written there
	}{
		{`event.raw.a == 1 && event.raw.b.c != event.raw.a`, 2, ""},
		{`event.raw.a[0].b == event.title`, 1, ""},
		{`contains(["a", "b"], event.raw.a) && cidr_contains(var.nets, event.raw.ip)`, 2, ""},
		{`lookup({ "1" = 90 }, event.raw.a, 10) > 5 && starts_with(lower(event.raw.b), "x")`, 2, ""},
		{`[for n in var.nets : n] == ["x"] && regex("a", "b")`, 0, ""},
		{`regex("a+", event.raw.a)`, 1, `pattern regex("a+", event.raw.a)`},
		{`[for a in event.raw.list : a.b] == []`, 1, `loop [for a in event.raw.list : a.b]; scan a.b`},
		{`event.raw.list[*].x == null`, 1, `loop event.raw.list[*].x; scan [*].x`},
		{`event.raw[event.raw.key] == 1`, 1, `scan event.raw; scan event.raw[event.raw.key]`},
		{`event.raw == null`, 0, `scan event.raw`},
		{`event == null`, 0, `scan event`},
		{`event.observables.kind == null`, 0, ``},
		{`[for o in event.observables : o.kind] == null`, 0, `loop [for o in event.observables : o.kind]`},
		{`length(event.raw.list) > 1 && sort(event.raw.list) == null`, 1, `loop sort(event.raw.list)`},
		{`jsondecode(event.raw.a).b == 1`, 1, `decode jsondecode(event.raw.a)`},
		{`"%{ for x in event.raw.list }${x}%{ endfor }" == ""`, 1, `loop %{ for x in event.raw.list }${x}%{ endfor }`},
	}
	for _, test := range tests {
		p := mustCompile(t, test.source, env)
		var got []string
		for _, c := range p.Costs() {
			got = append(got, fmt.Sprintf("%s %s", c.Kind, c.Range.SliceBytes([]byte(test.source))))
		}
		if got := strings.Join(got, "; "); got != test.want || p.Lookups() != test.lookups {
			t.Errorf("%s\n got  %d %s\n want %d %s", test.source, p.Lookups(), got, test.lookups, test.want)
		}
	}
}
