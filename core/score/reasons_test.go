package score

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

func hundredth(n model.Hundredths) *big.Rat { return big.NewRat(int64(n), 1) }

// nearest is the whole number next to r; half goes away from zero, or to the even one.
func nearest(r *big.Rat, even bool) model.Hundredths {
	floor := new(big.Int).Div(r.Num(), r.Denom())
	left := new(big.Rat).Sub(r, new(big.Rat).SetInt(floor))
	n := floor.Int64()
	switch left.Cmp(big.NewRat(1, 2)) {
	case 1:
		n++
	case 0:
		if even && n%2 != 0 || !even && r.Sign() > 0 {
			n++
		}
	}
	return model.Hundredths(n)
}

func within100(n model.Hundredths) model.Hundredths { return min(max(n, 0), 10_000) }

// again works a factor out of nothing but its lines and what is configured, as a
// reader of the stored score would, with rationals.
func again(f model.Factor) (counted []model.Hundredths, sum, divided, capped, rounded, share model.Hundredths) {
	counted = make([]model.Hundredths, len(f.Lines))
	order := make([]int, len(f.Lines))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(f.Lines[b].Points - f.Lines[a].Points) })
	part := big.NewRat(1, 1)
	for n, i := range order {
		switch {
		case f.Combine == Sum:
			counted[i] = f.Lines[i].Points
		case f.Combine == Max && n == 0:
			counted[i] = f.Lines[i].Points
		case f.Combine == Decay:
			counted[i] = nearest(new(big.Rat).Mul(hundredth(f.Lines[i].Points), part), false)
			part = new(big.Rat).Mul(part, big.NewRat(1, 2))
		}
		sum += counted[i]
	}
	exact, by := hundredth(sum), big.NewRat(int64(max(f.Divide, 1)), 1)
	exact.Quo(exact, by)
	if f.Divide > 0 {
		divided = nearest(exact, false)
	}
	capped = within100(nearest(exact, false))
	counts := capped
	if f.Round > 0 {
		steps := new(big.Rat).Quo(exact, big.NewRat(int64(f.Round)*100, 1))
		rounded = within100(nearest(steps, true) * model.Hundredths(f.Round) * 100)
		counts = rounded
	}
	weight, _ := new(big.Rat).SetString(f.Weight)
	return counted, sum, divided, capped, rounded, nearest(weight.Mul(weight, hundredth(counts)), false)
}

// TestScoreEqualsItsReasons adds the lines up again, as a reader of the score
// would, with the rules on Score and nothing else.
func TestScoreEqualsItsReasons(t *testing.T) {
	each := evidence(t, "e", "case.list", "", "each.value", "")
	known := evidence(t, "k", "case.verdicts", "", "each.value", "")
	lifted := evidence(t, "l", "", "factor.points > 50", "case.lift - factor.points", "")
	rapid.Check(t, func(t *rapid.T) {
		s := Settings{Round: rapid.SampledFrom(append(Steps(), 0, 0, 5)).Draw(t, "round")}
		for i := range rapid.IntRange(0, 4).Draw(t, "factors") {
			s.Factors = append(s.Factors, Factor{
				Name:     fmt.Sprint(i),
				Weight:   fmt.Sprintf("%d.%03d", rapid.IntRange(0, 2).Draw(t, "whole"), rapid.IntRange(0, 999).Draw(t, "part")),
				Combine:  rapid.SampledFrom([]string{Max, Sum, Decay}).Draw(t, "combine"),
				Divide:   rapid.SampledFrom([]int{0, 1, 3, 7, 10, MaxDivide}).Draw(t, "divide"),
				Round:    rapid.SampledFrom(append(Steps(), 0, 0, 5)).Draw(t, "step"),
				Evidence: []Evidence{each, known, lifted}[:rapid.IntRange(0, 3).Draw(t, "evidence")],
			})
		}
		points := func(label string) expr.Value {
			return expr.List(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) expr.Value {
				return expr.Number(fmt.Sprintf("%d.%04d", rapid.IntRange(-30, 120).Draw(t, "points"), rapid.IntRange(0, 9999).Draw(t, "fraction")))
			}), 0, 8).Draw(t, label))
		}
		c := map[string]expr.Value{
			"list": points("list"), "verdicts": points("verdicts"), "lift": expr.Int(rapid.Int64Range(0, 1000).Draw(t, "lift")),
		}
		unknown := rapid.IntRange(0, 1).Draw(t, "unknown")
		sc, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		got := sc.Score(expr.Object(c), nil, unknown)

		var total model.Hundredths
		for _, f := range got.Factors {
			counted, sum, divided, capped, rounded, share := again(f)
			for i, n := range counted {
				if f.Lines[i].Counted != n {
					t.Fatalf("factor %s: line %d counted %d, it is %d", f.Name, i, f.Lines[i].Counted, n)
				}
			}
			want := [...]model.Hundredths{sum, divided, capped, rounded, share}
			if have := [...]model.Hundredths{f.Sum, f.Divided, f.Capped, f.Rounded, f.Share}; have != want {
				t.Fatalf("factor %+v\nsays %v, its lines give %v", f, have, want)
			}
			total += share
		}
		if total != got.Sum {
			t.Fatalf("shares give %d, the score says %d", total, got.Sum)
		}
		most := within100(total)
		if got.Round > 0 {
			most = within100(nearest(new(big.Rat).Quo(hundredth(total), big.NewRat(int64(got.Round)*100, 1)), true) * model.Hundredths(got.Round) * 100)
		}
		if got.Total != most {
			t.Fatalf("the total is %d, %d rounded to %d is %d", got.Total, total, got.Round, most)
		}
		if got.Upper < got.Total || unknown == 0 && got.Upper != got.Total {
			t.Fatalf("upper %d, total %d", got.Upper, got.Total)
		}

		// One bad answer more never lifts it over what Upper said, where evidence only adds.
		if unknown == 0 || slices.ContainsFunc(s.Factors, func(f Factor) bool { return len(f.Evidence) > 2 }) {
			return
		}
		worse := sc.Score(expr.Object(map[string]expr.Value{
			"list": c["list"], "verdicts": expr.List(append(collect(c["verdicts"]), expr.Int(100))),
		}), nil, 0)
		if worse.Total > got.Upper {
			t.Fatalf("upper was %d, one verdict more gives %d", got.Upper, worse.Total)
		}
	})
}

