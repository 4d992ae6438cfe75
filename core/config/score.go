package config

import (
	"embed"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/score"
)

//go:embed presets/*.hcl
var presetFiles embed.FS

// DefaultPreset is the score of a configuration without a score block.
const DefaultPreset = "balanced"

// Presets are the names of the scores that Kelpie brings.
func Presets() []string {
	entries, _ := presetFiles.ReadDir("presets")
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".hcl")
	}
	return names
}

// presetText is a preset as HCL: the body of a score block.
func presetText(name string) (string, bool) {
	if !nameForm.MatchString(name) {
		return "", false
	}
	text, err := presetFiles.ReadFile("presets/" + name + ".hcl")
	return string(text), err == nil
}

// score reads the score block, and the preset that it starts from.
func (p *parser) score() {
	out := &p.config.Decide.Score
	s, preset := p.first("score"), (*section)(nil)
	if s == nil {
		out.Preset = DefaultPreset
	} else {
		out.Preset = s.text("preset", "")
	}
	if out.Preset != "" {
		preset = p.preset(s, out.Preset)
	}
	p.readInputs(s, preset)
	if s != nil {
		p.tests(s, true)
		for _, f := range s.of("factor") {
			if factor, ok := p.factor(f); ok {
				out.Factors = append(out.Factors, factor)
			}
		}
		if out.Preset == "" && len(s.of("factor")) == 0 && !s.broken {
			p.errorf(s.header(), "Empty score", "Write preset = \"balanced\", or factors of your own.")
		}
	}
	if preset != nil {
		out.Round = p.rounding(preset)
		out.Factors = slices.Concat(p.presetFactors(preset, out.Factors), out.Factors)
	}
	if s != nil && s.has("round") {
		out.Round = p.rounding(s)
	}
}

// rounding is what a factor or a total is rounded to.
func (p *parser) rounding(s *section) int {
	n := s.integer("round", 0)
	if s.has("round") && !s.broken && !slices.Contains(score.Steps(), n) {
		p.errorf(s.place("round"), "Out of range", "A score is rounded to multiples of 1, 2, 4, 5, 10, 20, 25 or 50 points, so that 100 stays 100.")
		s.broken = true
		return 0
	}
	return n
}

// preset reads the text of a preset; nil if there is none, or it is wrong.
func (p *parser) preset(s *section, name string) *section {
	text, ok := p.src.Presets[name]
	if !ok {
		text, ok = presetText(name)
	}
	if !ok {
		p.errorf(s.place("preset"), "Unknown preset", "There is no preset %q. %s", name, suggest(name, Presets()))
		return nil
	}
	file, diags := hclsyntax.ParseConfig([]byte(text), "preset "+name, hcl.InitialPos)
	if diags.HasErrors() {
		p.diags = append(p.diags, diags...)
		return nil
	}
	body := file.Body.(*hclsyntax.Body)
	block := &hclsyntax.Block{Type: "score", Body: body, TypeRange: body.SrcRange, OpenBraceRange: body.SrcRange}
	return p.section(block, scoreBlock())
}

// readInputs gives a preset what it takes from the operator, each of the kind that the
// preset itself has as its default.
func (p *parser) readInputs(s, preset *section) {
	inputs := map[string]expr.Value{}
	if preset != nil {
		for name, v := range preset.values["inputs"].Fields() {
			inputs[name] = v
		}
	}
	p.inputs = inputs
	if s == nil || !s.has("inputs") {
		return
	}
	for name, v := range s.values["inputs"].Fields() {
		at, found := fieldOf(s.expr("inputs"), name)
		if !found {
			at = s.expr("inputs")
		}
		was, known := inputs[name]
		switch {
		case len(inputs) == 0:
			p.errorf(at.Range(), "Without effect", "No preset is used that takes anything. For a value of your own write locals { %s = … }.", name)
			return
		case !known:
			p.errorf(at.Range(), "Unknown input", "The preset takes no %q. %s", name, suggest(name, slices.Sorted(maps.Keys(inputs))))
		case v.Kind() != was.Kind():
			p.errorf(at.Range(), "Wrong type", "%q of the preset is a %s, and this is a %s.", name, was.Kind(), v.Kind())
		default:
			inputs[name] = v
		}
	}
}

