package decide

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

const testLateness = 10 * time.Minute

func number100(n int) *int { return &n }

// signalProgram compiles a condition over signals.
func signalProgram(text string, shape *expr.Shape) *expr.Program {
	return compiled(text, expr.Env{Roots: map[string]*expr.Shape{"signal": shape, "case": CaseShape()}})
}

// severalSettings has rules of several kinds, over events, signals and one another.
func severalSettings() *Settings {
	s := testSettings()
	s.Correlate.Lateness = testLateness
	watch := func(rule string, kind correlate.Kind, terms, least int, within time.Duration) correlate.Watch {
		return correlate.Watch{Rule: rule, Kind: kind, Terms: terms, Least: least, Within: within, Lateness: testLateness}
	}
	detectors := []string{"detector.auth"}
	byIP := model.Grouping{Kinds: []string{sdk.IP}}
	s.Rules = []Rule{
		{ // reads rule.many, which comes after it here
			Address: "rule.guessed", Name: "guessed", Severity: number100(80), Watch: watch("rule.guessed", correlate.Sequence, 2, 0, 30*time.Minute),
			Terms: []Term{{Signals: []string{"rule.many"}, Group: byIP}, {Detectors: detectors, Group: byIP}},
			Title: signalProgram(`"guessed from ${signal.key.ip}"`, ReportShape()),
		},
		{
			Address: "rule.many", Name: "many", Severity: number100(40), Watch: watch("rule.many", correlate.Count, 1, 5, 5*time.Minute),
			Terms: []Term{{Detectors: detectors, Group: byIP}}, Techniques: []string{"T1110"},
		},
		{
			Address: "rule.new", Name: "new", Severity: number100(20), Watch: watch("rule.new", correlate.First, 1, 0, time.Hour),
			Terms: []Term{{Detectors: detectors, Group: model.Grouping{Kinds: []string{sdk.User}}}},
		},
		{
			Address: "rule.gone", Name: "gone", Severity: number100(10), Watch: watch("rule.gone", correlate.Absence, 2, 0, 20*time.Minute),
			Terms: []Term{{Detectors: detectors, Group: byIP}, {Detectors: []string{"detector.vpn"}, Group: byIP}},
		},
		{
			Address: "rule.burst", Name: "burst", Severity: number100(30), Terms: []Term{{Detectors: detectors, Group: byIP}},
			Watch: correlate.Watch{
				Rule: "rule.burst", Kind: correlate.Spike, Terms: 1, Least: 4, Within: 5 * time.Minute, Past: 30 * time.Minute, Factor: 3000,
				Lateness: testLateness,
			},
		},
		{
			Address: "rule.twice", Name: "twice", Severity: number100(60), Watch: watch("rule.twice", correlate.Count, 1, 2, time.Hour),
			Terms: []Term{{Signals: []string{"pipeline.ids"}, Detectors: []string{"detector.ids"}, Group: byIP, When: signalProgram("signal.severity > 10", SignalShape())}},
		},
		{
			Address: "rule.bad", Name: "bad", Single: true,
			Terms: []Term{{Signals: []string{"rule.guessed", "rule.twice"}, When: signalProgram("length(signal.assets) > 0 && signal.severity >= 60", SignalShape())}},
		},
	}
	return s
}

// severalRules are the addresses of them all.
var severalRules = []string{"rule.guessed", "rule.many", "rule.new", "rule.gone", "rule.burst", "rule.twice", "rule.bad"}

func severalCompiler(model.Config) (*Settings, error) { return severalSettings(), nil }

// happening is an event of a source, as match makes it.
type happening struct {
	source string
	n      int // of the source
	at     time.Time
	ip     string
	user   string
	kind   string // "failed", "ok", "vpn" or "alert"
	seq    uint64 // of EVENTS; 0: as it comes
}

