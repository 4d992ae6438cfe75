package expr

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// someTable has a row of every key that begins with an "a", a "1" or a "t".
func someTable() Table {
	return Table{Row: func(key string) Value {
		if key == "" || !strings.Contains("a1t", key[:1]) {
			return Value{}
		}
		return Object(map[string]Value{"a": String("of " + strings.Clone(key)), "list": Strings([]string{"x", "y"})})
	}}
}

func TestTable(t *testing.T) {
	table := someTable()
	table.Shape = &Shape{Kind: ObjectKind, Fields: map[string]*Shape{"a": {Kind: StringKind}, "list": nil}}
	env := Env{
		Roots: eventRoots(), Tables: map[string]Table{"known": table},
		Constants: map[string]Value{"var": From(map[string]any{"key": "abc"})},
	}
	for source, want := range map[string]string{
		`table.known[event.raw.ip].a`:                                `"of 10.0.0.1"`,
		`table.known["abc"].a`:                                       `"of abc"`,
		`table.known[var.key].list[1]`:                               `"y"`,
		`has(table.known[event.raw.ip])`:                             `true`,
		`has(table.known["zzz"])`:                                    `false`,
		`table.known["zzz"].a`:                                       `null`,
		`table.known["zzz"].a == null`:                               `true`,
		`table.known[event.raw.absent].a`:                            `null`,
		`table.known[event.raw.list].a`:                              `null`,
		`table.known[1.0].a`:                                         `"of 1"`,
		`table.known[true].a`:                                        `"of true"`,
		`"owner ${table.known[event.raw.absent].a}"`:                 `"owner unknown"`,
		`coalesce(table.known["zzz"].a, "nobody")`:                   `"nobody"`,
		`[for ip in event.raw.list : table.known[ip].a]`:             `["of a",null]`,
		`anytrue([for ip in event.raw.list : has(table.known[ip])])`: `true`,
		`[for table in event.raw.list : table]`:                      `["a","b"]`,
		`table.known[table.known["a"].a].a`:                          `null`,
	} {
		t.Run(source, func(t *testing.T) {
			scope := eventScope(`{"ip":"10.0.0.1","list":["a","b"]}`)
			if got := mustCompile(t, source, env).Eval(scope).String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := Reference(mustParse(t, source), env, scope).String(); got != want {
				t.Errorf("Reference gives %s, want %s", got, want)
			}
		})
	}
}

func TestTableComplaints(t *testing.T) {
	table := someTable()
	table.Shape = &Shape{Kind: ObjectKind, Fields: map[string]*Shape{"owner": {Kind: StringKind}}}
	env := Env{Roots: eventRoots(), Tables: map[string]Table{"known": table}}
	for source, want := range map[string]string{
		`table.knwon["a"].owner`:                      `there is no table "knwon"; did you mean "known"?`,
		`table.known`:                                 "A table is read by a key: write table.known[KEY].COLUMN",
		`table`:                                       "A table is read by a key: write table.NAME[KEY]",
		`table.known.owner`:                           "Which row?",
		`keys(table.known)`:                           "A table is read by a key",
		`[for row in table.known : row]`:              "A table is read by a key",
		`table.known[*]`:                              "A table is read by a key",
		`table.known[event.raw.ip].ownr`:              `there is no field "ownr"; did you mean "owner"?`,
		`table.known[event.subjects].owner`:           "The key of a table takes a",
		`table["known"]["a"]`:                         "A table is read by a key",
		`table.known[event.raw.ip].owner > 3 ? 1 : 2`: "takes a number",
	} {
		e, diags := hclsyntax.ParseExpression([]byte(source), "t.hcl", hcl.InitialPos)
		if !diags.HasErrors() {
			_, diags = Compile(e, env)
		}
		if !strings.Contains(diags.Error(), want) {
			t.Errorf("%s: %v, want %s", source, diags, want)
		}
	}
}
