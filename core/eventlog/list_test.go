package eventlog

import (
	"errors"
	"fmt"
	"testing"
)

func TestListNewestFirst(t *testing.T) {
	l := mustOpen(t, small(t.TempDir()))
	rare, busy := mustSource(t, l, "rare"), mustSource(t, l, "busy")
	var want []string // of rare, oldest first
	for i := range 400 {
		if i%100 == 3 {
			want = append(want, fmt.Sprint(i))
			put(t, rare, fmt.Sprint(i), 2, fmt.Appendf(nil, "payload %d", i))
		} else {
			put(t, busy, fmt.Sprint(i), 1, nil)
		}
	}
	for _, tt := range []struct {
		query Query
		pages []int
	}{
		{Query{}, []int{100, 100, 100, 100}},
		{Query{Limit: 250}, []int{250, 150}},
		{Query{Limit: 1000}, []int{400}},
		{Query{Source: "rare", Limit: 3}, []int{3, 1}},
		{Query{Source: "rare"}, []int{4}},
		{Query{Source: "nobody"}, []int{0}},
		{Query{Before: 11}, []int{10}},
		{Query{Before: 1}, []int{0}},
	} {
		t.Run(fmt.Sprintf("%+v", tt.query), func(t *testing.T) {
			last := uint64(1 << 40)
			var got []string
			for i, n := range tt.pages {
				page, err := l.ListEvents(t.Context(), tt.query)
				if err != nil || len(page.Records) != n {
					t.Fatalf("page %d has %d records, %v, want %d", i, len(page.Records), err, n)
				}
				for _, r := range page.Records {
					if r.Seq >= last || tt.query.Source != "" && r.Source != tt.query.Source {
						t.Fatalf("record %d of %s follows %d", r.Seq, r.Source, last)
					}
					last = r.Seq
					got = append(got, r.BatchID)
				}
				if end := i == len(tt.pages)-1; end && n > 0 && page.Before != 0 && tt.query.Source == "" {
					t.Errorf("the last page goes on before %d", page.Before)
				} else if !end && page.Before == 0 {
					t.Fatal("a page that is not the last has no next")
				}
				tt.query.Before = page.Before
			}
			if tt.query.Source == "rare" {
				for i := range want {
					if got[i] != want[len(want)-1-i] {
						t.Fatalf("listed %v, want %v backwards", got, want)
					}
				}
			}
		})
	}
	r, err := l.GetEvent(t.Context(), 4)
	if err != nil || r.Source != "rare" || string(r.Payload) != "payload 3" || r.Count != 2 || r.Time.IsZero() {
		t.Errorf("event 4 = %+v, %v", r, err)
	}
	for _, seq := range []uint64{0, 401} {
		if _, err := l.GetEvent(t.Context(), seq); !errors.Is(err, ErrNotFound) {
			t.Errorf("event %d: %v, want ErrNotFound", seq, err)
		}
	}
	mustReject(t, l, "edr", "a", 1, 3)
	if r, err := l.GetRejected(t.Context(), 1); err != nil || string(r.Payload) != "a \x00\x00\x00" || r.Source != "edr" {
		t.Errorf("rejected 1 = %+v, %v", r, err)
	}
}