// result is what match makes of an event.
func (h happening) result(seq uint64) *model.MatchResult {
	r := &model.MatchResult{Seq: seq, Source: h.source, Total: seq, Count: 1}
	id := model.FactID(h.source, "", fmt.Sprint(h.n))
	observables := []sdk.Observable{{Kind: sdk.User, Value: h.user, Role: sdk.Subject}, {Kind: sdk.IP, Value: h.ip, Role: sdk.Indicator}}
	fact := func(rule string, term int, key string) {
		r.Facts = append(r.Facts, model.Fact{
			Rule: rule, Term: term, Key: key, ID: id, Position: model.Position{Seq: uint64(h.n)}, Time: h.at, Number: 1000,
			Observables: observables, Severity: 10,
		})
	}
	switch h.kind {
	case "failed":
		fact("rule.many", 0, "ip:"+h.ip)
		fact("rule.gone", 0, "ip:"+h.ip)
		fact("rule.burst", 0, "ip:"+h.ip)
		fact("rule.new", 0, "user:"+h.user)
	case "ok":
		fact("rule.guessed", 1, "ip:"+h.ip)
		fact("rule.new", 0, "user:"+h.user)
	case "vpn":
		fact("rule.gone", 1, "ip:"+h.ip)
	case "alert":
		s := sig(fmt.Sprintf("s-%05d", h.n), h.at, 50, "subject ip:"+h.ip)
		s.Position = model.Position{Seq: uint64(h.n)} // the same however it comes
		r.Signals, r.Counts.Matched = []model.Signal{s}, 1
		return r
	}
	r.Counts.Fact = 1
	return r
}

// happenings are events of some sources over hours, by time.
func happenings(random *rand.Rand, count int) []happening {
	var all []happening
	for n := range count {
		h := happening{
			n: n + 1, at: start.Add(time.Duration(random.IntN(6*3600)) * time.Second), source: "detector.auth",
			ip: fmt.Sprintf("198.51.100.%d", random.IntN(12)), user: fmt.Sprintf("user%d", random.IntN(60)), kind: "failed",
		}
		switch random.IntN(12) {
		case 0, 1:
			h.kind = "ok"
		case 2:
			h.kind, h.source = "vpn", "detector.vpn"
		case 3:
			h.kind, h.source = "alert", "detector.ids"
		}
		all = append(all, h)
	}
	for i := 0; i+12 < len(all); i += 30 { // now and then somebody guesses passwords
		from := all[i]
		for j := range 8 + random.IntN(3) {
			h := &all[i+j]
			h.source, h.kind, h.ip = "detector.auth", "failed", from.ip
			if h.at = from.at.Add(time.Duration(random.IntN(400)) * time.Second); random.IntN(8) == 0 {
				h.kind = "ok"
			}
		}
	}
	slices.SortFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	return all
}

// shuffled is another order, in which no event of a source comes later than the lateness
// after a newer one, and some come twice.
func shuffled(random *rand.Rand, all []happening, late time.Duration) []happening {
	type coming struct {
		happening
		at time.Time
	}
	var list []coming
	for _, h := range all {
		for range 1 + random.IntN(5)/4 {
			list = append(list, coming{h, h.at.Add(time.Duration(random.Int64N(int64(late))))})
		}
	}
	slices.SortStableFunc(list, func(a, b coming) int { return a.at.Compare(b.at) })
	out := make([]happening, len(list))
	for i, c := range list {
		out[i] = c.happening
	}
	return out
}

// overtaken has messages of EVENTS overtake others by up to so many, however long ago these
// happened, as they do where several are matched at once, or an end cuts some short.
func overtaken(random *rand.Rand, all []happening, by int) []happening {
	places := make([]int, len(all))
	out := slices.Clone(all)
	for i := range out {
		out[i].seq = uint64(i + 1)
		places[i] = i + random.IntN(by)
	}
	slices.SortStableFunc(out, func(a, b happening) int { return places[a.seq-1] - places[b.seq-1] })
	return out
}

// run gives a machine events, answers all that it asks and ends it; now and then it goes
// on from a snapshot.
func (r *severalRun) run(all []happening) {
	r.m, r.rows = New(r.compile), newTables()
	r.apply(model.Input{Config: &model.Config{Hash: "several", Text: []byte(`"several"`), Once: true}})
	r.rest(all, 0)
}

// rest gives the events from one on.
func (r *severalRun) rest(all []happening, from int) {
	for i := from; i < len(all); i++ {
		if r.each != nil {
			r.each(i)
		}
		h := all[i]
		seq := h.seq
		if seq == 0 {
			seq = uint64(i + 1)
		}
		r.apply(model.Input{Match: h.result(seq)})
		if i%97 == r.answerAt {
			r.answerAll()
		}
		if r.restoreAt > 0 && i%r.restoreAt == r.restoreAt-1 {
			r.rows.commit(r.m.Changes())
			again := New(r.compile)
			if err := again.Restore(bytes.NewReader(snapshot(r.t, r.m))); err != nil {
				r.t.Fatal(err)
			}
			r.m = again
		}
	}
	r.apply(model.Input{Ended: &model.Ended{}})
	r.answerAll()
	if r.lazy {
		r.rows.commit(r.m.Changes())
	}
}

