package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/sdk"
)

// section is one block that has been checked against its type. What was wrong in it
// has been complained about, and is missing here.
type section struct {
	typ    blockType
	block  *hclsyntax.Block
	labels []string
	// attrs by the name that the grammar has for them.
	attrs  map[string]*hclsyntax.Attribute
	values map[string]expr.Value
	blocks []*section
	// broken: something in it was wrong.
	broken bool
	used   bool
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// addressable are the kinds of blocks that others name.
func addressable(kind string) bool {
	switch kind {
	case "connection", "detector", "enrichment", "action", "template", "pipeline", "rule", "response", "route", "schedule", "variable", "publisher", "table", "pack", "module", "user", "text":
		return true
	}
	return false
}

// name is the block's last label.
func (s *section) name() string {
	if len(s.labels) == 0 {
		return ""
	}
	return s.labels[len(s.labels)-1]
}

// address is kind.name.
func (s *section) address() string { return s.typ.name + "." + s.name() }

// title is how messages name the block: detector "file" "eve".
func (s *section) title() string { return titleOf(s.block) }

func titleOf(b *hclsyntax.Block) string {
	return strings.Join(append([]string{b.Type}, quoted(b.Labels)...), " ")
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = `"` + w + `"`
	}
	return out
}

// header is the place of the block's first line.
func (s *section) header() hcl.Range { return s.block.DefRange() }

// place of an attribute's value, or else of the block.
func (s *section) place(name string) hcl.Range {
	if a, ok := s.attrs[name]; ok {
		return a.Expr.Range()
	}
	return s.header()
}

func (s *section) expr(name string) hclsyntax.Expression {
	if a, ok := s.attrs[name]; ok {
		return a.Expr
	}
	return nil
}

func (s *section) has(name string) bool { return s.attrs[name] != nil }

// The readers of values give def where the attribute is absent or was wrong.

func (s *section) text(name, def string) string {
	if v, ok := s.values[name].Str(); ok {
		return v
	}
	return def
}

func (s *section) duration(name string, def time.Duration) time.Duration {
	if text, ok := s.values[name].Str(); ok {
		if d, err := sdk.ParseDuration(text); err == nil {
			return d
		}
	}
	return def
}

func (s *section) integer(name string, def int) int {
	if i, ok := s.values[name].Int(); ok {
		return int(i)
	}
	return def
}

func (s *section) flag(name string, def bool) bool {
	switch s.values[name].Truth() {
	case expr.True:
		return true
	case expr.False:
		return false
	}
	return def
}

func (s *section) texts(name string) []string {
	var out []string
	for item := range s.values[name].Items() {
		if text, ok := item.Str(); ok {
			out = append(out, text)
		}
	}
	return out
}

// of are the inner blocks of a type.
func (s *section) of(name string) []*section {
	var out []*section
	for _, inner := range s.blocks {
		if inner.typ.name == name {
			out = append(out, inner)
		}
	}
	return out
}

// one is the inner block of a type, or nil.
func (s *section) one(name string) *section {
	for _, inner := range s.blocks {
		if inner.typ.name == name {
			return inner
		}
	}
	return nil
}

// items are the expressions of a list as it is written, or nil.
func items(e hclsyntax.Expression) []hclsyntax.Expression {
	if list, ok := e.(*hclsyntax.TupleConsExpr); ok {
		return list.Exprs
	}
	return nil
}

func emptyList(e hclsyntax.Expression) bool {
	list, ok := e.(*hclsyntax.TupleConsExpr)
	return ok && len(list.Exprs) == 0
}

// item is the place of the i-th element of a list attribute, or of the whole.
func (s *section) item(name string, i int) hcl.Range {
	if list := items(s.expr(name)); i < len(list) {
		return list[i].Range()
	}
	return s.place(name)
}

// section checks a block: its labels, and its body by its type.
func (p *parser) section(block *hclsyntax.Block, typ blockType) *section {
	before := len(p.diags)
	s := &section{
		typ: typ, block: block, labels: block.Labels,
		attrs: map[string]*hclsyntax.Attribute{}, values: map[string]expr.Value{},
	}
	p.labels(s)
	if typ.later {
		p.later(s.header(), article(typ.name)+" block")
	}
	p.body(s, block.Body, typ.body)
	s.broken = p.diags[before:].HasErrors()
	return s
}

