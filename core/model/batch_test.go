package model

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
	"pgregory.net/rapid"
)

func anyEvent(t *rapid.T) Event {
	e := Event{
		ID:       rapid.String().Draw(t, "id"),
		Revision: rapid.String().Draw(t, "revision"),
		Raw:      rapid.SliceOf(rapid.Byte()).Draw(t, "raw"),
		Title:    rapid.String().Draw(t, "title"),
		Link:     rapid.String().Draw(t, "link"),
		Problem:  rapid.String().Draw(t, "problem"),
	}
	if rapid.Bool().Draw(t, "has severity") {
		s := rapid.IntRange(0, 100).Draw(t, "severity")
		e.Severity = &s
	}
	if rapid.Bool().Draw(t, "has stopped") {
		s := rapid.Bool().Draw(t, "stopped")
		e.Stopped = &s
	}
	if rapid.Bool().Draw(t, "has time") {
		e.Time = time.Unix(rapid.Int64Range(-1e11, 1e11).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	}
	if rapid.Bool().Draw(t, "has techniques") {
		e.Techniques = rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "techniques")
	}
	if rapid.Bool().Draw(t, "has observables") {
		e.Observables = []sdk.Observable{{Kind: "ip", Value: rapid.String().Draw(t, "ip"), Role: sdk.Subject}, {Kind: "hash"}}
	}
	if rapid.Bool().Draw(t, "has oversize") {
		e.Oversize = &sdk.Oversize{Place: "a+1", Length: rapid.Int64().Draw(t, "length"), SHA256: [32]byte{1, 2}}
	}
	return e
}

func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Batch{Source: rapid.String().Draw(t, "source"), Received: time.Unix(0, rapid.Int64().Draw(t, "received")).UTC()}
		b.Events = make([]Event, 0)
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			b.Events = append(b.Events, anyEvent(t))
		}
		data := AppendBatch(nil, &b)
		got, err := DecodeBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, got); d != "" {
			t.Fatalf("batch changed on the way (-sent +got):\n%s", d)
		}
		cut := rapid.IntRange(0, len(data)-1).Draw(t, "cut")
		if _, err := DecodeBatch(data[:cut]); err == nil {
			t.Fatalf("batch cut to %d of %d bytes was taken", cut, len(data))
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	s := 7
	f.Add(AppendBatch(nil, &Batch{Source: "detector.a", Events: []Event{{ID: "1", Raw: []byte("{}"), Severity: &s, Oversize: &sdk.Oversize{}}}}))
	f.Add([]byte{batchVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBatch(data)
		if err != nil {
			return
		}
		again, err := DecodeBatch(AppendBatch(nil, &b))
		if err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
		if d := cmp.Diff(b, again); d != "" {
			t.Fatal(d)
		}
	})
}

// What a batch of the usual kind may allocate, on its way into the log and out of it.
func TestBatchAllocations(t *testing.T) {
	batch := Batch{Source: "detector.a"}
	for i := range 512 {
		batch.Events = append(batch.Events, Event{ID: fmt.Sprint("eve.json+", i), Raw: bytes.Repeat([]byte("x"), 1300), Title: "t"})
	}
	buf := AppendBatch(nil, &batch)
	if n := testing.AllocsPerRun(20, func() { buf = AppendBatch(buf[:0], &batch) }); n > 0 {
		t.Errorf("%v allocations to encode a batch into a buffer that has the room, want none", n)
	}
	n := testing.AllocsPerRun(20, func() {
		if _, err := DecodeBatch(buf); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations to decode a batch of 512 events, want 1", n)
	}
}

func BenchmarkDecodeBatch(b *testing.B) {
	batch := Batch{Source: "detector.a"}
	for range 256 {
		batch.Events = append(batch.Events, Event{ID: "eve.json+123456", Raw: bytes.Repeat([]byte("x"), 1300)})
	}
	data := AppendBatch(nil, &batch)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeBatch(data); err != nil {
			b.Fatal(err)
		}
	}
}
