package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/sdk"
)

func aMatch(signals int) Input {
	yes := true
	at := time.Date(2026, 11, 22, 9, 0, 0, 123456789, time.UTC)
	m := &MatchResult{
		Seq: 7, Source: "detector.ids", Total: 900, Count: 12, Config: "c0ffee",
		Counts: Counts{Matched: 3, Fact: 1, Passed: 6, Ignored: map[string]int{"b": 1, "a": 2}, Rejected: map[string]int{"damaged": 1}},
	}
	for i := range signals {
		s := Signal{
			ID: SignalID("pipeline.ids", "detector.ids", "", string(rune('a'+i))), Rule: "pipeline.ids", Source: "detector.ids",
			EventID: string(rune('a' + i)), Revision: "1", Position: Position{Seq: 7, Index: i}, Time: at.Add(time.Duration(i)),
			Title: "ET SCAN", Severity: 60, Raw: []byte(`{"payload":"äöü","n":1}`), Techniques: []string{"T1071"},
			Observables: []sdk.Observable{{Kind: sdk.IP, Value: "203.0.113.7", Role: sdk.Indicator}, {Kind: sdk.Host, Value: "ws-17"}},
		}
		switch i % 4 {
		case 1: // another rule about the same event
			s.Position, s.EventID, s.Raw = m.Signals[i-1].Position, m.Signals[i-1].EventID, m.Signals[i-1].Raw
			s.Rule, s.Stopped, s.Receipt, s.Link = "rule.beacon", &yes, true, "https://x.example"
		case 2:
			s.Source, s.Raw, s.Observables, s.Techniques, s.Notes = "detector.edr", nil, nil, nil, []string{"no address"}
			s.Stopped, s.Experimental = new(bool), true
		case 3:
			s.Time = time.Time{}
		}
		m.Signals = append(m.Signals, s)
	}
	return Input{At: at, Match: m}
}

func TestMatchRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 9} {
		in := aMatch(n)
		data, err := EncodeInput(in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EncodeInput(in)
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("%d signals: encoded twice it differs, %v", n, err)
		}
		got, err := DecodeInput(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, got); diff != "" {
			t.Errorf("%d signals: %s", n, diff)
		}
	}
}

// TestMatchOfAShadow: only such a result is written in the second version.
func TestMatchOfAShadow(t *testing.T) {
	for version, shadow := range map[byte]map[string]int{matchVersion: nil, shadowVersion: {"detector.edr": 12}} {
		in := aMatch(0)
		in.Match.Counts.Shadow = shadow
		data, err := EncodeInput(in)
		if err != nil || data[0] != version {
			t.Fatalf("version %d, want %d, %v", data[0], version, err)
		}
		got, err := DecodeInput(data)
		if diff := cmp.Diff(in, got); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
}

// TestMatchTextsAreTheirOwn: who keeps a text does not keep the message that it came in.
func TestMatchTextsAreTheirOwn(t *testing.T) {
	in := aMatch(9)
	data, err := EncodeInput(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeInput(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	for i := range got.Match.Signals {
		in.Match.Signals[i].Raw, got.Match.Signals[i].Raw = nil, nil // which are parts of it
	}
	if diff := cmp.Diff(in, got); diff != "" {
		t.Error(diff)
	}
}

// TestMatchIsWhatJSONIs: what was logged as JSON means the same.
func TestMatchIsWhatJSONIs(t *testing.T) {
	in := aMatch(9)
	in.Match.Signals[0].Title = "not \xff UTF-8"
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := EncodeInput(in)
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := DecodeInput(text)
	b, err2 := DecodeInput(data)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if len(data) > len(text)*2/3 {
		t.Errorf("%d bytes, where JSON has %d", len(data), len(text))
	}
}

func FuzzMatch(f *testing.F) {
	for _, n := range []int{0, 1, 9} {
		data, err := EncodeInput(withFacts(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		if data, err = EncodeInput(aMatch(n)); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		at, m, err := decodeMatch(data)
		if err != nil {
			if !errors.Is(err, ErrMatch) {
				t.Errorf("error %v", err)
			}
			return
		}
		// What is read can be written, and is read as the same again.
		again := appendMatch(nil, at, m)
		at2, m2, err := decodeMatch(again)
		if err != nil || !at.Equal(at2) {
			t.Fatalf("written again it is %v, at %v and %v", err, at, at2)
		}
		if !bytes.Equal(again, appendMatch(nil, at2, m2)) {
			t.Errorf("%+v became %+v", m, m2)
		}
	})
}

func BenchmarkInput(b *testing.B) {
	in := aMatch(1)
	for range 255 {
		s := in.Match.Signals[0]
		s.Position.Index = len(in.Match.Signals)
		in.Match.Signals = append(in.Match.Signals, s)
	}
	data, err := EncodeInput(in)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := EncodeInput(in); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/signal")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeInput(data); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/signal")
	})
}
