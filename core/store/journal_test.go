package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/sdk"
)

func attempt(intent string, number int, epoch int64) respond.Attempt {
	return respond.Attempt{Intent: intent, Number: number, Epoch: epoch, Claimed: epoch0, NotAfter: epoch0.Add(time.Minute)}
}

func TestClaim(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	in := anIntent(1, "c-1", epoch0)
	done := anIntent(2, "c-1", epoch0)
	done.State = model.IntentDone
	mustCommit(t, s, inACase(decide.Changes{Position: decide.Position{Seq: 1}, Intents: []model.Intent{in, done}}))
	for range 3 {
		if _, err := s.NextEpoch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	pause := func(on bool) {
		mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: 2}, Flags: &decide.Flags{Paused: on}})
	}
	claim := func(a respond.Attempt, want error) {
		t.Helper()
		_, before, _ := s.Journal(t.Context(), a.Intent)
		if err := s.Claim(t.Context(), a); !errors.Is(err, want) {
			t.Errorf("claim of %d: %v, want %v", a.Number, err, want)
		}
		if _, after, _ := s.Journal(t.Context(), a.Intent); want != nil && len(after) != len(before) {
			t.Errorf("refused, and there all the same: %+v", after)
		}
	}
	claim(attempt(in.ID, 1, 2), respond.ErrFenced)
	claim(attempt(done.ID, 1, 3), respond.ErrSettled)
	claim(attempt(in.ID, 2, 3), respond.ErrSettled)
	claim(attempt("i-none", 1, 3), ErrNotFound)
	pause(true)
	claim(attempt(in.ID, 1, 3), respond.ErrPaused)
	if paused, err := s.Paused(t.Context()); !paused || err != nil {
		t.Errorf("paused %v, %v", paused, err)
	}
	pause(false)
	claim(attempt(in.ID, 1, 3), nil)
	claim(attempt(in.ID, 1, 3), respond.ErrSettled)

	first := attempt(in.ID, 1, 3)
	first.State, first.Message, first.Checks, first.Again = model.IntentUnknown, "lost", 2, epoch0.Add(time.Second)
	if err := s.SaveAttempt(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	claim(attempt(in.ID, 2, 4), nil)
	got, attempts, err := s.Journal(t.Context(), in.ID)
	if err != nil || got.ID != in.ID {
		t.Fatalf("intent %+v, %v", got, err)
	}
	if diff := cmp.Diff([]respond.Attempt{first, attempt(in.ID, 2, 4)}, attempts); diff != "" {
		t.Error(diff)
	}
}

// TestPendingInPages: whoever reads page by page meets every ask once, in the order of
// commits, whatever is committed and settled in between; intents keep their order.
func TestPendingInPages(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var committed, asks []string
	var atAsk enrich.Place
	read := func(limit int) {
		t.Helper()
		pending, err := s.PendingAsks(t.Context(), "enrichment.reputation", atAsk, limit)
		if err != nil || len(pending) > limit {
			t.Fatalf("%d asks, %v", len(pending), err)
		}
		for _, p := range pending {
			asks, atAsk = append(asks, p.Ask.ID), enrich.Place{Number: p.Number, Ask: p.Ask.ID}
		}
	}
	for i := range 40 {
		c := changes(i*3, 3)
		// Two commits within one message.
		c.Position = decide.Position{Seq: uint64(i/2 + 1), Part: i % 2}
		mustCommit(t, s, c)
		mustCommit(t, s, c)
		slices.SortFunc(c.Intents, func(a, b model.Intent) int { return cmpText(a.ID, b.ID) })
		for _, in := range c.Intents {
			committed = append(committed, in.ID)
		}
		if i%3 == 0 {
			read(4)
		}
		// What is written again keeps its place.
		again := c.Intents[:1]
		again[0].Message = "seen"
		mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: uint64(i/2 + 1), Part: i%2 + 2}, Intents: again})
	}
	for range 40 {
		read(4)
	}
	for name, list := range map[string]func(context.Context, string, int) ([]respond.Waiting, error){
		"oldest": s.OldestIntents, "most urgent": s.PendingIntents,
	} {
		for _, limit := range []int{0, 1, 119, 120, 121} {
			waiting, err := list(t.Context(), "action.mail", limit)
			var intents []string
			for _, w := range waiting {
				intents = append(intents, w.Intent)
			}
			if diff := cmp.Diff(committed[:min(limit, len(committed))], intents, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("the %d %s: %v\n%s", limit, name, err, diff)
			}
		}
	}
	if len(asks) != 120 || len(slices.Compact(slices.Sorted(slices.Values(asks)))) != 120 {
		t.Errorf("%d asks", len(asks))
	}
}

