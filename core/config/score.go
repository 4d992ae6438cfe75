package config

import (
	"embed"
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
	s := p.first("score")
	if s == nil {
		out.Preset = DefaultPreset
	} else {
		out.Preset = s.text("preset", "")
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
	if out.Preset != "" {
		out.Factors = slices.Concat(p.preset(s, out.Preset, out.Factors), out.Factors)
	}
}

// preset gives a preset's factors, save those that the operator has replaced.
func (p *parser) preset(s *section, name string, own []score.Factor) []score.Factor {
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
	var factors []score.Factor
	for _, f := range p.section(block, scoreBlock()).of("factor") {
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
	for _, e := range s.of("evidence") {
		f.Evidence = append(f.Evidence, p.evidence(e))
	}
	return f, !s.broken
}

func (p *parser) evidence(s *section) score.Evidence {
	e := score.Evidence{Name: s.name()}
	env := expr.Env{}
	if s.has("for_each") {
		e.ForEach = p.program(s, "for_each", inScore, expr.Env{})
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
		env.Roots = map[string]*expr.Shape{"each": object("", map[string]*expr.Shape{"key": nil, "value": elem})}
	}
	with := func(want expr.Kind) expr.Env {
		out := env
		out.Want = want
		return out
	}
	e.When = p.program(s, "when", inScore, with(expr.BoolKind))
	e.Points = p.program(s, "points", inScore, with(expr.NumberKind))
	e.Because = p.program(s, "because", inScore, with(expr.StringKind))
	return e
}

// mostPoints is the highest total that the factors can reach, in hundredths.
func mostPoints(factors []score.Factor) int64 {
	sum := new(big.Rat)
	for _, f := range factors {
		if w, ok := new(big.Rat).SetString(f.Weight); ok {
			sum.Add(sum, w)
		}
	}
	sum.Mul(sum, big.NewRat(10_000, 1))
	if sum.Cmp(big.NewRat(10_000, 1)) >= 0 {
		return 10_000
	}
	return new(big.Int).Quo(sum.Num(), sum.Denom()).Int64()
}
