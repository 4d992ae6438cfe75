package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

func chain(records ...string) (all []Entry) {
	var head Head
	for _, r := range records {
		e := Next(head, []byte(r))
		all, head = append(all, e), e.Head()
	}
	return all
}

func follow(all []Entry, kept ...Head) error {
	var v Verifier
	v.Keep(kept...)
	for _, e := range all {
		if err := v.Add(e); err != nil {
			return err
		}
	}
	return v.End()
}

func someChain(n int) []Entry {
	var records []string
	for i := range n {
		records = append(records, fmt.Sprintf(`{"kind":"pause","by":"ann","message":"%d"}`, i))
	}
	return chain(records...)
}

// TestHash: it is for ever, or old trails would not hold any more.
func TestHash(t *testing.T) {
	all := chain(`{"kind":"pause"}`, `{"kind":"resume"}`)
	const want = "2:b9d5ab6afab0630a0a73989df50b6c9ad9d63de8733860713538f18d65054301"
	if got := all[1].Head().String(); got != want {
		t.Errorf("head %s, want %s", got, want)
	}
	if h, err := ParseHead(all[1].Head().String()); err != nil || h != all[1].Head() {
		t.Errorf("%v, %v", h, err)
	}
	for _, text := range []string{"", "2", "2:", "x:" + all[1].Hash.String(), "2:" + all[1].Hash.String() + "00", "-1:" + all[1].Hash.String(), "2:zz"} {
		if _, err := ParseHead(text); err == nil {
			t.Errorf("head %q was taken", text)
		}
	}
}

// TestChanged: whatever is done to a trail, it does not hold at the first entry that
// was touched.
func TestChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := someChain(rapid.IntRange(2, 20).Draw(t, "entries"))
		if err := follow(all); err != nil {
			t.Fatal(err)
		}
		i := rapid.IntRange(0, len(all)-2).Draw(t, "place")
		want := all[i].Seq
		switch how := rapid.SampledFrom([]string{"record", "hash", "out", "in", "swap", "seq"}).Draw(t, "how"); how {
		case "record":
			all[i].Record = bytes.Replace(all[i].Record, []byte("ann"), []byte("bob"), 1)
		case "hash":
			all[i].Hash[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
		case "out":
			all = slices.Delete(all, i, i+1)
		case "in":
			var before Head
			if i > 0 {
				before = all[i-1].Head()
			}
			all = slices.Insert(all, i, Next(before, []byte(`{"kind":"resume"}`)))
			want++ // what was put in fits; what follows it does not
		case "swap":
			all[i], all[i+1] = all[i+1], all[i]
		case "seq":
			all[i].Seq += 5
		}
		var broken *BrokenError
		if err := follow(all); !errors.As(err, &broken) || broken.Seq != want {
			t.Errorf("%v, want it broken at %d", err, want)
		}
	})
}

// TestKept: a trail that was written anew, or cut off, does not have the head that was
// kept.
func TestKept(t *testing.T) {
	all := someChain(10)
	if err := follow(all, all[3].Head(), all[9].Head()); err != nil {
		t.Error(err)
	}
	anew := slices.Concat(someChain(4), nil)
	last := anew[3].Head()
	for range 6 {
		e := Next(last, []byte(`{"kind":"resume"}`))
		anew, last = append(anew, e), e.Head()
	}
	if err := follow(anew, all[3].Head()); err != nil {
		t.Error(err)
	}
	var broken *BrokenError
	if err := follow(anew, all[9].Head()); !errors.As(err, &broken) || broken.Seq != 10 || !strings.Contains(broken.Why, "written anew") {
		t.Errorf("written anew: %v", err)
	}
	if err := follow(all[:8], all[9].Head()); !errors.As(err, &broken) || broken.Seq != 9 || !strings.Contains(broken.Why, "ends at 8") {
		t.Errorf("cut off: %v", err)
	}
}

func TestCompare(t *testing.T) {
	var records []string
	for _, r := range []model.Record{
		{Kind: model.RecordBegan, Intents: map[string]int{"done": 2}},
		{Kind: model.RecordIntent, To: "pending"},
		{Kind: model.RecordIntent, To: "pending"},
		{Kind: model.RecordOutcome, From: "pending", To: "unknown"},
		{Kind: model.RecordResolve, From: "unknown", To: "done"},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, string(text))
	}
	var v Verifier
	for _, e := range chain(records...) {
		if err := v.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.Compare(map[string]int{"done": 3, "pending": 1}); len(got) > 0 {
		t.Error(got)
	}
	want := []string{"3 intents are done by the trail, 2 by the tables", "0 intents are refused by the trail, 1 by the tables"}
	if got := v.Compare(map[string]int{"done": 2, "pending": 1, "refused": 1}); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestExport(t *testing.T) {
	all := someChain(50)
	var out bytes.Buffer
	for _, e := range all {
		if err := Write(&out, e); err != nil {
			t.Fatal(err)
		}
	}
	var v Verifier
	if err := Read(bytes.NewReader(out.Bytes()), v.Add); err != nil || v.Head() != all[49].Head() {
		t.Errorf("head %v, %v", v.Head(), err)
	}
	for _, text := range []string{"x\n", "{}\n", `{"seq":1,"hash":"00"}` + "\n", `[1]`} {
		if err := Read(strings.NewReader(text), v.Add); !errors.Is(err, ErrExport) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"seq":1,"hash":"` + strings.Repeat("0", 64) + `","record":{"kind":"pause"}}`))
	f.Add([]byte("{}\n\n[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v Verifier
		n := uint64(0)
		err := Read(bytes.NewReader(data), func(e Entry) error {
			n++
			return v.Add(e)
		})
		if err == nil && v.Head().Seq != n {
			t.Errorf("%d entries, head %v", n, v.Head())
		}
	})
}
