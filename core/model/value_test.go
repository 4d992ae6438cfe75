package model

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestInputRoundTrip: signals of one event share its payload on the way, and have it
// each at the end; the input itself is not changed.
func TestInputRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &MatchResult{Seq: rapid.Uint64().Draw(t, "seq"), Source: "detector.eve", Counts: Counts{Ignored: map[string]int{"a": 1}}}
		for index := range rapid.IntRange(0, 4).Draw(t, "events") {
			raw := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "raw")
			for range rapid.IntRange(0, 3).Draw(t, "signals") {
				m.Signals = append(m.Signals, Signal{
					ID: rapid.String().Draw(t, "id"), Position: Position{Seq: m.Seq, Index: index}, Raw: raw,
					Time: time.Unix(rapid.Int64Range(0, 1e10).Draw(t, "time"), 1).UTC(),
				})
			}
		}
		in := Input{At: time.Unix(7, 0).UTC(), Match: m}
		before, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		data, err := EncodeInput(in)
		if err != nil {
			t.Fatal(err)
		}
		if after, err := json.Marshal(in); err != nil || string(after) != string(before) {
			t.Fatal("it was changed")
		}
		if len(data) > len(before) {
			t.Errorf("%d bytes, more than %d", len(data), len(before))
		}
		got, err := DecodeInput(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, got); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzDecodeInput(f *testing.F) {
	f.Add([]byte(`{"match":{"seq":1,"signals":[{"position":{"seq":1,"index":0},"raw":"e30="},{"position":{"seq":1,"index":0}}]}}`))
	f.Add([]byte(`{"match":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := DecodeInput(data)
		if err != nil {
			return
		}
		again, err := EncodeInput(in)
		if err != nil {
			return // a time beyond the year 9999
		}
		if _, err := DecodeInput(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}

// TestIDs: they are for ever, and no two lists of parts run together.
func TestIDs(t *testing.T) {
	target := Target{Kind: "host", Value: "ws-17"}
	for want, got := range map[string]string{
		"s-2227e71f97ff3502411c": SignalID("pipeline.ids", "detector.eve", "", "1"),
		"s-1cd0e336b478dc1d57aa": SignalID("pipeline.ids", "detector.eve", "file", "1"),
		"c-313de22dc5aaa22f0850": CaseID("s-1"),
		"i-62297818966fbfd2d492": IntentID("c-1", "response.contain", "isolate", "isolate_host", target, 1),
	} {
		if got != want {
			t.Errorf("%s, want %s: an id must never change", got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune("a1:")))).Draw(t, "parts")
		others := rapid.SliceOf(rapid.StringOf(rapid.RuneFrom([]rune("a1:")))).Draw(t, "others")
		if same := cmp.Equal(append([]string{}, parts...), append([]string{}, others...)); same != (ID("x", parts...) == ID("x", others...)) {
			t.Errorf("%q and %q: %s, %s", parts, others, ID("x", parts...), ID("x", others...))
		}
	})
}

func TestHundredths(t *testing.T) {
	for h, want := range map[Hundredths]string{0: "0.00", 5: "0.05", 8750: "87.50", 10000: "100.00", -5: "-0.05", -1234: "-12.34"} {
		if got := h.String(); got != want {
			t.Errorf("%d is %s, want %s", h, got, want)
		}
	}
}

func TestPositionAfter(t *testing.T) {
	order := []Position{{}, {0, 1}, {1, 0}, {1, 5}, {2, 0}}
	for i, p := range order {
		for j, q := range order {
			if p.After(q) != (i > j) {
				t.Errorf("%v after %v: %v", p, q, p.After(q))
			}
		}
	}
}
