package expr

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

func text(name string) param { return param{name: name, kinds: stringKind} }

func textFunctions() []Function {
	return []Function{
		{
			Name: "lower", Group: "text", result: StringKind,
			Doc:      "The text in small letters.",
			params:   []param{text("text")},
			call:     func(s *Scope, a []Value) Value { return s.changed(a[0], strings.ToLower(a[0].str)) },
			Examples: []Example{{`lower("Admin")`, `"admin"`}},
		},
		{
			Name: "upper", Group: "text", result: StringKind,
			Doc:      "The text in capitals.",
			params:   []param{text("text")},
			call:     func(s *Scope, a []Value) Value { return s.changed(a[0], strings.ToUpper(a[0].str)) },
			Examples: []Example{{`upper("get")`, `"GET"`}},
		},
		{
			Name: "trim", Group: "text", result: StringKind,
			Doc:    "The text without white space at both ends, or without the given characters.",
			params: []param{text("text"), {name: "characters", kinds: stringKind, optional: true}},
			call: func(_ *Scope, a []Value) Value {
				if len(a) == 1 {
					return a[0].like(strings.TrimSpace(a[0].str))
				}
				return a[0].like(strings.Trim(a[0].str, a[1].str))
			},
			Examples: []Example{{`trim("  a b ")`, `"a b"`}, {`trim("/path/", "/")`, `"path"`}},
		},
		{
			Name: "trim_prefix", Group: "text", result: StringKind,
			Doc:      "The text without the given beginning, if it has it.",
			params:   []param{text("text"), text("prefix")},
			call:     func(_ *Scope, a []Value) Value { return a[0].like(strings.TrimPrefix(a[0].str, a[1].str)) },
			Examples: []Example{{`trim_prefix("CORP-ws17", "CORP-")`, `"ws17"`}},
		},
		{
			Name: "trim_suffix", Group: "text", result: StringKind,
			Doc:      "The text without the given end, if it has it.",
			params:   []param{text("text"), text("suffix")},
			call:     func(_ *Scope, a []Value) Value { return a[0].like(strings.TrimSuffix(a[0].str, a[1].str)) },
			Examples: []Example{{`trim_suffix("ws17.example.org", ".example.org")`, `"ws17"`}},
		},
		{
			Name: "starts_with", Group: "text", result: BoolKind,
			Doc:      "Whether the text begins so.",
			params:   []param{text("text"), text("prefix")},
			call:     func(_ *Scope, a []Value) Value { return Bool(strings.HasPrefix(a[0].str, a[1].str)) },
			Examples: []Example{{`starts_with("ET MALWARE x", "ET ")`, `true`}},
		},
		{
			Name: "ends_with", Group: "text", result: BoolKind,
			Doc:      "Whether the text ends so.",
			params:   []param{text("text"), text("suffix")},
			call:     func(_ *Scope, a []Value) Value { return Bool(strings.HasSuffix(a[0].str, a[1].str)) },
			Examples: []Example{{`ends_with("a.exe", ".exe")`, `true`}},
		},
		{
			Name: "split", Group: "text", result: ListKind,
			Doc:    "The pieces of the text between the separators; an empty separator splits into characters.",
			params: []param{text("separator"), text("text")},
			call: func(s *Scope, a []Value) Value {
				if strings.Count(a[1].str, a[0].str) > maxItems || !s.spend(len(a[1].str)) {
					return Value{}
				}
				pieces := strings.Split(a[1].str, a[0].str)
				items := make([]Value, len(pieces))
				for i, piece := range pieces {
					items[i] = a[1].like(piece)
				}
				return s.list(items)
			},
			Examples: []Example{{`split(",", "a,b,")`, `["a", "b", ""]`}, {`split(",", "")`, `[""]`}},
		},
		{
			Name: "join", Group: "text", result: StringKind,
			Doc:      "The elements of the list as texts, with the separator between them; as in every text, null reads unknown.",
			params:   []param{text("separator"), {name: "list", kinds: listKind}},
			call:     func(s *Scope, a []Value) Value { return s.join(a[0].str, a[1]) },
			Examples: []Example{{`join(", ", ["a", 1, null])`, `"a, 1, unknown"`}},
		},
		{
			Name: "replace", Group: "text", result: StringKind,
			Doc:    "The text with every occurrence of old replaced by new; regex_replace is for patterns.",
			params: []param{text("text"), text("old"), text("new")},
			call: func(s *Scope, a []Value) Value {
				n := strings.Count(a[0].str, a[1].str)
				if len(a[0].str)+n*(len(a[2].str)-len(a[1].str)) > maxText {
					return Value{}
				}
				return s.changed(a[0], strings.ReplaceAll(a[0].str, a[1].str, a[2].str))
			},
			Examples: []Example{{`replace("1-2-3", "-", ".")`, `"1.2.3"`}},
		},
		{
			Name: "format", Group: "text", result: StringKind,
			Doc: "A text with verbs replaced by arguments: %s any value, %q the same as JSON, %d a whole number, %f a number and %.2f one with two decimals, %x a whole number in hexadecimal, %% a percent sign. %5d, %05d and %-10s pad.",
			params: []param{
				text("layout"),
				{name: "values", kinds: anyKind, repeated: true},
			},
			call: func(s *Scope, a []Value) Value {
				verbs, err := parseLayout(a[0].str)
				if err != nil {
					return Value{}
				}
				return s.format(verbs, a[1:])
			},
			prepare: prepareFormat,
			Examples: []Example{
				{`format("%s: %d of %d (%.1f%%)", "x", 3, 8, 37.5)`, `"x: 3 of 8 (37.5%)"`},
				{`format("%05d|%-4s|%q", 42, "a", "b")`, `"00042|a   |\"b\""`},
				{`format("%d", "x")`, `null`},
			},
		},
		{
			Name: "tostring", Group: "text", result: StringKind,
			Doc:    "A bool, number or string as a text.",
			params: []param{{name: "value", kinds: boolKind | numberKind | stringKind}},
			call: func(s *Scope, a []Value) Value {
				if a[0].kind == StringKind {
					return a[0]
				}
				return s.text(a[0].appendText(nil, maxText))
			},
			Examples: []Example{{`tostring(1.50)`, `"1.5"`}, {`tostring(true)`, `"true"`}},
		},
	}
}

