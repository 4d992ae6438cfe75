package decide

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestLedger: each message of EVENTS counts once, and the sums agree.
func TestLedger(t *testing.T) {
	f := newFeed(t)
	result := func(seq, total uint64) *model.MatchResult {
		return &model.MatchResult{
			Seq: seq, Source: "detector.ids", Total: total, Count: 15,
			Counts:  model.Counts{Matched: 1, Fact: 2, Passed: 3, Ignored: map[string]int{"ignore.a": 4}, Rejected: map[string]int{"no JSON": 5}},
			Signals: []model.Signal{sig(fmt.Sprint("s-", seq), f.now, 10)},
		}
	}
	for _, seq := range []uint64{2, 1, 2, 1, 5} {
		f.apply(model.Input{Match: result(seq, seq*15)})
	}
	want := Ledger{Source: "detector.ids", Hour: start, Tally: Tally{
		Received: 45, Matched: 3, Fact: 6, Passed: 9, Signals: 3,
		Ignored: map[string]int{"ignore.a": 12}, Rejected: map[string]int{"no JSON": 15}, Redelivered: 2,
		Fired: map[string]int{"pipeline.ids": 3},
	}}
	if diff := cmp.Diff(&want, f.m.ledger["detector.ids"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Spans{Low: 2, Above: []Span{{5, 5}}}, f.m.events); diff != "" {
		t.Error(diff)
	}
	s := f.m.counts["detector.ids"]
	if s.Total != 75 || s.Counted != 45 || s.Notes != nil || !s.LastAt.Equal(start) {
		t.Errorf("source %+v", s)
	}
	if diff := cmp.Diff([]Span{{31, 60}}, s.Events.Missing(Span{1, s.Total})); diff != "" {
		t.Error(diff)
	}
	f.now = f.now.Add(time.Hour)
	c := f.apply(model.Input{Match: result(4, 60)})
	if len(c.Ledger) != 1 || c.Ledger[0].Received != 15 || !c.Ledger[0].Hour.Equal(start.Add(time.Hour)) {
		t.Errorf("the next hour: %+v", c.Ledger)
	}
	if sum := c.Sources[0].Sum; sum.Received != 60 || sum.Sum() != 60 || sum.Ignored["ignore.a"] != 16 {
		t.Errorf("sum of both hours: %+v", sum)
	}
}

// TestLedgerSaysWhatDoesNotAddUp: a message that contradicts the others is named.
func TestLedgerSaysWhatDoesNotAddUp(t *testing.T) {
	passed := func(seq, total uint64, count, passed int) model.MatchResult {
		return model.MatchResult{Seq: seq, Source: "detector.ids", Total: total, Count: count, Counts: model.Counts{Passed: passed}}
	}
	damaged := passed(2, 0, 0, 0)
	damaged.Damaged = true
	unsigned := passed(2, 20, 10, 9)
	unsigned.Counts.Matched = 1
	for name, c := range map[string]struct {
		result model.MatchResult
		note   string
	}{
		"fewer accounted for": {passed(2, 20, 10, 9), "EVENTS 2: it holds 10 events, and 9 are accounted for"},
		"more accounted for":  {passed(2, 20, 10, 11), "EVENTS 2: it holds 10 events, and 11 are accounted for"},
		"no signal":           {unsigned, "EVENTS 2: 1 events matched, and 0 have signals"},
		"an overlap":          {passed(2, 15, 10, 10), "EVENTS 2: 5 of its events, 6 to 15, were counted before"},
		"beyond a later one":  {passed(2, 55, 10, 10), "EVENTS 2: its running total 55 is beyond the 40 of EVENTS 4"},
		"back":                {passed(5, 30, 10, 10), "EVENTS 5: the running total went back from 40 to 30"},
		"more than all":       {passed(2, 5, 10, 10), "EVENTS 2: it holds 10 events, and its running total is 5"},
		"damaged":             {damaged, "EVENTS 2: its header can't be read; which events it held is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(t)
			for _, seq := range []uint64{1, 4} {
				r := passed(seq, seq*10, 10, 10)
				f.apply(model.Input{Match: &r})
			}
			notes := f.apply(model.Input{Match: &c.result}).Sources[0].Notes
			if !slices.Contains(notes, c.note) {
				t.Errorf("notes are %q, want %q", notes, c.note)
			}
		})
	}
}

