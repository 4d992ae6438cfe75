package expr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestCheckJSON(t *testing.T) {
	deep := strings.Repeat("[", maxDepth) + "1" + strings.Repeat("]", maxDepth)
	tests := []struct{ name, text, want string }{
		{"object", ` {"a": [1, -0.5e+10, true, false, null, "\u00e9\ud83d\ude00\\"], "b": {}} `, ""},
		{"scalar", `"x"`, ""},
		{"same key in two objects", `[{"a": 1}, {"a": {"a": 2}}]`, ""},
		{"lone surrogate", `"\ud800"`, ""},
		{"deep", deep, ""},
		{"too deep", "[" + deep + "]", "byte 129: nested deeper than 128"},
		{"empty", " ", "byte 1: the JSON ends too early"},
		{"half", `{"a": [1, 2`, "byte 11: expected , or ] in a list"},
		{"two values", `{} {}`, "byte 3: more after the end of the JSON value"},
		{"duplicate key", `{"a": 1, "b": 2, "a": 3}`, `byte 20: the key "a" comes twice in one object`},
		{"duplicate key in disguise", `{"ab": 1, "\u0061b": 3}`, `byte 19: the key "ab" comes twice in one object`},
		{"duplicate key in NFC", "{\"caf\u00e9\": 1, \"cafe\u0301\": 3}", `byte 21: the key "café" comes twice in one object`},
		{"not UTF-8", "{\"a\": \"\xff\"}", "byte 7: not UTF-8"},
		{"null byte", "{\"a\": \"\x00\"}", `byte 7: the control character '\x00' in a string`},
		{"bad escape", `"\x"`, "byte 1: not an escape of JSON"},
		{"open string", `{"a`, "byte 3: a string does not end"},
		{"leading zero", `{"a": 01}`, "byte 6: not a number of JSON"},
		{"plus", `+1`, `byte 0: no JSON value starts with "+"`},
		{"nan", `NaN`, `byte 0: no JSON value starts with "N"`},
		{"bare point", `[1.]`, "byte 1: not a number of JSON"},
		{"trailing comma", `{"a": 1,}`, "byte 8: expected a key in an object"},
		{"no colon", `{"a" 1}`, "byte 5: expected : after a key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := CheckJSON([]byte(test.text)); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCheckJSONFindsADuplicateAmongMany(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 5000 {
		b.WriteString(`"k` + strings.Repeat("x", i%7) + Int(int64(i)).String() + `": {"a": 1},`)
	}
	unique := b.String() + `"last": 1}`
	if err := CheckJSON([]byte(unique)); err != nil {
		t.Errorf("5001 different keys: %v", err)
	}
	if err := CheckJSON([]byte(b.String() + `"kxx2": 1}`)); err == nil {
		t.Error("the key kxx2 comes twice, and nothing is said")
	}
}

func TestValuesOutliveTheirDocument(t *testing.T) {
	env := indexedEnv()
	p := mustCompile(t, `[event.raw.a, event.raw.s]`, env)
	plan := NewPlan(p)
	var e testEvent
	s := &Scope{}
	s.Set("event", Record(&e))
	s.SetDocument(&e.document)
	var values []Value
	for _, text := range []string{`{"a": {"b": 1}, "s": "one"}`, `{"a": {"b": 2, "c": 3}, "s": "two"}`} {
		if err := e.document.Read([]byte(text), plan); err != nil {
			t.Fatal(err)
		}
		values = append(values, p.Eval(s))
	}
	for i, want := range []string{`[{"b":1},"one"]`, `[{"b":2,"c":3},"two"]`} {
		if got := values[i].String(); got != want {
			t.Errorf("of text %d: got %s, want %s", i, got, want)
		}
	}
}

func TestOwnSharesNothing(t *testing.T) {
	text := []byte(`{"a": "secret", "l": ["x", {"k": "v"}]}`)
	v := JSON(text)
	owned := []Value{
		v.Own(),
		v.Attr("a").Own(),
		List([]Value{v.Attr("a"), v.Attr("l")}).Own(),
		Object(map[string]Value{"f": v.Attr("a")}).Own(),
	}
	var before []string
	for _, o := range owned {
		before = append(before, o.String())
	}
	str, _ := v.Attr("a").Str()
	for i := range text {
		text[i] = '#'
	}
	for i, o := range owned {
		if got := o.String(); got != before[i] {
			t.Errorf("%s became %s", before[i], got)
		}
	}
	if str != "secret" {
		t.Errorf("a string became %q", str)
	}
}

var hostileJSON = []string{
	`{"a": 1, "b": {"c": [1, 2, {"d": "e"}]}}`,
	`{"a\"b": "x\\", "\u0061": 1, "\ud83d\ude00": "\ud83d", "": 0}`,
	`[0, -0, 1e5, 1E-5, 123456789012345678901234567890, 0.1e400, 1e999999999]`,
	"{\"cafe\u0301\": \"e\u0301\", \"caf\u00e9\": 2}",
	"{\"a\": \"\xff\xc3\"}",
	`{"a":{"a":{"a":{"a":{}}}},"a":1}`,
	`{"a" 1}`, `{"a":`, `{"a":"`, `{"a":"\`, `{"`, `{"\`, `[`, `[[[[`, `}`, `"`, `"\"`, `{"a":[1,2}`, `{]`, "", " ", "nul", "-", "{\"a\":}",
	`{"a":"\u12"}`, `{"a":"\ud800\u0041"}`, `[,,1,,]`, `{,,"a":1}`, eve,
}

// FuzzJSON holds the scanner against encoding/json. Text that is not JSON may read as anything, but must not harm.
func FuzzJSON(f *testing.F) {
	for _, text := range hostileJSON {
		f.Add([]byte(text), "a")
	}
	f.Fuzz(func(t *testing.T, text []byte, key string) {
		v := JSON(text)
		steps := []step{{name: "raw"}, {name: normal(key)}}
		at := place{names: []string{normal(key)}}
		e := &testEvent{}
		s := &Scope{document: &e.document}
		s.begin(0, false)
		s.Set("event", Record(e))
		err := e.document.Read(text, NewPlan(&Program{places: []place{at}}))
		asked, all := at.eval("event", steps, 1)(s).String(), e.document.Value().String()
		_, _, _ = v.Len(), v.Index(1), v.Text()
		_ = v.Own().Equal(v)
		if checked := CheckJSON(text); fmt.Sprint(checked) != fmt.Sprint(err) {
			t.Fatalf("CheckJSON says %v, a Document %v", checked, err)
		}
		if err == nil && !json.Valid(text) {
			t.Fatalf("CheckJSON accepts %q", text)
		}
		if err != nil {
			if json.Valid(text) && utf8.Valid(text) && !hasDuplicateKey(text) && depth(text) <= maxDepth {
				t.Fatalf("CheckJSON refuses %q: %v", text, err)
			}
			return
		}
		decoded := decode(string(text))
		if got, want := v.String(), fromCty(decoded).String(); got != want || all != want {
			t.Errorf("%q: got %s, of a Document %s, want %s", text, got, all, want)
		}
		want := fromCty(attribute(decoded, key)).String()
		if got := v.Attr(key).String(); got != want || asked != want {
			t.Errorf("%q of %q: got %s, of a Document %s, want %s", key, text, got, asked, want)
		}
		if err := CheckJSON([]byte(v.String())); err != nil || !JSON([]byte(v.String())).Equal(v) {
			t.Errorf("%q: its own JSON %s does not read back: %v", text, v, err)
		}
	})
}

func depth(text []byte) int {
	deepest, now := 0, 0
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			now++
			deepest = max(deepest, now)
		case json.Delim(']'), json.Delim('}'):
			now--
		}
	}
}

func hasDuplicateKey(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type level struct {
		keys  map[string]bool
		isKey bool
	}
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		top := len(levels) - 1
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{map[string]bool{}, true})
			continue
		case json.Delim('['):
			levels = append(levels, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
			top--
		default:
			if top >= 0 && levels[top].isKey {
				key := norm.NFC.String(token.(string))
				if levels[top].keys[key] {
					return true
				}
				levels[top].keys[key] = true
				levels[top].isKey = false
				continue
			}
		}
		if top >= 0 && levels[top].keys != nil {
			levels[top].isKey = true
		}
	}
}
