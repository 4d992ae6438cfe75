package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func said(state model.AnswerState, at time.Time) *enrich.Said {
	return &enrich.Said{State: state, At: at, Took: time.Millisecond}
}

// TestRecordsOfShadows: a half leaves the other as it was, tallies add up by the hour, and
// nothing of another shadow's is read.
func TestRecordsOfShadows(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	at := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	one, two := sdk.Observable{Kind: sdk.IP, Value: "192.0.2.1"}, sdk.Observable{Kind: sdk.IP, Value: "192.0.2.2"}
	keep := func(shadow string, at time.Time, pairs ...enrich.Pair) {
		t.Helper()
		r := enrich.Record{Shadow: shadow, At: at, Pairs: pairs, Tally: enrich.Tally{Questions: 2, NoRoom: 1}, Key: "k"}
		r.Tally.First.Took[3] = 5
		r.Replies = map[sdk.Observable]model.Reply{one: {State: model.Known, Expires: at.Add(time.Hour)}}
		if err := s.KeepRecord(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	keep("enrichment.b", at, enrich.Pair{Observable: one, First: said(model.Known, at), At: at}, enrich.Pair{Observable: two, First: said(model.Clean, at), At: at})
	later := at.Add(time.Hour)
	keep("enrichment.b", later, enrich.Pair{Observable: one, Shadow: said(model.Failed, later), At: later})
	keep("enrichment.c", later, enrich.Pair{Observable: one, Shadow: said(model.Failed, later), At: later})

	got, err := s.ShadowPairs(t.Context(), "enrichment.b", at)
	want := []enrich.Pair{
		{Observable: one, First: said(model.Known, at), Shadow: said(model.Failed, later), At: later},
		{Observable: two, First: said(model.Clean, at), At: at},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if got, err := s.ShadowPairs(t.Context(), "enrichment.b", later); len(got) != 1 || err != nil {
		t.Errorf("%d since the later time, %v", len(got), err)
	}
	sum, begin, err := s.ShadowTally(t.Context(), "enrichment.b", at)
	if sum.Questions != 4 || sum.Asked() != 2 || sum.First.Took[3] != 10 || !begin.Equal(at.Truncate(time.Hour)) || err != nil {
		t.Errorf("%+v since %v, %v", sum, begin, err)
	}
	if sum, _, err = s.ShadowTally(t.Context(), "enrichment.b", later); sum.Questions != 2 || err != nil {
		t.Errorf("of the second hour %+v, %v", sum, err)
	}
	if r, ok, err := s.CachedReply(t.Context(), "k", one, at); !ok || r.State != model.Known || err != nil {
		t.Errorf("cached %v %v, %v", r, ok, err)
	}
}

// TestRecordsOfShadowsGo: what is old goes, whosever it was.
func TestRecordsOfShadowsGo(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	old := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	now := old.Add(keepShadows + 2*time.Hour)
	for i, at := range []time.Time{old, now} {
		r := enrich.Record{Shadow: fmt.Sprint("enrichment.", i), At: at, Tally: enrich.Tally{Questions: 1}, Tidy: true}
		r.Pairs = []enrich.Pair{{Observable: sdk.Observable{Kind: sdk.IP, Value: "192.0.2.1"}, First: said(model.Known, at), At: at}}
		if err := s.KeepRecord(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{0, 1} {
		all, err := s.ShadowPairs(t.Context(), fmt.Sprint("enrichment.", i), time.Unix(0, 0))
		sum, _, err2 := s.ShadowTally(t.Context(), fmt.Sprint("enrichment.", i), time.Unix(0, 0))
		if len(all) != want || sum.Questions != uint64(want) || err != nil || err2 != nil {
			t.Errorf("shadow %d: %d pairs, %d questions, want %d; %v %v", i, len(all), sum.Questions, want, err, err2)
		}
	}
}
