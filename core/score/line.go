package score

import (
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// lines adds what one kind of evidence gives, once or for each element. It failed if
// that is too much work.
func (sc *Scorer) lines(f *model.Factor, e Evidence) (failed bool) {
	if e.ForEach == nil {
		return sc.line(f, e, expr.Value{}, expr.Value{})
	}
	each := e.ForEach.Eval(&sc.scope)
	if sc.scope.Exceeded() {
		return true
	}
	if each.Kind() == expr.ObjectKind {
		for key, value := range each.Fields() {
			failed = sc.line(f, e, expr.String(key), value) || failed
		}
		return failed
	}
	i := int64(0)
	for value := range each.Items() {
		failed = sc.line(f, e, expr.Int(i), value) || failed
		i++
	}
	return failed
}

// line adds one, if there are points.
func (sc *Scorer) line(f *model.Factor, e Evidence, key, value expr.Value) (failed bool) {
	sc.scope.Set("each", expr.Record(element{key, value}))
	if e.When != nil && e.When.Truth(&sc.scope) != expr.True {
		return sc.scope.Exceeded()
	}
	points := e.Points.Eval(&sc.scope)
	failed = sc.scope.Exceeded()
	n, ok := hundredths(points)
	if !ok {
		return failed
	}
	line := model.Line{Evidence: e.Name, Points: n}
	sc.origin(&line, e, value)
	if e.Because != nil {
		line.Because = e.Because.Eval(&sc.scope).Text()
	}
	if sc.drop == nil || !sc.drop(f.Name, &line) {
		f.Lines = append(f.Lines, line)
		sc.points += n
	}
	return failed
}

// running is "factor" in an expression: the lines before it.
type running struct{ sc *Scorer }

func (r running) Names() []string { return []string{"points"} }

func (r running) Field(name string) expr.Value {
	if name == "points" {
		return expr.Number(strconv.FormatInt(int64(r.sc.points), 10) + "e-2")
	}
	return expr.Value{}
}

// origin says where a line comes from: as the evidence says it, else as its element
// does.
func (sc *Scorer) origin(l *model.Line, e Evidence, value expr.Value) {
	said := func(p *expr.Program, names ...string) expr.Value {
		if p != nil {
			return p.Eval(&sc.scope)
		}
		for _, name := range names {
			if v := value.Attr(name); !v.IsNull() {
				return v
			}
		}
		return expr.Value{}
	}
	l.Source, _ = said(e.Source, "source").Str()
	l.About, _ = said(nil, "about").Str()
	if text, ok := said(e.At, "at", "time").Str(); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			l.At = at.UTC()
		}
	}
	if n, ok := said(e.Reliability, "confidence").Fixed(0); ok {
		sure := int(min(max(n, 0), 100))
		l.Reliability = &sure
	}
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