func TestNotesAndNamesAreBounded(t *testing.T) {
	f := newFeed(t)
	const messages = 2 * maxNames
	for i := range messages {
		f.apply(model.Input{Match: &model.MatchResult{
			Seq: uint64(i + 1), Source: "detector.ids", Total: uint64(i + 1), Count: 1,
			Counts: model.Counts{Rejected: map[string]int{fmt.Sprint("reason ", i): 1, "same": 1}},
		}})
	}
	s := f.m.counts["detector.ids"]
	if len(s.Notes) != maxNotes || s.Unnoted != messages-maxNotes {
		t.Errorf("%d notes, and %d more", len(s.Notes), s.Unnoted)
	}
	if n := len(s.Sum.Rejected); n != maxNames+1 || s.Sum.Rejected["same"] != messages || Total(s.Sum.Rejected) != 2*messages {
		t.Errorf("%d reasons: %v", n, s.Sum.Rejected)
	}
}

// world is what sources have put into EVENTS.
type world struct {
	messages []model.MatchResult
}

// drawWorld draws the messages of some sources, as the log would have them.
func drawWorld(t *rapid.T) world {
	var w world
	totals := map[string]uint64{}
	for i := range rapid.IntRange(0, 25).Draw(t, "messages") {
		source := rapid.SampledFrom([]string{"detector.a", "detector.b"}).Draw(t, "source")
		c := model.Counts{
			Passed:   rapid.IntRange(0, 3).Draw(t, "passed"),
			Fact:     rapid.IntRange(0, 1).Draw(t, "fact"),
			Ignored:  map[string]int{"ignore.scan": rapid.IntRange(0, 2).Draw(t, "ignored")},
			Rejected: map[string]int{"no JSON": rapid.IntRange(0, 2).Draw(t, "rejected")},
			Matched:  rapid.IntRange(0, 3).Draw(t, "matched"),
		}
		r := model.MatchResult{Seq: uint64(i + 1), Source: source, Counts: c}
		r.Count = c.Passed + c.Fact + c.Ignored["ignore.scan"] + c.Rejected["no JSON"] + c.Matched
		totals[source] += uint64(r.Count)
		r.Total = totals[source]
		for n := range c.Matched {
			for range rapid.IntRange(1, 2).Draw(t, "signals") {
				s := sig(fmt.Sprintf("s-%d", rapid.IntRange(0, 12).Draw(t, "id")), start, 10, "ip:203.0.113.1")
				s.Revision = fmt.Sprint(rapid.IntRange(0, 1).Draw(t, "revision"))
				s.Position = model.Position{Seq: r.Seq, Index: n}
				r.Signals = append(r.Signals, s)
			}
		}
		w.messages = append(w.messages, r)
	}
	return w
}

// TestLedgerAddsUp: whatever the order in which results of messages come, and however
// often each comes, what is received is accounted for, by hour and in sum; the events
// that are not are named exactly; and a power cut's are a class of their own.
func TestLedgerAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		var order []int
		for i := range w.messages {
			for range rapid.SampledFrom([]int{1, 1, 1, 2, 3, 0}).Draw(t, "times") {
				order = append(order, i)
			}
		}
		if len(order) > 0 {
			order = rapid.Permutation(order).Draw(t, "order")
		}
		m, rows, now := New(testCompiler), newTables(), start
		hours := map[string]Ledger{}
		give := func(in model.Input) {
			in.At = now
			if err := m.Apply(m.position.Seq+1, 0, in); err != nil {
				t.Fatal(err)
			}
			c := m.Changes()
			rows.commit(c)
			for _, l := range c.Ledger {
				hours[l.Source+l.Hour.String()] = l
			}
		}
		decided := map[uint64]bool{}
		for _, i := range order {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute)
			r := w.messages[i]
			give(model.Input{Match: &r})
			decided[r.Seq] = true
		}
		totals, missing := map[string]uint64{}, map[string]map[uint64]bool{}
		for _, r := range w.messages {
			totals[r.Source] = r.Total
			if decided[r.Seq] != m.events.Has(r.Seq) {
				t.Fatalf("EVENTS %d is decided: %v, it says %v", r.Seq, decided[r.Seq], m.events)
			}
			for n := r.Total - uint64(r.Count) + 1; n <= r.Total && !decided[r.Seq]; n++ {
				if missing[r.Source] == nil {
					missing[r.Source] = map[uint64]bool{}
				}
				missing[r.Source][n] = true
			}
		}
		check := func(lost map[string]uint64) {
			for source, total := range totals {
				s := m.counts[source]
				if s == nil {
					if uint64(len(missing[source])) != total {
						t.Fatalf("%s is not known", source)
					}
					continue
				}
				gaps := uint64(0)
				for _, gap := range s.Events.Missing(Span{1, total}) {
					for n := gap.From; n <= gap.To; n++ {
						if gaps++; !missing[source][n] {
							t.Fatalf("%s: event %d is decided, and missing in %v", source, n, s.Events)
						}
					}
				}
				if want := uint64(len(missing[source])); gaps != want {
					t.Fatalf("%s: %d events are missing, want %d", source, gaps, want)
				}
				var sum Tally
				for _, l := range hours {
					if l.Received != l.Sum() {
						t.Fatalf("%s, %s: %d received, %d accounted for", l.Source, l.Hour, l.Received, l.Sum())
					}
					if l.Source == source {
						sum.Add(&l.Tally)
					}
				}
				if diff := cmp.Diff(sum, s.Sum); diff != "" {
					t.Fatalf("%s: the hours are not the sum: %s", source, diff)
				}
				if total != s.Sum.Sum()+gaps || s.Sum.Received != s.Counted || s.Sum.Lost != lost[source] || s.Notes != nil {
					t.Fatalf("%s: %d received, %+v, %d missing", source, total, s, gaps)
				}
			}
		}
		// What is decided out of order is no loss. What is left is one as soon as no
		// message below the last that is decided is to come any more.
		lost := map[string]uint64{}
		closed := func() {
			for source := range missing {
				s := m.counts[source]
				if s == nil || s.LastSeq > m.events.Low {
					continue
				}
				for n := range missing[source] {
					if n <= s.Total {
						lost[source]++
						delete(missing[source], n)
					}
				}
			}
		}
		closed()
		check(lost)
		for _, r := range w.messages {
			if !decided[r.Seq] && rapid.IntRange(0, 3).Draw(t, "passed over") > 0 {
				give(model.Input{Match: &model.MatchResult{Seq: r.Seq}})
				decided[r.Seq] = true
			}
		}
		closed()
		check(lost)
	})
}

