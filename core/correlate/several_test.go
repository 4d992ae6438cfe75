package correlate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// minute 0 of the tables: one that is the beginning of a day.
var zero = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)

// read makes facts of a text such as "a@3 b.1@4=7": ids, terms, minutes, and values
// that are numbers too.
func read(t *testing.T, w Watch, text string) (facts []Fact) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		f := Fact{Watch: w.Rule, Value: "x", Number: 1000}
		name, at, _ := strings.Cut(word, "@")
		id, term, _ := strings.Cut(name, ".")
		at, value, ok := strings.Cut(at, "=")
		if ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			f.Value, f.Number = value, int64(n*1000)
		}
		f.ID = id
		f.Term, _ = strconv.Atoi(term)
		minutes, err := strconv.ParseFloat(at, 64)
		if err != nil {
			t.Fatal(err)
		}
		f.Time = zero.Add(time.Duration(minutes * float64(time.Minute)))
		facts = append(facts, f)
	}
	return facts
}

// show writes a report as "3: a b 2": its period, its members, its number.
func show(reports []Report) string {
	var lines []string
	for _, r := range reports {
		ids := make([]string, len(r.Members))
		for i, m := range r.Members {
			ids[i] = m.ID
		}
		lines = append(lines, fmt.Sprintf("%v: %s =%v", r.Bucket.Sub(zero).Minutes(), strings.Join(ids, " "), float64(r.Number)/1000))
	}
	return strings.Join(lines, ", ")
}

const minute = time.Minute

