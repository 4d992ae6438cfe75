package proposal

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/text/unicode/norm"
)

var (
	day       = time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC)
	signature = []string{"event", "raw", "alert", "signature"}
	source    = []string{"event", "raw", "src_ip"}
	target    = []string{"event", "raw", "dest_ip"}
)

func event(t testing.TB, fields map[string]any) Event {
	t.Helper()
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return Event{Raw: raw}
}

func alert(t testing.TB, what any, from, to string) Event {
	return event(t, map[string]any{"alert": map[string]any{"signature": what}, "src_ip": from, "dest_ip": to})
}

func TestIgnoreText(t *testing.T) {
	for name, c := range map[string]struct {
		events           []Event
		telling, further [][]string
		when, wrong      string
	}{
		"one event": {
			events: []Event{alert(t, "ET SCAN", "10.9.0.7", "10.1.1.1")}, telling: [][]string{signature, source}, further: [][]string{target},
			when: `event.raw.alert.signature == "ET SCAN" && event.raw.src_ip == "10.9.0.7"`,
		},
		"one that tells, and a further one": {
			events: []Event{alert(t, "ET SCAN", "10.9.0.7", "10.1.1.1")}, telling: [][]string{signature}, further: [][]string{target, source},
			when: `event.raw.alert.signature == "ET SCAN" && event.raw.dest_ip == "10.1.1.1"`,
		},
		"one alone, where there is no other": {
			events: []Event{event(t, map[string]any{"src_ip": "10.9.0.7"})}, telling: [][]string{signature, source},
			when: `event.raw.src_ip == "10.9.0.7"`,
		},
		"the same twice": {
			events: []Event{alert(t, 2001, "10.9.0.7", "a"), alert(t, 2001, "10.9.0.7", "b")}, telling: [][]string{signature, source, source},
			when: `event.raw.alert.signature == 2001 && event.raw.src_ip == "10.9.0.7"`,
		},
		"two kinds": {
			events: []Event{alert(t, "a", "10.9.0.7", "x"), alert(t, "b", "10.9.0.8", "x")}, telling: [][]string{signature, source},
			when: "(\n    event.raw.alert.signature == \"a\" && event.raw.src_ip == \"10.9.0.7\" ||\n    event.raw.alert.signature == \"b\" && event.raw.src_ip == \"10.9.0.8\"\n  )",
		},
		"no map": {
			events: []Event{{Raw: []byte(`{"what":"Malware","host":{"my name":"ws-17"},"id":7}`), Named: []string{"Malware", "ws-17"}}},
			when:   `event.raw.what == "Malware" && event.raw.host["my name"] == "ws-17"`,
		},
		"nothing":  {events: []Event{event(t, map[string]any{"ok": true, "n": nil, "list": []string{"a"}})}, telling: [][]string{{"event", "raw", "ok"}, {"event", "raw", "list"}}, wrong: "no field of its events tells what they are"},
		"no event": {telling: [][]string{source}, wrong: "no field"},
	} {
		t.Run(name, func(t *testing.T) {
			g := Ignore{Name: "n", On: []string{"pipeline.ids"}, Owner: "kim", Reason: "expected", Expires: day, Events: c.events, Telling: c.telling, Further: c.further}
			text, err := g.Text()
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Fatalf("%v", err)
				}
				return
			}
			want := "ignore \"n\" {\n  on      = [pipeline.ids]\n  when    = " + c.when + "\n  owner   = \"kim\"\n  reason  = \"expected\"\n  expires = \"2026-12-30\"\n}\n"
			if err != nil || text != want {
				t.Errorf("%v\n%s\nwant\n%s", err, text, want)
			}
		})
	}
	many := Ignore{Telling: [][]string{signature, source}}
	for _, from := range "abcdefghi" {
		many.Events = append(many.Events, alert(t, "x", string(from), "y"))
	}
	if _, err := many.Text(); err == nil || !strings.Contains(err.Error(), "more than 8 kinds") {
		t.Errorf("nine kinds: %v", err)
	}
}