// sumsAgree holds the sums against the rows that they are sums of.
func sumsAgree(t *rapid.T, rows *tables, m *Machine) {
	want := newSums()
	for _, in := range rows.intents {
		want.Intents[in.State]++
	}
	for key := range rows.rows {
		id, isAsk := strings.CutPrefix(key, "ask ")
		if !isAsk {
			continue
		}
		state := model.Pending
		if answer := rows.rows["answer "+id]; answer != "" {
			var r model.Reply
			if err := json.Unmarshal([]byte(answer), &r); err != nil {
				t.Fatal(err)
			}
			state = r.State
		}
		want.Asks[state]++
	}
	if diff := cmp.Diff(want, m.sums); diff != "" {
		t.Fatalf("the sums are not those of the rows: %s", diff)
	}
	if text := rows.rows["sums "]; text != string(encoded(m.sums)) && (text != "" || len(want.Asks)+len(want.Intents) > 0) {
		t.Fatalf("the sums are %v, written was %s", m.sums, text)
	}
}

// TestLostEvents: a loss that a message which was passed over explains is a loss; one
// that nothing explains is named.
func TestLostEvents(t *testing.T) {
	passed := func(seq, total uint64) model.Input {
		return model.Input{Match: &model.MatchResult{Seq: seq, Source: "detector.ids", Total: total, Count: 10, Counts: model.Counts{Passed: 10}}}
	}
	for name, between := range map[string]model.MatchResult{
		"passed over":    {Seq: 2},
		"of another one": {Seq: 2, Source: "detector.edr"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(t)
			f.apply(passed(1, 10))
			f.apply(passed(3, 30))
			s := f.m.counts["detector.ids"]
			if s.Sum.Lost != 0 || s.Events.Low != 10 {
				t.Fatalf("before all is decided: %+v", s)
			}
			f.apply(model.Input{Match: &between})
			var notes []string
			if between.Source != "" {
				notes = []string{"events 11 to 20 are in no message of EVENTS: the running totals leave them out"}
			}
			if s.Sum.Lost != 10 || s.Sum.Received != 30 || s.Sum.Sum() != 30 || s.Counted != 30 || !slices.Equal(s.Notes, notes) {
				t.Errorf("source %+v", s)
			}
			if diff := cmp.Diff(Spans{Low: 30}, s.Events); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAskedAgain: what is asked once more has an id of its own, whoever wants it, so
// that the store does not take it for what was answered before.
func TestAskedAgain(t *testing.T) {
	f := newFeed(t)
	asked := map[string]bool{}
	for i, id := range []string{"s-1", "s-2", "s-1", "s-2"} {
		s := sig(id, f.now, 10, "indicator domain:bad.example")
		s.Revision = fmt.Sprint(i)
		for _, a := range f.signals(s).Asks {
			if asked[a.ID] {
				t.Errorf("%s asks under an id that was answered", id)
			}
			asked[a.ID] = true
		}
		f.settle()
		f.now = f.now.Add(48 * time.Hour) // what was answered holds no more
	}
	if len(asked) != 4 {
		t.Errorf("%d asks, want 4", len(asked))
	}
}
