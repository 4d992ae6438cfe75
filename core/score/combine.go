package score

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
)

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
}

// settle makes Divided, Capped, Rounded and Share of Sum.
func settle(f *model.Factor, w weight) {
	f.Capped = clamp(f.Sum)
	if f.Divide > 0 {
		f.Divided = quotient(f.Sum, model.Hundredths(f.Divide))
		f.Capped = clamp(f.Divided)
	}
	counts := f.Capped
	if f.Round > 0 {
		f.Rounded = clamp(toEven(f.Sum, model.Hundredths(f.Round)*100, model.Hundredths(max(f.Divide, 1))))
		counts = f.Rounded
	}
	f.Share = times(w, counts)
}

// quotient is p/q, rounded half away from zero.
func quotient(p, q model.Hundredths) model.Hundredths {
	if p < 0 {
		return -quotient(-p, q)
	}
	return (2*p + q) / (2 * q)
}

// toEven is the multiple of step that is nearest to p/q, of two the one that is an
// even number of steps. Nothing is rounded on the way.
func toEven(p, step, q model.Hundredths) model.Hundredths {
	if p < 0 {
		return -toEven(-p, step, q)
	}
	n, left := p/(step*q), p%(step*q)
	if 2*left > step*q || 2*left == step*q && n%2 == 1 {
		n++
	}
	return n * step
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