// TestRounding: to the nearest step, of two the even one, of what was never rounded
// before.
func TestRounding(t *testing.T) {
	for _, c := range []struct {
		points         string
		divided, share model.Hundredths
	}{
		{"124", 1240, 1000},
		{"125", 1250, 1000}, // 2.5 steps
		{"126", 1260, 1500},
		{"375", 3750, 4000}, // 7.5 steps
		{"374.96", 3750, 3500},
		{"397.975", 3980, 4000},
		{"9999", 99990, 10000},
		{"-15", -150, 0},
	} {
		f := Factor{Name: "f", Weight: "1", Combine: Sum, Divide: 10, Round: 5, Evidence: []Evidence{evidence(t, "e", "", "", "case.points", "")}}
		got := scorer(t, f).Score(value(map[string]any{"points": expr.Number(c.points)}), nil, 0).Factors[0]
		if got.Divided != c.divided || got.Share != c.share || got.Rounded != got.Share {
			t.Errorf("%s: divided %s, rounded %s, share %s", c.points, got.Divided, got.Rounded, got.Share)
		}
	}
	total := Settings{Round: 5, Factors: []Factor{{Name: "f", Weight: "1", Combine: Sum, Evidence: []Evidence{evidence(t, "e", "", "", "case.points", "")}}}}
	sc, err := New(total)
	if err != nil {
		t.Fatal(err)
	}
	for points, want := range map[int]model.Hundredths{12: 1000, 13: 1500, 98: 10000, 200: 10000, -4: 0} {
		if got := sc.Score(value(map[string]any{"points": points}), nil, 0); got.Total != want || got.Round != 5 {
			t.Errorf("%d: %s", points, got.Total)
		}
	}
}

// TestRunningPoints: evidence sees what its factor has so far, and what is left out
// is missing for what follows.
func TestRunningPoints(t *testing.T) {
	sc := scorer(t,
		Factor{Name: "other", Weight: "1", Combine: Sum, Evidence: []Evidence{evidence(t, "o", "", "", "factor.points + 1", "")}},
		Factor{Name: "f", Weight: "1", Combine: Sum, Evidence: []Evidence{
			evidence(t, "a", "case.list", "", "each.value", ""),
			evidence(t, "b", "", "factor.points > 50", "75 - factor.points", `"it had ${factor.points}"`),
			evidence(t, "c", "", "factor.points <= 50", "15", ""),
		}})
	c := value(map[string]any{"list": []any{60, 30}})
	got := sc.Score(c, nil, 0)
	if s := lines(got.Factors[1]); s != "6000→6000 3000→3000 -1500→-1500 = 7500, 7500, 7500" || got.Factors[1].Lines[2].Because != "it had 90" {
		t.Errorf("got %s, %q", s, got.Factors[1].Lines[2].Because)
	}
	if s := lines(got.Factors[0]); s != "100→100 = 100, 100, 100" {
		t.Errorf("another factor's points are seen: %s", s)
	}
	less := sc.Without(c, func(factor string, l *model.Line) bool { return factor == "f" && l.Points == 6000 })
	if s := lines(less.Factors[1]); s != "3000→3000 1500→1500 = 4500, 4500, 4500" {
		t.Errorf("without 60: %s", s)
	}
	if again := sc.Score(c, nil, 0); again.Total != got.Total {
		t.Errorf("what was left out stays away: %s", again.Total)
	}
}

// TestOrigin: where a line comes from, by its element and by the evidence itself.
func TestOrigin(t *testing.T) {
	e := evidence(t, "e", "case.list", "", "1", "")
	own := e
	own.Source, own.At, own.Reliability = program(t, `"x ${each.value.source}"`), program(t, "case.now"), program(t, "140")
	sc := scorer(t, Factor{Name: "f", Weight: "1", Combine: Sum, Evidence: []Evidence{e, own}})
	got := sc.Score(value(map[string]any{"now": "2026-03-01T10:00:00.5Z", "list": []any{
		map[string]any{"source": "detector.eve", "time": "2026-03-02T10:00:00Z"}, "a text", map[string]any{"at": "yesterday", "confidence": -3},
	}}), nil, 0)
	var all []string
	for _, l := range got.Factors[0].Lines {
		sure := "?"
		if l.Reliability != nil {
			sure = fmt.Sprint(*l.Reliability)
		}
		all = append(all, fmt.Sprintf("%s %s %s", l.Source, l.At.Format("02 15:04:05.0"), sure))
	}
	want := []string{
		"detector.eve 02 10:00:00.0 ?", " 01 00:00:00.0 ?", " 01 00:00:00.0 0",
		"x detector.eve 01 10:00:00.5 100", "x unknown 01 10:00:00.5 100", "x unknown 01 10:00:00.5 100",
	}
	if !slices.Equal(all, want) {
		t.Errorf("got  %q\nwant %q", all, want)
	}
}