// hostile is what an attacker may write into a field, so that it says something else in
// the configuration.
var hostile = []string{
	`${env("HOME")}`, `%{ if true }x%{ endif }`, `$${x`, `$$${x`, `%%{`, `$`, `%`, `{`, "a\"\n}\naction \"run\" \"x\" {}\n", `\`, `\"`, `\${x}`,
	"\u202e\u0000\u2028\ufeff", "a\r\nb", "*/ /* # //", `" || true || "`, "<<EOT\nx\nEOT\n", "\U000e0001\U0001f600", "%\u007b", "'",
}

func FuzzIgnore(f *testing.F) {
	for _, a := range hostile {
		f.Add(a, "10.1.1.1", "src_ip", "kim", a)
		f.Add("scan", a, a, a, "expected: "+a)
	}
	f.Fuzz(func(t *testing.T, what, from, field, owner, reason string) {
		for _, text := range []*string{&what, &from, &field, &owner, &reason} {
			*text = string([]rune(*text)) // an event is JSON
		}
		e := event(t, map[string]any{"what": what, "of": map[string]any{field: from}})
		g := Ignore{
			Name: "edge " + owner, On: []string{"pipeline.ids"}, Owner: owner, Reason: reason, Expires: day, Events: []Event{e},
			Telling: [][]string{{"event", "raw", "what"}, {"event", "raw", "of", field}},
		}
		text, err := g.Text()
		if err != nil {
			return
		}
		check(t, text, map[string]bool{what: true, from: true}, owner, reason)
	})
}

// check wants exactly one ignore block, whose condition is equalities to these texts.
func check(t *testing.T, text string, values map[string]bool, owner, reason string) {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "ignores.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	body := file.Body.(*hclsyntax.Body)
	if len(body.Blocks) != 1 || len(body.Attributes) != 0 || body.Blocks[0].Type != "ignore" || len(body.Blocks[0].Labels) != 1 {
		t.Fatalf("not one ignore block:\n%s", text)
	}
	block := body.Blocks[0].Body
	if len(block.Blocks) != 0 || len(block.Attributes) != 5 {
		t.Fatalf("not five attributes:\n%s", text)
	}
	for name, want := range map[string]string{"owner": owner, "reason": reason} {
		if got := constant(t, block.Attributes[name].Expr); got != norm.NFC.String(want) {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	equalities(t, block.Attributes["when"].Expr, values)
}

func equalities(t *testing.T, e hclsyntax.Expression, values map[string]bool) {
	t.Helper()
	if inner, ok := e.(*hclsyntax.ParenthesesExpr); ok {
		e = inner.Expression
	}
	op, ok := e.(*hclsyntax.BinaryOpExpr)
	switch {
	case !ok:
		t.Fatalf("%T is no equality", e)
	case op.Op == hclsyntax.OpLogicalAnd:
		equalities(t, op.LHS, values)
		equalities(t, op.RHS, values)
		return
	case op.Op != hclsyntax.OpEqual:
		t.Fatal("no equality")
	}
	if _, diags := hcl.AbsTraversalForExpr(op.LHS); diags.HasErrors() {
		t.Error(diags)
	}
	got, found := constant(t, op.RHS), false
	for v := range values {
		found = found || norm.NFC.String(v) == got
	}
	if !found {
		t.Errorf("%q is none of %v", got, values)
	}
}

func constant(t *testing.T, e hclsyntax.Expression) string {
	t.Helper()
	if len(e.Variables()) > 0 {
		t.Fatal("a text that reads something")
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String {
		t.Fatalf("%v %v", v.Type(), diags)
	}
	return v.AsString()
}

// The diff is one that patch takes, and gives the text that would be written.
func TestAppend(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("there is no patch")
	}
	const block = "ignore \"x\" {\n  on = []\n}\n"
	for name, old := range map[string]string{"none": "", "short": "a\n", "long": "a\nb\nc\nd\ne\n", "no end of line": "a\nb\nc\nd\ne", "one without": "a"} {
		t.Run(name, func(t *testing.T) {
			text, diff := Append("ignores.hcl", old, block)
			dir := t.TempDir()
			path := filepath.Join(dir, "ignores.hcl")
			if old != "" {
				if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(patch, "-s", path)
			cmd.Stdin = strings.NewReader(diff)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v %s\n%s", err, out, diff)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != text || !strings.HasPrefix(text, old) || !strings.HasSuffix(text, block) {
				t.Errorf("%v %q, want %q by\n%s", err, got, text, diff)
			}
		})
	}
}