// TestUrgentFirst: the highest score, of these the nearest deadline, of these the
// oldest; a score that rises counts.
func TestUrgentFirst(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	planned := func(id string, score model.Hundredths, deadline time.Duration) model.Intent {
		in := model.Intent{ID: id, Action: "action.mail", State: model.IntentPending, PlannedAt: epoch0, Score: score}
		if deadline > 0 {
			in.Deadline = epoch0.Add(deadline)
		}
		return in
	}
	for i, in := range []model.Intent{
		planned("old", 5000, 0), planned("late", 5000, time.Hour), planned("soon", 5000, time.Minute),
		planned("low", 100, time.Second), planned("high", 9000, 0), planned("new", 5000, 0), planned("rises", 200, 0),
	} {
		mustCommit(t, s, inACase(decide.Changes{Position: decide.Position{Seq: uint64(i + 1)}, Intents: []model.Intent{in}}))
	}
	mustCommit(t, s, inACase(decide.Changes{Position: decide.Position{Seq: 8}, Intents: []model.Intent{planned("rises", 9500, 0)}}))
	mustCommit(t, s, inACase(decide.Changes{Position: decide.Position{Seq: 9}, Intents: []model.Intent{{ID: "done", Action: "action.mail", State: model.IntentDone, Score: 9999}}}))
	waiting, err := s.PendingIntents(t.Context(), "action.mail", 10)
	var got []string
	for _, w := range waiting {
		got = append(got, w.Intent)
	}
	if diff := cmp.Diff([]string{"rises", "high", "soon", "late", "old", "new", "low"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if !waiting[2].Deadline.Equal(epoch0.Add(time.Minute)) || !waiting[0].Deadline.IsZero() || waiting[0].Score != 9500 || waiting[0].Place != 7<<20 {
		t.Errorf("waiting %+v", waiting)
	}
}

// TestClaimsInACommit: they are written with it, or not at all.
func TestClaimsInACommit(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	seq := uint64(0)
	commit := func(flags *decide.Flags, epoch int64, ids ...string) []respond.Attempt {
		t.Helper()
		seq++
		c := decide.Changes{Position: decide.Position{Seq: seq}, Flags: flags}
		var claims []respond.Attempt
		for _, id := range ids {
			c.Intents = append(c.Intents, model.Intent{ID: id, Action: "action.mail", State: model.IntentPending})
			claims = append(claims, attempt(id, 1, epoch))
		}
		written, err := s.CommitClaiming(t.Context(), inACase(c), claims)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			_, attempts, err := s.Journal(t.Context(), id)
			is := slices.ContainsFunc(written, func(a respond.Attempt) bool { return a.Intent == id })
			if err != nil || is != (len(attempts) == 1 && attempts[0].Epoch == epoch) {
				t.Errorf("%s: written %v, attempts %+v, %v", id, is, attempts, err)
			}
		}
		return written
	}
	if _, err := s.NextEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := commit(nil, 1, "a", "b"); len(got) != 2 {
		t.Errorf("written %+v, want two", got)
	}
	if got := commit(nil, 2, "a", "c"); len(got) != 1 || got[0].Intent != "c" {
		t.Errorf("written %+v, want the one that had none", got)
	}
	if got := commit(&decide.Flags{Paused: true}, 1, "d"); got != nil {
		t.Errorf("written %+v by the commit that pauses", got)
	}
	if got := commit(nil, 1, "e"); got != nil {
		t.Errorf("written %+v while paused", got)
	}
	if got := commit(&decide.Flags{}, 2, "f"); len(got) != 1 {
		t.Errorf("written %+v by the commit that resumes, want one", got)
	}
	for range 2 {
		if _, err := s.NextEpoch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := commit(nil, 2, "g"); got != nil {
		t.Errorf("written %+v after the next epoch", got)
	}
	if at, err := s.Position(t.Context()); err != nil || at.Seq != seq {
		t.Errorf("position %+v, %v: what was decided is committed all the same", at, err)
	}
}

func cmpText(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func TestPendingActions(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if got, err := s.PendingActions(t.Context()); len(got) != 0 || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	c := decide.Changes{Position: decide.Position{Seq: 1}}
	for i := range 30 {
		in := anIntent(i, "c", epoch0)
		in.Action = fmt.Sprint("action.a", i%3)
		if i%3 == 1 {
			in.State = model.IntentDone
		}
		c.Intents = append(c.Intents, in)
	}
	mustCommit(t, s, inACase(c))
	got, err := s.PendingActions(t.Context())
	if diff := cmp.Diff([]string{"action.a0", "action.a2"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	c = changes(0, 10)
	c.Position.Seq = 2
	mustCommit(t, s, c)
	all, err := s.Pending(t.Context())
	want := map[string]int{"action.a0": 10, "action.a2": 10, "action.mail": 10, "enrichment.reputation": 10}
	if diff := cmp.Diff(want, all); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestPendingEnrichments(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := changes(0, 10) // the assets have answered
	gone := c.Asks[0]
	gone.Enrichment, gone.ID = "enrichment.gone", "a-gone"
	c.Asks = append(c.Asks, gone)
	mustCommit(t, s, c)
	got, err := s.PendingEnrichments(t.Context())
	if diff := cmp.Diff([]string{"enrichment.gone", "enrichment.reputation"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestShelf(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	o := sdk.Observable{Kind: sdk.IP, Value: "10.0.0.1"}
	reply := func(name string, ttl time.Duration) model.Reply {
		return model.Reply{State: model.Known, Answers: []model.Answer{{Asset: &model.Asset{Name: name}}}, AnsweredAt: epoch0, Expires: epoch0.Add(ttl)}
	}
	save := func(source, name string, ttl time.Duration, now time.Time) {
		t.Helper()
		if err := s.CacheReplies(t.Context(), source, map[sdk.Observable]model.Reply{o: reply(name, ttl)}, now); err != nil {
			t.Fatal(err)
		}
	}
	want := func(source string, now time.Time, name string) {
		t.Helper()
		r, ok, err := s.CachedReply(t.Context(), source, o, now)
		if err != nil || ok != (name != "") || ok && r.Answers[0].Asset.Name != name {
			t.Errorf("%s at %v: %+v, %v, %v; want %q", source, now, r, ok, err, name)
		}
	}
	save("x", "one", time.Hour, epoch0)
	save("y", "two", 2*time.Hour, epoch0)
	want("x", epoch0, "one")
	want("y", epoch0, "two")
	want("z", epoch0, "")
	want("x", epoch0.Add(time.Hour), "")
	save("x", "three", 3*time.Hour, epoch0)
	want("x", epoch0.Add(time.Hour), "three")
	save("z", "four", 9*time.Hour, epoch0.Add(2*time.Hour)) // forgets what has expired
	want("y", epoch0, "")
	want("x", epoch0, "three")

	u := enrich.Used{MinuteStart: epoch0, Minute: 3, DayStart: epoch0, Day: 9}
	if got, err := s.Used(t.Context(), "x"); err != nil || got != (enrich.Used{}) {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if err := s.SaveUsed(t.Context(), "x", u); err != nil {
			t.Fatal(err)
		}
		u.Day++
	}
	u.Day--
	if got, err := s.Used(t.Context(), "x"); err != nil || got != u {
		t.Errorf("%+v, %v, want %+v", got, err, u)
	}
}

func TestQueries(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := changes(0, 10)
	merged := model.Case{ID: "c-merged", State: model.CaseMerged}
	c.Cases = append(c.Cases, merged)
	c.Cases[3].State = model.CaseClosed
	c.Members[1].Case = c.Cases[0].ID
	c.Aliases = []decide.Alias{{ID: "c-merged", Case: c.Cases[0].ID}}
	mustCommit(t, s, c)
	ids := func(q CaseQuery) (all []string) {
		t.Helper()
		cases, err := s.Cases(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range cases {
			all = append(all, k.ID)
		}
		return all
	}
	if got := ids(CaseQuery{}); len(got) != 10 || got[0] != c.Cases[9].ID {
		t.Errorf("cases %v", got)
	}
	if got := ids(CaseQuery{State: model.CaseOpen, MinScore: 5}); len(got) != 5 {
		t.Errorf("open cases of at least 5: %v", got)
	}
	if diff := cmp.Diff([]string{c.Cases[3].ID}, ids(CaseQuery{State: model.CaseClosed, Limit: 4})); diff != "" {
		t.Error(diff)
	}
	if k, err := s.Case(t.Context(), "c-merged"); err != nil || k.ID != c.Cases[0].ID {
		t.Errorf("case %s, %v", k.ID, err)
	}
	if _, err := s.Case(t.Context(), "c-none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("err = %v", err)
	}
	if found, err := s.FindCases(t.Context(), "c-mer", 5); err != nil || !slices.Equal(found, []string{"c-merged"}) {
		t.Errorf("found %v, %v", found, err)
	}
	if found, err := s.FindCases(t.Context(), "c-", 4); err != nil || len(found) != 4 || !slices.IsSorted(found) {
		t.Errorf("found %v, %v", found, err)
	}
	for _, raw := range []bool{true, false} {
		signals, err := s.CaseSignals(t.Context(), c.Cases[0].ID, raw)
		if err != nil || len(signals) != 2 || (len(signals[0].Raw) > 0) != raw {
			t.Errorf("signals %+v, %v", signals, err)
		}
	}
	lookups, err := s.Lookups(t.Context(), []sdk.Observable{c.Asks[0].Observable})
	if err != nil || len(lookups) != 2 || lookups[0].Reply == nil || lookups[1].Reply != nil {
		t.Errorf("lookups %+v, %v", lookups, err)
	}
	for state, n := range map[model.IntentState]int{"": 10, model.IntentPending: 10, model.IntentDone: 0} {
		if got, err := s.Intents(t.Context(), IntentQuery{State: state}); err != nil || len(got) != n {
			t.Errorf("%d intents of state %q, %v", len(got), state, err)
		}
	}
	for _, limit := range []int{1, 3, 10, 11} {
		var pages []model.Intent
		for after := ""; ; after = pages[len(pages)-1].ID {
			page, err := s.Intents(t.Context(), IntentQuery{State: model.IntentPending, After: after, Limit: limit})
			if err != nil || len(page) > limit {
				t.Fatalf("a page of %d, %v", len(page), err)
			}
			if len(page) == 0 {
				break
			}
			pages = append(pages, page...)
		}
		all, err := s.Intents(t.Context(), IntentQuery{})
		if diff := cmp.Diff(all, pages); err != nil || diff != "" {
			t.Errorf("in pages of %d: %v\n%s", limit, err, diff)
		}
	}
	if _, err := s.Intents(t.Context(), IntentQuery{After: "i-none"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("after an intent that is not there: %v", err)
	}
	if got, err := s.CaseIntents(t.Context(), []string{c.Cases[1].ID, c.Cases[2].ID, "c-x"}); err != nil || len(got) != 2 {
		t.Errorf("intents %v, %v", got, err)
	}
	if got, err := s.Sources(t.Context()); err != nil || len(got) != 1 || got[0].Total != 10 {
		t.Errorf("sources %+v, %v", got, err)
	}
	if got, err := s.Ledger(t.Context()); err != nil || len(got) != 1 || got[0].Matched != 10 {
		t.Errorf("ledger %+v, %v", got, err)
	}
}

// TestClaimFirst: of several intents those are claimed that are pending, have no attempt
// and are agreed to; none while actions are paused or after another epoch has begun.
func TestClaimFirst(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	var all []model.Intent
	for i := range 5 {
		all = append(all, anIntent(i, "c-1", epoch0))
		all[i].Parameters = []byte(`{"text":"told"}`)
	}
	all[1].State = model.IntentDone
	mustCommit(t, s, inACase(decide.Changes{Position: decide.Position{Seq: 1}, Intents: all}))
	if err := s.Claim(t.Context(), attempt(all[2].ID, 1, 0)); err != nil {
		t.Fatal(err)
	}
	firsts := []respond.Attempt{attempt("i-none", 1, 1)}
	for _, in := range all {
		firsts = append(firsts, attempt(in.ID, 1, 1))
	}
	if _, err := s.NextEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	can := func(in *model.Intent) bool { return in.ID != all[3].ID }
	claim := func() ([]respond.Claimed, error) { return s.ClaimFirst(t.Context(), firsts, can) }

	mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: 2}, Flags: &decide.Flags{Paused: true}})
	if got, err := claim(); !errors.Is(err, respond.ErrPaused) || len(got) > 0 {
		t.Errorf("paused: %v, %v", got, err)
	}
	mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: 3}, Flags: &decide.Flags{}})
	old := firsts[0]
	firsts[0].Epoch = 0
	if got, err := claim(); !errors.Is(err, respond.ErrFenced) || len(got) > 0 {
		t.Errorf("fenced: %v, %v", got, err)
	}
	firsts[0] = old
	want := []respond.Claimed{{Intent: all[0], Attempt: firsts[1]}, {Intent: all[4], Attempt: firsts[5]}}
	got, err := claim()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for i, n := range []int{1, 0, 1, 0, 1} {
		if attempts, err := s.Attempts(t.Context(), all[i].ID); len(attempts) != n || err != nil {
			t.Errorf("intent %d has %d attempts, %v; want %d", i, len(attempts), err, n)
		}
	}
	if got, err := claim(); len(got) > 0 || err != nil {
		t.Errorf("claimed again: %v, %v", got, err)
	}
}