// changed is a text made of v's, which it shares when nothing changed.
func (s *Scope) changed(v Value, text string) Value {
	if len(text) > maxText || !s.spend(len(text)) {
		return Value{}
	}
	return v.like(normal(text))
}

// verb is a piece of a layout: fixed text, or one place for an argument.
type verb struct {
	fixed       string
	letter      byte // 0 for fixed text
	width       int
	left, zeros bool
	decimals    int // -1: as many as there are
}

const (
	maxWidth    = 200
	maxDecimals = 20
)

func parseLayout(layout string) ([]verb, error) {
	var verbs []verb
	for layout != "" {
		fixed, rest, found := strings.Cut(layout, "%")
		if fixed != "" {
			verbs = append(verbs, verb{fixed: fixed})
		}
		if !found {
			return verbs, nil
		}
		if strings.HasPrefix(rest, "%") {
			verbs = append(verbs, verb{fixed: "%"})
			layout = rest[1:]
			continue
		}
		v, n, err := parseVerb(rest)
		if err != nil {
			return nil, err
		}
		verbs = append(verbs, v)
		layout = rest[n:]
	}
	return verbs, nil
}

// parseVerb reads what follows a percent sign, and says how long it is.
func parseVerb(s string) (verb, int, error) {
	v := verb{decimals: -1}
	i := 0
	for ; i < len(s) && (s[i] == '-' || s[i] == '0'); i++ {
		v.left = v.left || s[i] == '-'
		v.zeros = v.zeros || s[i] == '0'
	}
	for ; i < len(s) && isDigit(s[i]) && v.width <= maxWidth; i++ {
		v.width = v.width*10 + int(s[i]-'0')
	}
	if i < len(s) && s[i] == '.' {
		v.decimals = 0
		for i++; i < len(s) && isDigit(s[i]) && v.decimals <= maxDecimals; i++ {
			v.decimals = v.decimals*10 + int(s[i]-'0')
		}
	}
	if i >= len(s) || !strings.ContainsRune("sqdfx", rune(s[i])) {
		return v, 0, fmt.Errorf("after %% comes one of s, q, d, f, x or another %%")
	}
	v.letter = s[i]
	if v.decimals >= 0 && v.letter != 'f' {
		return v, 0, fmt.Errorf("only %%f has decimals")
	}
	if v.width > maxWidth || v.decimals > maxDecimals {
		return v, 0, fmt.Errorf("a width is at most %d, and decimals are at most %d", maxWidth, maxDecimals)
	}
	return v, i + 1, nil
}

func prepareFormat(known []*Value) (callFunc, int, error) {
	if known[0] == nil {
		return nil, 0, nil
	}
	verbs, err := parseLayout(known[0].str)
	if err != nil {
		return nil, 0, err
	}
	places := 0
	for _, v := range verbs {
		if v.letter != 0 {
			places++
		}
	}
	if places != len(known)-1 {
		return nil, 0, fmt.Errorf("it has places for %d values, and %d are given", places, len(known)-1)
	}
	return func(s *Scope, args []Value) Value { return s.format(verbs, args[1:]) }, 0, nil
}

func (s *Scope) format(verbs []verb, args []Value) Value {
	var b []byte
	for _, v := range verbs {
		if v.letter == 0 {
			b = append(b, v.fixed...)
			continue
		}
		if len(args) == 0 || !s.spendDeep(args[0]) {
			return Value{}
		}
		var ok bool
		if b, ok = v.append(b, args[0]); !ok || len(b) > maxText {
			return Value{}
		}
		args = args[1:]
	}
	if len(args) > 0 {
		return Value{}
	}
	return s.text(b)
}

func (v verb) append(b []byte, arg Value) ([]byte, bool) {
	var text string
	switch v.letter {
	case 's':
		text = string(arg.appendText(nil, maxText))
	case 'q':
		text = string(arg.appendJSON(nil, maxText))
	default:
		if arg.kind != NumberKind {
			return b, false
		}
		var ok bool
		if text, ok = v.number(arg.decimal()); !ok {
			return b, false
		}
	}
	pad := max(0, v.width-utf8.RuneCountInString(text))
	switch {
	case v.left:
		text += strings.Repeat(" ", pad)
	case v.zeros && arg.kind == NumberKind:
		digits, negative := strings.CutPrefix(text, "-")
		text = strings.Repeat("0", pad) + digits
		if negative {
			text = "-" + text
		}
	default:
		text = strings.Repeat(" ", pad) + text
	}
	return append(b, text...), true
}

func (v verb) number(d decimal) (string, bool) {
	switch {
	case v.letter == 'x':
		return d.scaled(0).Text(16), d.isWhole()
	case v.letter == 'd':
		return d.plain(), d.isWhole()
	case v.decimals < 0:
		return d.plain(), true
	}
	d, ok := d.round(int32(v.decimals), halfAway)
	if !ok {
		return "", false
	}
	text := d.plain()
	if v.decimals == 0 {
		return text, true
	}
	dot := strings.IndexByte(text, '.')
	if dot < 0 {
		dot = len(text)
		text += "."
	}
	return text + strings.Repeat("0", v.decimals-(len(text)-dot-1)), true
}
