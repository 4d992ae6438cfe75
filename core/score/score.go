package score

import (
	"cmp"
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
	scope   expr.Scope
}

type factor struct {
	Factor
	weight weight
	// open: some of its evidence reads what enrichments answer.
	open bool
}

// New checks the settings and returns a scorer for them.
func New(s Settings) (*Scorer, error) {
	sc := &Scorer{}
	for _, f := range s.Factors {
		w, ok := parseWeight(f.Weight)
		if !ok {
			return nil, fmt.Errorf("factor %q: weight %q is not a decimal number from 0 to %d with at most %d decimals: %w",
				f.Name, f.Weight, maxWeight, maxDecimals, ErrSettings)
		}
		if !slices.Contains([]string{Max, Sum, Decay}, f.Combine) {
			return nil, fmt.Errorf("factor %q: combine %q is not max, sum or decay: %w", f.Name, f.Combine, ErrSettings)
		}
		sc.factors = append(sc.factors, factor{Factor: f, weight: w, open: slices.ContainsFunc(f.Evidence, readsAnswers)})
	}
	return sc, nil
}

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
// Capped is Sum, but 0 to 100 points; Share is weight times Capped, rounded; the
// score's Sum is that of the shares, and Total is Sum, but 0 to 100 points.
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
		out := model.Factor{Name: f.Name, Combine: f.Combine, Weight: f.Weight}
		for _, e := range f.Evidence {
			lines, failed := sc.lines(e)
			out.Lines = append(out.Lines, lines...)
			if failed {
				unknown = append(slices.Clip(unknown), fmt.Sprintf("evidence %s of %s takes too long to work out", e.Name, f.Name))
				size++
			}
		}
		combine(&out)
		shorten(&out)
		out.Share = times(f.weight, out.Capped)
		s.Sum += out.Share
		if share := times(f.weight, full); f.open && size > 0 && share > out.Share {
			upper += share
		} else {
			upper += out.Share
		}
		s.Factors = append(s.Factors, out)
	}
	s.Total = clamp(s.Sum)
	s.Upper = clamp(upper)
	s.Unknown = unknown
	if len(unknown) > maxUnknown {
		s.Unknown = unknown[:maxUnknown:maxUnknown]
	}
	if more := size - len(s.Unknown); more > 0 {
		s.Unknown = append(slices.Clip(s.Unknown), fmt.Sprintf("and %d more", more))
	}
	return s
}

// lines evaluates one kind of evidence, once or for each element.
func (sc *Scorer) lines(e Evidence) (lines []model.Line, failed bool) {
	one := func(key, value expr.Value) {
		sc.scope.Set("each", expr.Record(element{key, value}))
		if e.When != nil && e.When.Truth(&sc.scope) != expr.True {
			failed = failed || sc.scope.Exceeded()
			return
		}
		points := e.Points.Eval(&sc.scope)
		failed = failed || sc.scope.Exceeded()
		n, ok := hundredths(points)
		if !ok {
			return
		}
		line := model.Line{Evidence: e.Name, Points: n}
		if e.Because != nil {
			line.Because = e.Because.Eval(&sc.scope).Text()
		}
		lines = append(lines, line)
	}
	if e.ForEach == nil {
		one(expr.Value{}, expr.Value{})
		return lines, failed
	}
	each := e.ForEach.Eval(&sc.scope)
	if failed = sc.scope.Exceeded(); failed {
		return nil, true
	}
	if each.Kind() == expr.ObjectKind {
		for key, value := range each.Fields() {
			one(expr.String(key), value)
		}
		return lines, failed
	}
	i := int64(0)
	for value := range each.Items() {
		one(expr.Int(i), value)
		i++
	}
	return lines, failed
}

// element is "each" in an expression.
type element struct{ key, value expr.Value }

func (e element) Names() []string { return []string{"key", "value"} }

func (e element) Field(name string) expr.Value {
	switch name {
	case "key":
		return e.key
	case "value":
		return e.value
	}
	return expr.Value{}
}

// hundredths of a number of points, within bounds; what is no number counts
// nothing.
func hundredths(v expr.Value) (model.Hundredths, bool) {
	if v.Kind() != expr.NumberKind {
		return 0, false
	}
	n, ok := v.Fixed(2)
	if !ok { // beyond int64
		if f, _ := v.Float(); f < 0 {
			return -maxLine, true
		}
		return maxLine, true
	}
	return model.Hundredths(min(max(n, -maxLine), maxLine)), true
}

// combine fills Counted, Sum and Capped.
func combine(f *model.Factor) {
	order := make([]int, len(f.Lines))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch p, q := f.Lines[a].Points, f.Lines[b].Points; {
		case p > q:
			return -1
		case p < q:
			return 1
		}
		return 0
	})
	for n, i := range order {
		line := &f.Lines[i]
		switch {
		case f.Combine == Sum || n == 0:
			line.Counted = line.Points
		case f.Combine == Decay:
			line.Counted = halved(line.Points, n)
		}
		f.Sum += line.Counted
	}
	f.Capped = clamp(f.Sum)
}

// shorten joins the lines that count least into one, if they are very many, so that
// a score stays readable. What the lines counted still adds up to Sum.
func shorten(f *model.Factor) {
	if len(f.Lines) <= maxLines {
		return
	}
	order := make([]int, len(f.Lines))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		p, q := f.Lines[a], f.Lines[b]
		return cmp.Or(cmp.Compare(abs(q.Counted), abs(p.Counted)), cmp.Compare(abs(q.Points), abs(p.Points)))
	})
	keep := order[:maxLines-1]
	slices.Sort(keep)
	lines := make([]model.Line, 0, maxLines)
	rest := model.Line{Evidence: "more", Because: fmt.Sprintf("and %d more", len(f.Lines)-len(keep)), Counted: f.Sum}
	for _, i := range keep {
		lines = append(lines, f.Lines[i])
		rest.Counted -= f.Lines[i].Counted
	}
	rest.Points = rest.Counted
	f.Lines = append(lines, rest)
}

func abs(n model.Hundredths) model.Hundredths { return max(n, -n) }

// halved is p/2^n, rounded half away from zero.
func halved(p model.Hundredths, n int) model.Hundredths {
	if n > 60 {
		return 0
	}
	if p < 0 {
		return -halved(-p, n)
	}
	return (p + 1<<n/2) >> n
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

func clamp(n model.Hundredths) model.Hundredths { return min(max(n, 0), full) }