type severalRun struct {
	t                   interface{ Fatal(...any) }
	compile             Compiler
	answerAt, restoreAt int
	m                   *Machine
	rows                *tables
	lazy                bool // rows are committed when it must be, and at the end

	each    func(i int) // before an event
	applied func(part)
	half    func() // when rows of an input that is half applied are committed
}

func (r *severalRun) apply(in model.Input) {
	at := Position{Seq: r.m.Position().Seq + 1}
	in.At = start.Add(72*time.Hour + time.Duration(at.Seq)*100*time.Millisecond)
	r.give(at, in)
	if r.applied != nil {
		r.applied(part{at, in})
	}
}

func (r *severalRun) give(at Position, in model.Input) {
	if err := r.rows.bring(r.m, at, &in, 0); err != nil {
		r.t.Fatal(err)
	}
	err := r.m.apply(at, in, func(step int) error {
		left := r.m.Left()
		err := r.rows.bring(r.m, at, nil, step)
		if left && !r.m.Left() && r.half != nil {
			r.half()
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if !r.lazy || r.m.Signals() > 20 {
		r.rows.commit(r.m.Changes())
	}
}

func (r *severalRun) answerAll() {
	for r.m.pending > 0 {
		var next *lookup
		for _, l := range r.m.asks {
			if l.pending() && (next == nil || l.ask < next.ask) {
				next = l
			}
		}
		reply := model.Reply{State: model.Unknown}
		if key := r.m.index.Key(next.value); strings.ContainsAny(key[len(key)-1:], "1357") && next.src.Internal {
			reply = asset(model.Asset{Name: "host-of-" + strings.NewReplacer(":", "-", ".", "-").Replace(key)})
		}
		reply.Ask, reply.AnsweredAt, reply.Expires = next.ask, start, start.Add(1000*time.Hour)
		r.apply(model.Input{Reply: &reply})
	}
}

// outcome is what must not depend on the order: the signals of rules and their members,
// which signals are one case, and the scores.
func (r *severalRun) outcome() string {
	var b strings.Builder
	b.WriteString(r.rows.grouping())
	for _, k := range r.rows.open() {
		fmt.Fprintf(&b, "\n%s %s %d %v", k.ID, k.Score.Total, k.Size, k.Rules)
	}
	for _, key := range slices.Sorted(maps.Keys(r.rows.rows)) {
		if strings.HasPrefix(key, "signal ") && strings.Contains(r.rows.rows[key], `"rule":"rule.`) {
			fmt.Fprintf(&b, "\n%s %s", key, r.rows.rows[key])
		}
	}
	return b.String()
}

// TestSeveralOrder: other orders within the lateness, messages that overtake others, events that come twice, restarts and
// little memory give the same signals with the same members, the same cases and scores.
func TestSeveralOrder(t *testing.T) {
	const events = 250
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		all := happenings(rand.New(rand.NewPCG(seed, 1)), events)
		first := &severalRun{t: t, compile: severalCompiler, answerAt: 96}
		first.run(all)
		want := first.outcome()
		for _, rule := range severalRules {
			if !strings.Contains(want, `"rule":"`+rule+`"`) {
				t.Skip("no signal of " + rule)
			}
		}
		other := &severalRun{
			t: t, compile: severalCompiler, answerAt: rapid.IntRange(0, 96).Draw(t, "answers"), restoreAt: rapid.SampledFrom([]int{0, 30, 70, 150}).Draw(t, "restore"),
		}
		if rapid.Bool().Draw(t, "little memory") {
			limits := drawLimits(t)
			limits.Signals *= 4
			other.compile = func(c model.Config) (*Settings, error) {
				s, err := severalCompiler(c)
				s.Memory = limits
				return s, err
			}
		}
		random := rand.New(rand.NewPCG(seed, 2))
		other.run(overtaken(random, shuffled(random, all, testLateness-time.Second), rapid.SampledFrom([]int{1, 64}).Draw(t, "overtaken")))
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(other.outcome(), "\n")); diff != "" {
			t.Fatal(diff)
		}
	})
}