func (p *parser) labels(s *section) {
	want, got := s.typ.labels, s.block.Labels
	if len(got) != len(want) {
		example := s.typ.name
		for _, label := range want {
			example += ` "` + strings.ToUpper(label) + `"`
		}
		p.errorf(s.header(), "Wrong labels", "This block is written %s { … }.", example)
		// The last label is taken for the name, so that not everybody who uses it complains.
		s.labels = make([]string, len(want))
		for i := 1; i <= min(len(got), len(want)); i++ {
			s.labels[len(want)-i] = got[len(got)-i]
		}
		return
	}
	if !addressable(s.typ.name) && s.typ.name != "step" && s.typ.name != "option" {
		return
	}
	if name := s.name(); !nameForm.MatchString(name) {
		p.errorf(s.block.LabelRanges[len(got)-1], "Not a name",
			"Other blocks name this one as %s.NAME, so its name is a lower-case letter, and then lower-case letters, digits and \"_\".", s.typ.name)
	}
}

func (p *parser) body(s *section, body *hclsyntax.Body, typ bodyType) {
	if typ.free {
		maps.Copy(s.attrs, body.Attributes)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		p.attribute(s, typ, body.Attributes[name])
	}
	counts := map[string]int{}
	for _, block := range body.Blocks {
		p.inner(s, typ, block, counts)
	}
	for _, a := range typ.attributes {
		if a.Required && s.attrs[a.Name] == nil {
			p.errorf(s.header(), "Missing attribute", "%s needs %q. %s", sentence(s.title()), a.Name, a.Doc)
		}
	}
	for _, t := range typ.blocks {
		if t.required && counts[t.name] == 0 {
			p.errorf(s.header(), "Missing block", "%s needs a block %q. %s", sentence(s.title()), t.name, t.doc)
		}
	}
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (p *parser) attribute(s *section, typ bodyType, attr *hclsyntax.Attribute) {
	a, ok := typ.attribute(attr.Name)
	switch {
	case !ok && typ.open:
		return
	case !ok:
		p.unknownAttribute(s, typ, attr)
		return
	}
	if other := s.attrs[a.Name]; other != nil {
		p.errorf(attr.NameRange, "Attribute given twice", "%q is the older name of %q, which is given too. Keep %q.", a.RenamedFrom, a.Name, a.Name)
		return
	}
	if attr.Name != a.Name {
		p.warnf(attr.NameRange, "Renamed attribute", "%q is called %q now. Write %q.", attr.Name, a.Name, a.Name).Extra = hidden{all: a.Secret}
	}
	if a.Deprecated != "" {
		p.warnf(attr.NameRange, "Deprecated attribute", "%q: %s", attr.Name, a.Deprecated).Extra = hidden{all: a.Secret}
	}
	if a.later {
		p.later(attr.NameRange, "\""+a.Name+"\" in "+article(s.typ.name)+" block")
	}
	s.attrs[a.Name] = attr
	switch {
	case a.Secret:
		p.secretValue(attr.Expr)
	case a.want == wantValue:
		if v, ok := p.value(attr.Expr, a); ok && !v.IsNull() {
			s.values[a.Name] = v
		} else if ok {
			delete(s.attrs, a.Name) // null is as if it were not there
		}
	}
}

func (p *parser) unknownAttribute(s *section, typ bodyType, attr *hclsyntax.Attribute) {
	attributes, blocks := typ.names()
	var d *hcl.Diagnostic
	if slices.Contains(blocks, attr.Name) {
		d = p.errorf(attr.NameRange, "Not an attribute", "%q is a block: write %s { … } without \"=\".", attr.Name, attr.Name)
	} else {
		d = p.errorf(attr.NameRange, "Unknown attribute", "%s has no %q. %s", sentence(s.typ.name), attr.Name, suggest(attr.Name, attributes))
	}
	d.Extra = hidden{part: attr.Expr.Range()} // it may be a secret attribute, misspelt
}

// inner checks a block within another. Counts has how many there are of each type, and
// the lines of those with labels.
func (p *parser) inner(s *section, typ bodyType, block *hclsyntax.Block, counts map[string]int) {
	t, ok := typ.block(block.Type)
	if !ok && typ.open {
		return
	}
	if !ok {
		attributes, blocks := typ.names()
		if slices.Contains(attributes, block.Type) {
			p.errorf(block.TypeRange, "Not a block", "%q is an attribute: write %s = …", block.Type, block.Type)
		} else {
			p.errorf(block.TypeRange, "Unknown block", "%s has no block %q. %s", sentence(s.typ.name), block.Type, suggest(block.Type, blocks))
		}
		return
	}
	counts[t.name]++
	if counts[t.name] > 1 && !t.many {
		p.errorf(block.DefRange(), "Block given twice", "A %s has one block %q. Join them.", s.typ.name, t.name)
		return
	}
	inner := p.section(block, t)
	if title := inner.title(); len(t.labels) > 0 {
		if line, ok := counts[title]; ok && t.name != "given" && t.name != "choose" {
			p.errorf(block.DefRange(), "Block given twice", "There is another %s on line %d. Give one of them another name.", title, line)
		}
		counts[title] = block.DefRange().Start.Line
	}
	s.blocks = append(s.blocks, inner)
}