// presetFactors are a preset's factors, save those that the operator has replaced.
func (p *parser) presetFactors(preset *section, own []score.Factor) []score.Factor {
	var factors []score.Factor
	for _, f := range preset.of("factor") {
		if slices.ContainsFunc(own, func(o score.Factor) bool { return o.Name == f.name() }) {
			continue
		}
		if factor, ok := p.factor(f); ok {
			factors = append(factors, factor)
		}
	}
	return factors
}

func (p *parser) factor(s *section) (score.Factor, bool) {
	f := score.Factor{Name: s.name(), Combine: s.text("combine", score.Max), Weight: s.values["weight"].Text()}
	weight := s.values["weight"]
	if s.has("weight") && !s.broken {
		if n, ok := weight.Fixed(6); !ok || n <= 0 || n > 100_000_000 || strings.Trim(f.Weight, "0123456789.") != "" {
			p.errorf(s.place("weight"), "Out of range", "A weight is more than 0 and at most 100, with up to six decimals; 0.8 takes 80 %% of the factor's points.")
			return f, false
		}
	}
	f.Round, f.Divide = p.rounding(s), s.integer("divide", 0)
	if s.has("divide") && !s.broken && (f.Divide < 1 || f.Divide > score.MaxDivide) {
		p.errorf(s.place("divide"), "Out of range", "Points are divided by a whole number from 1 to %d.", score.MaxDivide)
		return f, false
	}
	for _, e := range s.of("evidence") {
		f.Evidence = append(f.Evidence, p.evidence(e, f.Combine))
	}
	return f, !s.broken
}

func (p *parser) evidence(s *section, combine string) score.Evidence {
	e := score.Evidence{Name: s.name()}
	env := expr.Env{Roots: map[string]*expr.Shape{"factor": factorShape()}}
	if s.has("for_each") {
		e.ForEach = p.program(s, "for_each", inScore, env)
		if e.ForEach == nil {
			return e
		}
		var elem *expr.Shape
		switch shape := e.ForEach.Shape(); {
		case shape == nil || shape.Kind == expr.NullKind || shape.Kind == expr.ObjectKind:
		case shape.Kind == expr.ListKind:
			elem = shape.Elem
		default:
			p.errorf(s.place("for_each"), "Wrong type", "This must be a list or an object, and it is a %s.", shape.Kind)
			return e
		}
		env.Roots = map[string]*expr.Shape{
			"factor": factorShape(), "each": object("", map[string]*expr.Shape{"key": nil, "value": elem}),
		}
	}
	with := func(want expr.Kind) expr.Env {
		out := env
		out.Want = want
		return out
	}
	e.When = p.program(s, "when", inScore, with(expr.BoolKind))
	e.Points = p.program(s, "points", inScore, with(expr.NumberKind))
	e.Because = p.program(s, "because", inScore, with(expr.StringKind))
	e.Source = p.program(s, "source", inScore, with(expr.StringKind))
	e.At = p.program(s, "at", inScore, with(expr.StringKind))
	e.Reliability = p.program(s, "reliability", inScore, with(expr.NumberKind))
	for _, name := range []string{"for_each", "when", "points", "because", "source", "at", "reliability"} {
		if combine != score.Sum && s.has(name) && readsRoot(s.expr(name), "factor") {
			p.errorf(s.place(name), "Not a sum", "factor.points is what was added up before, and this factor adds nothing up: it has combine = %q. Write combine = \"sum\".", combine)
		}
	}
	return e
}

func readsRoot(e hclsyntax.Expression, root string) bool {
	return slices.ContainsFunc(e.Variables(), func(t hcl.Traversal) bool { return t.RootName() == root })
}

// mostPoints is the highest total that the score can reach, in hundredths. Each factor
// can reach 100 points, whatever it divides by or rounds to.
func mostPoints(s *score.Settings) int64 {
	sum := new(big.Rat)
	for _, f := range s.Factors {
		if w, ok := new(big.Rat).SetString(f.Weight); ok {
			sum.Add(sum, w)
		}
	}
	sum.Mul(sum, big.NewRat(10_000, 1))
	if sum.Cmp(big.NewRat(10_000, 1)) >= 0 {
		return 10_000
	}
	most := new(big.Int).Quo(sum.Num(), sum.Denom()).Int64()
	if s.Round > 0 { // to the nearest multiple, of two the even one
		step := int64(s.Round) * 100
		n, left := most/step, most%step
		if 2*left > step || 2*left == step && n%2 == 1 {
			n++
		}
		most = n * step
	}
	return most
}