// TestSeveral says what each kind means, by the slow way and by the fast one.
func TestSeveral(t *testing.T) {
	tests := []struct {
		name  string
		watch Watch
		facts string
		want  string
	}{
		{"count", Watch{Kind: Count, Within: 10 * minute, Least: 3}, "a@1 b@2 c@3", "0: a b c =3"},
		{"count, too few", Watch{Kind: Count, Within: 10 * minute, Least: 3}, "a@1 b@2", ""},
		{"the interval is open at its beginning", Watch{Kind: Count, Within: 10 * minute, Least: 2}, "a@1 b@11", ""},
		{"and everything after that is inside", Watch{Kind: Count, Within: 10 * minute, Least: 2}, "a@1.01 b@11", "10: a b =2"},
		{"a pair across the edge of a period is not missed", Watch{Kind: Count, Within: 10 * minute, Least: 2}, "a@9 b@11", "10: a b =2"},
		{"equal times count for each other", Watch{Kind: Count, Within: minute, Least: 3}, "c@5 a@5 b@5", "5: a b c =3"},
		{"a repeat is none", Watch{Kind: Count, Within: 10 * minute, Least: 2}, "a@1 a@1 a@1", ""},
		{"one period, one report", Watch{Kind: Count, Within: 10 * minute, Least: 2}, "a@1 b@2 c@3 d@9", "0: a b c d =4"},
		{"every shorter than within", Watch{Kind: Count, Within: 10 * minute, Every: 2 * minute, Least: 2}, "a@1 b@2 c@3 d@5", "2: a b c =3, 4: a b c d =4"},
		{"every longer than within", Watch{Kind: Count, Within: 2 * minute, Every: 60 * minute, Least: 2}, "a@1 b@2 x@10 c@20 d@21", "0: a b c d =2"},
		{"within of nothing", Watch{Kind: Count, Least: 1}, "a@1", ""},
		{"within of everything", Watch{Kind: Count, Within: math.MaxInt64, Least: 2}, "a@-100000000 b@1000000", "-2.993328e+07: a b =2"},
		{"unless cuts", Watch{Kind: Count, Terms: 2, Unless: true, Within: 10 * minute, Least: 2}, "a@1 u.1@2 b@3", ""},
		{"and what comes after it counts", Watch{Kind: Count, Terms: 2, Unless: true, Within: 10 * minute, Least: 2}, "a@1 u.1@2 b@3 c@4 v.1@5", "0: b c =2"},
		{"unless at the same time", Watch{Kind: Count, Terms: 2, Unless: true, Within: 10 * minute, Least: 2}, "a@1 b@3 u.1@3", ""},

		{"distinct", Watch{Kind: Distinct, Within: 10 * minute, Least: 2}, "a@1=1 b@2=1 c@3=2", "0: a b c =2"},
		{"distinct, all the same", Watch{Kind: Distinct, Within: 10 * minute, Least: 2}, "a@1=1 b@2=1 c@3=1", ""},
		{"sum", Watch{Kind: Sum, Within: 10 * minute, Above: 5000}, "a@1=2 b@2=3", "0: a b =5"},
		{"what is below nothing takes nothing away", Watch{Kind: Sum, Within: 10 * minute, Above: 5000}, "a@1=2 z@1.5=-9 b@2=3", "0: a z b =5"},
		{"average", Watch{Kind: Average, Within: 10 * minute, Above: 2000, Least: 2}, "a@1=1 b@2=3 c@3=-9", "0: a b =2"},
		{"average just below", Watch{Kind: Average, Within: 10 * minute, Above: -1000, Least: 2}, "a@1=-2 b@2=-0.001", ""},
		{"percentile", Watch{Kind: Percentile, Within: 10 * minute, Above: 9000, Least: 3, Percent: 50}, "a@1=1 b@2=9 c@3=10", "0: a b c =9"},
		{"the hundredth is the highest", Watch{Kind: Percentile, Within: 10 * minute, Above: 10000, Percent: 100}, "a@1=1 b@2=10", "0: a b =10"},

		{"sequence", Watch{Kind: Sequence, Terms: 2, Within: 10 * minute}, "a@1 b.1@2", "0: a b =2"},
		{"sequence, the wrong way", Watch{Kind: Sequence, Terms: 2, Within: 10 * minute}, "a.1@1 b@2", ""},
		{"sequence, exactly within", Watch{Kind: Sequence, Terms: 2, Within: 10 * minute}, "a@1 b.1@11", "10: a b =2"},
		{"equal times are in order", Watch{Kind: Sequence, Terms: 3, Within: 10 * minute}, "c@1 b.1@1 a.2@1", "0: a b c =3"},
		{"one event is not two steps", Watch{Kind: Sequence, Terms: 2, Within: 10 * minute}, "a@1 a.1@1", ""},
		{"but may be either", Watch{Kind: Sequence, Terms: 2, Within: 10 * minute}, "a@1 a.1@1 b@2 b.1@2", "0: a b =2"},
		{"what is in no order is no member", Watch{Kind: Sequence, Terms: 3, Within: 10 * minute}, "x.1@1 a@2 b.1@3 y@4 c.2@5", "0: a b c =3"},
		{"unless in between", Watch{Kind: Sequence, Terms: 3, Unless: true, Within: 10 * minute}, "a@1 u.2@2 b.1@3", ""},
		{"unless before", Watch{Kind: Sequence, Terms: 3, Unless: true, Within: 10 * minute}, "a@1 u.2@2 c@2.5 b.1@3", "0: c b =2"},
		{"all", Watch{Kind: All, Terms: 3, Within: 10 * minute}, "a.2@1 b@2 c.1@3", "0: a b c =3"},
		{"all, one event too few", Watch{Kind: All, Terms: 2, Within: 10 * minute}, "a.1@1 a@1", ""},
		{"all, one event for either", Watch{Kind: All, Terms: 2, Within: 10 * minute}, "a.1@1 a@1 b@2", "0: a b =2"},

		{"absence", Watch{Kind: Absence, Terms: 2, Within: 10 * minute}, "a@1 b.1@12", "10: a =1"},
		{"what was expected at the last moment", Watch{Kind: Absence, Terms: 2, Within: 10 * minute}, "a@1 b.1@11", ""},
		{"an event does not answer itself", Watch{Kind: Absence, Terms: 2, Within: 10 * minute}, "a@1 a.1@1 b@7 b.1@7", "10: b =1"},
		{"first", Watch{Kind: First, Within: 10 * minute}, "a@1 b@2 c@12 d@22.01", "0: a =1, 20: d =1"},
		{"first of several at once", Watch{Kind: First, Within: 10 * minute}, "b@1 a@1", "0: a =1"},
		{
			"spike",
			Watch{Kind: Spike, Within: 10 * minute, Past: 20 * minute, Factor: 2000, Least: 2},
			"a@1 b@11 c@31 d@32 e@33", "30: c d e =3",
		},
		{
			"not above its past",
			Watch{Kind: Spike, Within: 10 * minute, Past: 20 * minute, Factor: 2000, Least: 2},
			"a@1 b@11 c@31 d@32", "",
		},
		{"one without a past", Watch{Kind: Spike, Within: 10 * minute, Past: 20 * minute, Factor: 2000, Least: 2}, "a@1 b@2", "0: a b =2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.watch.Rule = "rule.r"
			facts := read(t, test.watch, test.facts)
			end := zero.Add(24 * 365 * time.Hour)
			want := Reports(test.watch, facts, end)
			if got := show(want); got != test.want {
				t.Errorf("Reports = %s\nwant      %s", got, test.want)
			}
			w, said := NewWindows([]Watch{test.watch}), latest{}
			for i := range facts {
				said.add(w.Put(&facts[len(facts)-1-i]))
			}
			said.add(w.Pass(test.watch.Rule, end))
			if diff := gocmp.Diff(want, said.inOrder()); diff != "" {
				t.Errorf("Windows, want and got: %s", diff)
			}
		})
	}
}
