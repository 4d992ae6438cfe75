package expr

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// generator makes expressions and documents out of bytes, so that a fuzzer can vary them. Without bytes it makes the
// simplest of everything.
type generator struct {
	data   []byte
	locals []string
}

func (g *generator) pick(n int) int {
	if len(g.data) == 0 || n <= 1 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return int(b) % n
}

func oneOf[T any](g *generator, of []T) T { return of[g.pick(len(of))] }

var (
	someNames   = []string{"a", "b", "c", "list", "café", "1"}
	someNumbers = []string{
		"1", "0", "2", "3", "-1", "0.5", "1.50", "10", "1e2", "1e40", "1e308", "1e-308", "9007199254740993", "9223372036854775807",
		"-9223372036854775808", "18446744073709551615", "0.1", "1234567890123456789012345678901234567890", "33.3333333333", "1e-7",
	}
	someStrings = []string{
		"a", "", "b", "1", "é", "cafe\u0301", "10.1.2.3", "10.0.0.0/8", "::ffff:10.1.2.3", "2026-08-14T08:00:00Z", "x y,z", "1h", "true", "http://a.b/c",
		"a\\b\"c\n", "\U0001F600", "{\"a\":1}", "aGk=", "%41", "abcabc", "unknown", "ünï",
	}
	// Longer than what the scanner takes at once, with what stops it at any place in it.
	someTails    = []string{"", "0123456", "01234567", "0123456789abcdef", "01234567890123456789\"", "0123456789\\012345678\\", "0123456789é", "\t89abcdef0"}
	somePatterns = []string{`a`, `^(b|a)+$`, `(?i)A(.)`, `(?P<n>[0-9]+)`, `é`, ``}
	someZones    = []string{"UTC", "Europe/Berlin", "Asia/Kolkata"}
	someLayouts  = []string{"%s", "%d-%s", "%05.2f", "%q%x", "%%"}
)

// event makes a JSON document that mostly is an object.
func (g *generator) event() string {
	if g.pick(8) == 1 {
		return g.json(3)
	}
	return g.jsonObject(3)
}

// json makes a JSON document.
func (g *generator) json(depth int) string {
	kind := g.pick(7)
	if depth <= 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return oneOf(g, someNumbers)
	case 1:
		text := oneOf(g, someStrings)
		if g.pick(4) == 1 {
			text += oneOf(g, someTails)
		}
		return quoteJSON(text, g.pick(3) == 1)
	case 2:
		return oneOf(g, []string{"true", "false"})
	case 3:
		return "null"
	case 4:
		items := make([]string, g.pick(4))
		for i := range items {
			items[i] = g.json(depth - 1)
		}
		return "[" + strings.Join(items, oneOf(g, []string{",", " ,\n"})) + "]"
	}
	return g.jsonObject(depth)
}

func (g *generator) jsonObject(depth int) string {
	var fields []string
	for _, name := range someNames {
		if g.pick(3) > 0 {
			fields = append(fields, quoteJSON(name, g.pick(4) == 1)+oneOf(g, []string{":", " : "})+g.json(depth-1))
		}
	}
	if g.pick(16) == 1 { // not many: Reference takes seconds for loops in loops
		for i := range 12 {
			fields = append(fields, fmt.Sprintf(`"n%d":%d`, i*i, i))
		}
	}
	return oneOf(g, []string{"{", "{ ", "{\n\t"}) + strings.Join(fields, oneOf(g, []string{",", " , ", ",\r\n"})) + oneOf(g, []string{"}", " }"})
}

// quoteJSON writes a string, also in the long way.
func quoteJSON(s string, escaped bool) string {
	if !escaped {
		return string(appendQuoted(nil, s))
	}
	b := []byte{'"'}
	for _, r := range s {
		if r > 0xffff {
			b = fmt.Appendf(b, "%c", r)
			continue
		}
		b = fmt.Appendf(b, "\\u%04x", r)
	}
	return string(append(b, '"'))
}

