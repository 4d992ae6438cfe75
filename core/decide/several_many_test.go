package decide

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// thousands are so many alerts over days, and among them the events of people who sign in,
// or guess at it, by time.
func thousands(random *rand.Rand, alerts int) []happening {
	const addresses, days = 500, 2
	address := func() string {
		n := random.IntN(addresses)
		return fmt.Sprintf("198.51.%d.%d", 100+n/200, n%200+1)
	}
	somewhen := func() time.Time { return start.Add(time.Duration(random.IntN(days*24*3600)) * time.Second) }
	var all []happening
	add := func(h happening) {
		h.n = len(all) + 1
		if h.user == "" {
			h.user = fmt.Sprintf("user%d", random.IntN(400))
		}
		all = append(all, h)
	}
	for range alerts {
		add(happening{source: "detector.ids", kind: "alert", at: somewhen(), ip: address()})
	}
	for range alerts / 10 {
		at, ip := somewhen(), address()
		switch random.IntN(4) {
		case 0: // somebody guesses, and may get in
			for range 4 + random.IntN(6) {
				add(happening{source: "detector.auth", kind: "failed", at: at.Add(time.Duration(random.IntN(400)) * time.Second), ip: ip})
			}
			if random.IntN(2) == 0 {
				add(happening{source: "detector.auth", kind: "ok", at: at.Add(7 * time.Minute), ip: ip})
			}
		case 1:
			add(happening{source: "detector.vpn", kind: "vpn", at: at, ip: ip})
			add(happening{source: "detector.auth", kind: "failed", at: at.Add(-time.Duration(random.IntN(1500)) * time.Second), ip: ip})
		default:
			add(happening{source: "detector.auth", kind: "ok", at: at, ip: ip})
		}
	}
	slices.SortStableFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	return all
}

// TestThousandsInAnyOrder: of ten thousand signals, and of what rules over several events
// and over signals make of them, other orders within the lateness, deliveries that come
// twice, restarts and little memory change no member, no id and no score.
func TestThousandsInAnyOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const alerts = 10_000
	little := func(c model.Config) (*Settings, error) {
		s, err := severalCompiler(c)
		s.Memory = Limits{Signals: 200, Values: 500, Intents: 20, Answers: 5000}
		return s, err
	}
	tests := []struct {
		name      string
		compile   Compiler
		restoreAt int
		twice     bool // all comes twice, not only some
		overtaken int
	}{
		{"restarts", severalCompiler, 3001, false, 1000},
		{"all of it twice", severalCompiler, 0, true, 1},
		{"little memory", little, 5003, false, 64},
	}
	all := thousands(rand.New(rand.NewPCG(1, 1)), alerts)
	one := &severalRun{t: t, compile: severalCompiler, answerAt: 96, lazy: true}
	one.run(all)
	want := strings.Split(one.outcome(), "\n")
	if got := len(one.rows.members); got < alerts {
		t.Fatalf("%d signals", got)
	}
	for _, rule := range severalRules {
		if n := one.reports(rule); n < 20 {
			t.Fatalf("%s has %d signals", rule, n)
		}
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			coming := all
			if test.twice {
				coming = slices.Concat(all, all)
			}
			other := &severalRun{t: t, compile: test.compile, answerAt: random.IntN(97), restoreAt: test.restoreAt, lazy: true}
			other.run(overtaken(random, shuffled(random, coming, testLateness-time.Second), test.overtaken))
			if diff := cmp.Diff(want, strings.Split(other.outcome(), "\n")); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// reports is how many signals a rule has made.
func (r *severalRun) reports(rule string) int {
	n := 0
	for key, row := range r.rows.rows {
		if strings.HasPrefix(key, "signal ") && strings.Contains(row, `"rule":"`+rule+`"`) {
			n++
		}
	}
	return n
}
