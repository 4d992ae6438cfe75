package score

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// ErrSettings means that settings make no sense.
var ErrSettings = errors.New("score settings")

// How the lines of a factor are combined.
const (
	Max   = "max"
	Sum   = "sum"
	Decay = "decay"
)

// full is 100 points: the most that a factor or a score has.
const full model.Hundredths = 10_000

// maxLine bounds the points of one line, so that no sum can overflow.
const maxLine = 1_000_000 * 100

// maxLines bounds Factor.Lines.
const maxLines = 100

// maxUnknown bounds Score.Unknown.
const maxUnknown = 50

// Scorer scores cases by one configuration. It is for one goroutine.
type Scorer struct {
	factors []factor
	round   int
	scope   expr.Scope
	// points of the lines of the factor that is being worked out, so far.
	points model.Hundredths
	// drop leaves lines out; nil: none.
	drop func(factor string, l *model.Line) bool
}

type factor struct {
	Factor
	weight weight
	// open: some of its evidence reads what enrichments answer.
	open bool
}

// New checks the settings and returns a scorer for them.
func New(s Settings) (*Scorer, error) {
	if !step(s.Round) {
		return nil, fmt.Errorf("round %d is no step of %v: %w", s.Round, Steps(), ErrSettings)
	}
	sc := &Scorer{round: s.Round}
	sc.scope.Set("factor", expr.Record(running{sc}))
	for _, f := range s.Factors {
		w, ok := parseWeight(f.Weight)
		if !ok {
			return nil, fmt.Errorf("factor %q: weight %q is not a decimal number from 0 to %d with at most %d decimals: %w",
				f.Name, f.Weight, maxWeight, maxDecimals, ErrSettings)
		}
		if !slices.Contains([]string{Max, Sum, Decay}, f.Combine) {
			return nil, fmt.Errorf("factor %q: combine %q is not max, sum or decay: %w", f.Name, f.Combine, ErrSettings)
		}
		if !step(f.Round) {
			return nil, fmt.Errorf("factor %q: round %d is no step of %v: %w", f.Name, f.Round, Steps(), ErrSettings)
		}
		if f.Divide < 0 || f.Divide > MaxDivide {
			return nil, fmt.Errorf("factor %q: divide %d is not 1 to %d: %w", f.Name, f.Divide, MaxDivide, ErrSettings)
		}
		sc.factors = append(sc.factors, factor{Factor: f, weight: w, open: slices.ContainsFunc(f.Evidence, readsAnswers)})
	}
	return sc, nil
}

func step(n int) bool { return n == 0 || slices.Contains(Steps(), n) }

// answered are the fields of a case that answers of enrichments can change.
var answered = [...]string{
	"verdicts", "assets", "identities", "networks", "hosts", "users", "subjects", "indicators",
}

func readsAnswers(e Evidence) bool {
	for _, p := range []*expr.Program{e.ForEach, e.When, e.Points} {
		if p != nil && slices.ContainsFunc(answered[:], func(field string) bool { return p.Reads("case", field) }) {
			return true
		}
	}
	return false
}

// Score adds up the evidence for a case. Unknown lists, for people, the lookups
// about it that are unknown, failed or pending; Size is how many there are, of
// which Unknown may hold only the first.
//
// Every line is rounded once, half away from zero, to hundredths. A factor's Sum is
// what its lines counted, by its combination:
//
//	max    the first of the highest counts whole, the others nothing
//	sum    each counts whole
//	decay  sorted downwards, the n-th counts 1/2^n, n from 0
//
// Where the factor divides, Divided is Sum by its divisor, rounded to hundredths.
// Capped is that, or Sum, but 0 to 100 points. Where the factor rounds, Rounded is
// Sum by the divisor, to the nearest multiple of its step, of two the even one, but
// 0 to 100 points: it is worked out of Sum, and nothing is rounded twice. Share is
// weight times Rounded, or Capped, rounded; the score's Sum is that of the shares,
// and Total is Sum, but 0 to 100 points, rounded to the score's step in the same way
// if it has one.
//
// Of more than 100 lines of a factor the last joins those that counted least.
//
// Upper is Total again, with Share being weight times 100 points for every factor
// with evidence that reads what enrichments answer, if any lookup is unknown,
// failed or pending: by one bad answer more, each combination can reach its cap.
func (sc *Scorer) Score(c expr.Value, unknown []string, size int) model.Score {
	sc.scope.Set("case", c)
	var s model.Score
	var upper model.Hundredths
	for i := range sc.factors {
		f := &sc.factors[i]
		out := model.Factor{Name: f.Name, Combine: f.Combine, Weight: f.Weight, Divide: f.Divide, Round: f.Round}
		sc.points = 0
		for _, e := range f.Evidence {
			if sc.lines(&out, e) {
				unknown = append(slices.Clip(unknown), fmt.Sprintf("evidence %s of %s takes too long to work out", e.Name, f.Name))
				size++
			}
		}
		combine(&out)
		shorten(&out)
		settle(&out, f.weight)
		s.Sum += out.Share
		if share := times(f.weight, full); f.open && size > 0 && share > out.Share {
			upper += share
		} else {
			upper += out.Share
		}
		s.Factors = append(s.Factors, out)
	}
	s.Round = sc.round
	s.Total, s.Upper = sc.total(s.Sum), sc.total(upper)
	s.Unknown = unknown
	if len(unknown) > maxUnknown {
		s.Unknown = unknown[:maxUnknown:maxUnknown]
	}
	if more := size - len(s.Unknown); more > 0 {
		s.Unknown = append(slices.Clip(s.Unknown), fmt.Sprintf("and %d more", more))
	}
	return s
}

// weight is an exact decimal: digits/scale.
type weight struct{ digits, scale int64 }

// Bounds of a weight, so that its product with any number of points fits.
const (
	maxWeight   = 1000
	maxDecimals = 9
)

func parseWeight(text string) (weight, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if whole == "" || len(whole) > 4 || len(fraction) > maxDecimals || strings.HasSuffix(text, ".") {
		return weight{}, false
	}
	w := weight{scale: 1}
	for range fraction {
		w.scale *= 10
	}
	for _, c := range whole + fraction {
		if c < '0' || c > '9' {
			return weight{}, false
		}
		w.digits = w.digits*10 + int64(c-'0')
	}
	return w, w.digits <= maxWeight*w.scale
}

// times is weight times p, which is 0 to full, rounded half up.
func times(w weight, p model.Hundredths) model.Hundredths {
	return model.Hundredths((w.digits*int64(p) + w.scale/2) / w.scale)
}

func (sc *Scorer) total(sum model.Hundredths) model.Hundredths {
	if sc.round > 0 {
		return clamp(toEven(sum, model.Hundredths(sc.round)*100, 1))
	}
	return clamp(sum)
}

// Without scores a case with lines left out, as if there were no such evidence. What
// is unknown is left aside.
func (sc *Scorer) Without(c expr.Value, drop func(factor string, l *model.Line) bool) model.Score {
	sc.drop = drop
	s := sc.Score(c, nil, 0)
	sc.drop = nil
	return s
}

func clamp(n model.Hundredths) model.Hundredths { return min(max(n, 0), full) }