func quoteHCL(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", "$${", "%{", "%%{").Replace(s)
	return `"` + s + `"`
}

func (g *generator) path(want kinds) string {
	roots := append([]string{"event.raw", "case", "plain"}, g.locals...)
	if want.has(ListKind) {
		roots = append(roots, "known")
	}
	switch {
	case want.has(StringKind) && g.pick(10) == 1:
		return "event.title"
	case want.has(NumberKind) && g.pick(10) == 1:
		return "event.severity"
	}
	var b strings.Builder
	b.WriteString(oneOf(g, roots))
	for range g.pick(4) {
		switch g.pick(8) {
		case 0:
			fmt.Fprintf(&b, "[%d]", g.pick(3))
		case 1:
			if want.has(ListKind) {
				return b.String() + oneOf(g, []string{"[*]", "[*].a", ".*.b"})
			}
		case 2:
			fmt.Fprintf(&b, "[%s]", quoteHCL(oneOf(g, someNames)))
		default:
			b.WriteString("." + oneOf(g, someNames[:5]))
		}
	}
	return b.String()
}

// expr makes an expression of one of the given kinds, or rarely of another.
func (g *generator) expr(depth int, want kinds) string {
	if g.pick(40) == 1 {
		want = anyKind
	}
	if depth <= 0 || len(g.data) == 0 || g.pick(5) == 0 {
		return g.leaf(want)
	}
	depth--
	productions := []struct {
		makes kinds
		by    func() string
	}{
		{anyKind, func() string { return g.call(depth, want) }},
		{anyKind, func() string { return g.call(depth, want) }},
		{boolKind, func() string { return g.binary(depth, "&&", "||", "==", "!=", "==", "<", "<=", ">", ">=") }},
		{numberKind, func() string { return g.binary(depth, "+", "-", "*", "/", "%") }},
		{boolKind, func() string { return "!(" + g.expr(depth, boolKind) + ")" }},
		{numberKind, func() string { return "-(" + g.expr(depth, numberKind) + ")" }},
		{anyKind, func() string {
			return "(" + g.expr(depth, boolKind) + " ? " + g.expr(depth, want) + " : " + g.expr(depth, want) + ")"
		}},
		{stringKind, func() string { return g.template(depth) }},
		{listKind, func() string { return g.list(depth) }},
		{objectKind, func() string { return g.object(depth) }},
		{listKind, func() string { return "[" + g.loop(depth, false) + "]" }},
		{objectKind, func() string { return "{" + g.loop(depth, true) + "}" }},
		{anyKind, func() string {
			return "(" + g.expr(depth, listKind|objectKind) + ")[" + g.expr(depth, numberKind|stringKind) + "]"
		}},
		{listKind, func() string { return "(" + g.expr(depth, listKind) + ")" + oneOf(g, []string{".a", "[*].b", ".*.c"}) }},
		{anyKind, func() string { return "(" + g.expr(depth, objectKind) + ").a" }},
		{anyKind, func() string {
			return "table.t[" + g.expr(depth, numberKind|stringKind|boolKind) + "]" + oneOf(g, []string{"", ".a", ".b", ".list[0]"})
		}},
	}
	for range 30 {
		if p := oneOf(g, productions); p.makes&want != 0 {
			return p.by()
		}
	}
	return g.leaf(want)
}

func (g *generator) leaf(want kinds) string {
	if g.pick(2) == 0 {
		return g.path(want)
	}
	switch {
	case g.pick(12) == 1:
		return "null"
	case want == anyKind:
		want = kinds(1 << (1 + g.pick(3)))
	}
	switch {
	case want.has(NumberKind):
		return "(" + oneOf(g, someNumbers) + ")"
	case want.has(BoolKind):
		return oneOf(g, []string{"true", "false"})
	case want.has(StringKind):
		return quoteHCL(oneOf(g, someStrings))
	}
	return g.path(want)
}

func (g *generator) binary(depth int, operators ...string) string {
	op := oneOf(g, operators)
	want := numberKind
	switch op {
	case "==", "!=":
		want = kinds(1 << (1 + g.pick(5)))
	case "&&", "||":
		want = boolKind
	}
	return "(" + g.expr(depth, want) + " " + op + " " + g.expr(depth, want) + ")"
}

func (g *generator) template(depth int) string {
	switch g.pick(4) {
	case 0:
		return `"${` + g.expr(depth, anyKind) + `}"`
	case 1:
		return `"%{ if ` + g.expr(depth, boolKind) + ` }y${` + g.expr(depth, anyKind) + `}%{ else }n%{ endif }"`
	case 2:
		return `"%{ for x in ` + g.expr(depth, listKind) + ` }<${x}>%{ endfor }"`
	}
	return `"é ${` + g.expr(depth, anyKind) + `} ${` + g.expr(depth, anyKind) + `}"`
}

func (g *generator) list(depth int) string {
	items := make([]string, g.pick(4))
	for i := range items {
		items[i] = g.expr(depth, anyKind)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func (g *generator) object(depth int) string {
	var fields []string
	for _, name := range someNames[:g.pick(4)] {
		if g.pick(3) == 1 {
			name = "(" + g.expr(depth, stringKind|numberKind) + ")"
		}
		fields = append(fields, name+" = "+g.expr(depth, anyKind))
	}
	return "{ " + strings.Join(fields, ", ") + " }"
}

func (g *generator) loop(depth int, object bool) string {
	collection := g.expr(depth, listKind|objectKind)
	before := g.locals
	defer func() { g.locals = before }()
	g.locals = append(before[:len(before):len(before)], "k", "v")
	s := "for k, v in " + collection + " : "
	if object {
		s += g.expr(depth, stringKind|numberKind) + " => "
	}
	s += g.expr(depth, anyKind)
	if object && g.pick(2) == 1 {
		s += "..."
	}
	if g.pick(2) == 1 {
		s += " if " + g.expr(depth, boolKind)
	}
	return s
}

func (g *generator) call(depth int, want kinds) string {
	all := Functions()
	f := oneOf(g, all)
	for tries := 0; tries < 20 && f.result != NullKind && !want.has(f.result); tries++ {
		f = oneOf(g, all)
	}
	args := make([]string, 0, 3)
	for _, p := range f.params {
		n := 1
		if p.optional {
			n = g.pick(2)
		}
		if p.repeated {
			n = g.pick(3)
		}
		for range n {
			args = append(args, g.argument(depth, f.Name, p))
		}
	}
	expand := ""
	if least, _ := f.arity(); len(args) > 0 && g.pick(8) == 1 && !f.params[len(f.params)-1].known {
		args = append(args[:min(least, len(args)-1)], g.expr(depth, listKind))
		expand = "..."
	}
	return f.Name + "(" + strings.Join(args, ", ") + expand + ")"
}

func (g *generator) argument(depth int, function string, p param) string {
	switch p.name {
	case "pattern":
		return quoteHCL(oneOf(g, somePatterns))
	case "zone":
		return quoteHCL(oneOf(g, someZones))
	case "group":
		return "0"
	case "layout":
		if function == "format" {
			return quoteHCL(oneOf(g, someLayouts))
		}
	}
	return g.expr(depth, p.kinds)
}

// muchWork is what is not held against Reference, which bounds no work and takes a thousand times as long.
const muchWork = 1 << 20

// differ compiles and evaluates one generated case in both ways. It says whether the case was one that compiles, and
// whether it had a result.
func differ(t *testing.T, data []byte) (compiles, result bool) {
	// One half makes the expression and one the data, so that neither takes all.
	g, d := &generator{data: data[:len(data)/2]}, &generator{data: data[len(data)/2:]}
	strict, planned := g.pick(2) == 1, g.pick(4) != 1
	source := g.expr(5, anyKind)
	payload, tree, plain := d.event(), d.json(2), d.json(2)
	// What the document was of before, and whether its plan is for the expression, must not matter.
	before := d.event() + oneOf(d, []string{"", "", "", "{"})

	e, diags := hclsyntax.ParseExpression([]byte(source), "fuzz.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return false, false
	}
	env := Env{Roots: eventRoots(), Strict: strict, Constants: map[string]Value{"known": JSON([]byte(plain))}}
	env.Roots["case"], env.Roots["plain"] = nil, nil
	env.Tables = map[string]Table{"t": someTable()}
	env.Constants["known"] = List([]Value{JSON([]byte(plain)), String("a")})
	p, diags := Compile(e, env)
	if diags.HasErrors() {
		return false, false
	}
	scope := eventScope(payload)
	scope.Set("case", fromCty(decode(tree)))
	scope.Set("plain", JSON([]byte(plain)))
	got := p.Eval(scope)
	exceeded := scope.Exceeded()
	if maxWork-scope.work > muchWork {
		return true, false
	}
	want := Reference(e, env, scope)
	env.Index = NewIndex("event", "raw")
	indexed, other := mustCompile(t, source, env), mustCompile(t, "event.raw.b.c", env)
	plan := NewPlan(indexed, other)
	if !planned {
		plan = NewPlan(other)
	}
	_ = scope.document.Read([]byte(before), plan)
	indexed.Eval(scope)
	if err := scope.document.Read([]byte(payload), plan); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	fast := indexed.Eval(scope)
	if fast.String() != want.String() && !scope.Exceeded() && !exceeded {
		t.Errorf("%s\n strict %v, planned %v\n before %s\n event  %s\n case   %s\n plain  %s\n from the index  %s\n Reference %s",
			source, strict, planned, before, payload, tree, plain, fast, want)
	}
	if truth := indexed.Truth(scope); truth != fast.Truth() && !scope.Exceeded() {
		t.Errorf("%s\n event %s: as a condition %s, as a value %s", source, payload, truth, fast)
	}
	if got.String() != want.String() && !exceeded {
		t.Errorf("%s\n strict %v\n event  %s\n case   %s\n plain  %s\n closures  %s\n Reference %s",
			source, strict, payload, tree, plain, got, want)
	}
	if again := p.Eval(scope); again.String() != got.String() {
		t.Errorf("%s\n event %s: first %s, then %s", source, payload, got, again)
	}
	return true, !got.IsNull()
}

// FuzzDifferential holds the closures against Reference.
func FuzzDifferential(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomBytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { differ(t, data) })
}

// TestDifferential is FuzzDifferential without a fuzzer's patience; most of what is generated must count.
func TestDifferential(t *testing.T) {
	const cases = 1500
	compiled, results := 0, 0
	for seed := range uint64(cases) {
		compiles, result := differ(t, randomBytes(seed))
		if compiles {
			compiled++
		}
		if result {
			results++
		}
		if t.Failed() {
			return
		}
	}
	if compiled < cases/2 || results < cases/4 {
		t.Errorf("of %d generated expressions only %d compile and %d have a result", cases, compiled, results)
	}
}

func randomBytes(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, 400)
	for i := range data {
		data[i] = byte(r.UintN(256))
	}
	return data
}
