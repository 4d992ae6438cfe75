package model

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/sdk"
)

func withFacts(n int) Input {
	in := aMatch(2)
	at := time.Date(2026, 11, 22, 9, 0, 0, 5, time.UTC)
	for i := range n {
		f := Fact{
			Rule: "rule.brute_force", Term: i % 2, Key: "host:ws-17\x00user:kim", ID: FactID("detector.ids", "auth", "1"),
			Position: Position{Seq: 7, Index: 3}, Time: at, Value: "root", Number: -5, Severity: 40,
			Observables: []sdk.Observable{{Kind: sdk.User, Value: "kim", Role: sdk.Subject}}, Techniques: []string{"T1110"},
		}
		if i%3 == 2 { // of another event
			f.ID, f.Observables, f.Techniques, f.Time = FactID("detector.ids", "auth", "2"), nil, nil, at.Add(time.Second)
		}
		in.Match.Facts = append(in.Match.Facts, f)
	}
	return in
}

// TestFactsRoundTrip: a result with facts has a version of its own, and those without are
// as they were.
func TestFactsRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 7} {
		in := withFacts(n)
		data, err := EncodeInput(in)
		if err != nil {
			t.Fatal(err)
		}
		want := byte(matchVersion)
		if n > 0 {
			want = factsVersion
		}
		if data[0] != want {
			t.Errorf("%d facts: version %d, want %d", n, data[0], want)
		}
		got, err := DecodeInput(data)
		if diff := cmp.Diff(in, got); diff != "" || err != nil {
			t.Errorf("%d facts: %v %s", n, err, diff)
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err = DecodeInput(text)
		if diff := cmp.Diff(in, got); diff != "" || err != nil {
			t.Errorf("%d facts as JSON: %v %s", n, err, diff)
		}
		for cut := range data {
			if _, err := DecodeInput(data[:cut]); err == nil && cut < len(data) {
				t.Fatalf("%d facts, cut at %d: no error", n, cut)
			}
		}
	}
}
