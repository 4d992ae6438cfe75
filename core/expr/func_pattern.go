package expr

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// maxPattern is the length of a pattern; what repetition could make of a longer one would take too much memory.
const maxPattern = 4096

// pattern is a compiled pattern with what matching it takes for each byte of text.
type pattern struct {
	*regexp.Regexp
	cost int
}

func patternFunctions() []Function {
	known := param{name: "pattern", kinds: stringKind, known: true}
	return []Function{
		{
			Name: "regex", Group: "text", result: BoolKind,
			Doc:    "Whether the pattern, or one of a list of them, is found in the text. Patterns are RE2's: (?i) ignores case, ^ and $ are the ends. They must be known when the configuration is read.",
			params: []param{{name: "pattern", kinds: stringKind | listKind, known: true}, text("text")},
			call: func(s *Scope, a []Value) Value {
				patterns, err := compilePatterns(a[0])
				if err != nil {
					return Value{}
				}
				return s.matches(patterns, a[1].str)
			},
			prepare: func(known []*Value) (callFunc, int, error) {
				patterns, err := compilePatterns(*known[0])
				return func(s *Scope, a []Value) Value { return s.matches(patterns, a[1].str) }, 0, err
			},
			Examples: []Example{
				{`regex("^ET (MALWARE|TROJAN)", "ET MALWARE Beacon")`, `true`},
				{`regex(["(?i)mimikatz", "(?i)rubeus"], "C:\\Temp\\Rubeus.exe")`, `true`},
			},
		},
		{
			Name: "regex_extract", Group: "text", result: StringKind,
			Doc: "What the pattern's first group, or the group of the given number or name, has found; without groups all that it has found. Null if it finds nothing.",
			params: []param{
				known, text("text"),
				{name: "group", kinds: stringKind | numberKind, optional: true, known: true},
			},
			call: func(s *Scope, a []Value) Value {
				var chosen Value
				if len(a) == 3 {
					chosen = a[2]
				}
				re, err := compilePattern(a[0])
				if err != nil {
					return Value{}
				}
				group, err := groupOf(re, chosen)
				if err != nil {
					return Value{}
				}
				return s.extract(re, group, a[1])
			},
			prepare: prepareExtract,
			Examples: []Example{
				{`regex_extract("user=(\\w+)", "user=kim id=4")`, `"kim"`},
				{`regex_extract("(?P<k>\\w+)=(?P<v>\\w+)", "a=b", "v")`, `"b"`},
				{`regex_extract("x", "abc")`, `null`},
			},
		},
		{
			Name: "regex_replace", Group: "text", result: StringKind,
			Doc:    "The text with all that the pattern finds replaced; $1 or ${name} in the replacement is what a group has found.",
			params: []param{known, text("text"), text("replacement")},
			call: func(s *Scope, a []Value) Value {
				re, err := compilePattern(a[0])
				if err != nil {
					return Value{}
				}
				return s.substitute(re, a[1].str, a[2].str)
			},
			prepare: func(known []*Value) (callFunc, int, error) {
				re, err := compilePattern(*known[0])
				return func(s *Scope, a []Value) Value { return s.substitute(re, a[1].str, a[2].str) }, 0, err
			},
			Examples: []Example{{`regex_replace("[0-9]+", "a1b22", "#")`, `"a#b#"`}},
		},
	}
}

func compilePattern(v Value) (*pattern, error) {
	if v.kind != StringKind {
		return nil, errors.New("a pattern is a text")
	}
	if len(v.str) > maxPattern {
		return nil, fmt.Errorf("a pattern has at most %d bytes", maxPattern)
	}
	re, err := regexp.Compile(v.str)
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s: `%s`", wrong.Code, wrong.Expr)
	}
	if err != nil {
		return nil, err
	}
	size, err := programSize(v.str)
	return &pattern{re, 8 + size}, err
}

// programSize counts what the pattern is compiled to; in the worst case all of it is looked at for each byte.
func programSize(text string) (int, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0, err
	}
	return len(program.Inst), nil
}

func compilePatterns(v Value) ([]*pattern, error) {
	if v.kind != ListKind {
		re, err := compilePattern(v)
		return []*pattern{re}, err
	}
	var patterns []*pattern
	for item := range v.Items() {
		re, err := compilePattern(item)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, re)
	}
	return patterns, nil
}

func (s *Scope) matches(patterns []*pattern, text string) Value {
	for _, re := range patterns {
		if !s.spend(re.cost * len(text)) {
			return Value{}
		}
		if re.MatchString(text) {
			return Bool(true)
		}
	}
	return Bool(false)
}

func groupOf(re *pattern, chosen Value) (int, error) {
	switch chosen.kind {
	case NumberKind:
		if n, ok := chosen.Int(); ok && n >= 0 && n <= int64(re.NumSubexp()) {
			return int(n), nil
		}
		return 0, fmt.Errorf("the pattern has %d groups", re.NumSubexp())
	case StringKind:
		if n := re.SubexpIndex(chosen.str); n >= 0 {
			return n, nil
		}
		return 0, fmt.Errorf("the pattern has no group %s", strconv.Quote(chosen.str))
	}
	return min(1, re.NumSubexp()), nil
}

func prepareExtract(known []*Value) (callFunc, int, error) {
	re, err := compilePattern(*known[0])
	if err != nil {
		return nil, 0, err
	}
	var chosen Value
	if len(known) == 3 && known[2] != nil {
		chosen = *known[2]
	}
	group, err := groupOf(re, chosen)
	return func(s *Scope, a []Value) Value { return s.extract(re, group, a[1]) }, 2, err
}

func (s *Scope) extract(re *pattern, group int, v Value) Value {
	if !s.spend(re.cost * len(v.str)) {
		return Value{}
	}
	found := re.FindStringSubmatchIndex(v.str)
	if found == nil || found[2*group] < 0 {
		return Value{}
	}
	return v.like(v.str[found[2*group]:found[2*group+1]])
}

// substitute builds the result itself, because what a replacement can make of a text has no bound.
func (s *Scope) substitute(re *pattern, text, replacement string) Value {
	if !s.spend(2 * re.cost * len(text)) {
		return Value{}
	}
	var b []byte
	end := 0
	for _, found := range re.FindAllStringSubmatchIndex(text, maxItems) {
		b = append(b, text[end:found[0]]...)
		if strings.Contains(replacement, "$") {
			b = re.ExpandString(b, replacement, text, found)
		} else {
			b = append(b, replacement...)
		}
		end = found[1]
		if len(b) > maxText {
			return Value{}
		}
	}
	return s.text(append(b, text[end:]...))
}
