package eve

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// event is what every line has, and the parts that the tests look at.
type event struct {
	Timestamp   string `json:"timestamp"`
	FlowID      uint64 `json:"flow_id"`
	EventType   string `json:"event_type"`
	SrcIP       string `json:"src_ip"`
	SrcPort     int    `json:"src_port"`
	DestIP      string `json:"dest_ip"`
	DestPort    int    `json:"dest_port"`
	Proto       string `json:"proto"`
	CommunityID string `json:"community_id"`
	Host        string `json:"host"`
	Alert       *struct {
		Action      string              `json:"action"`
		SignatureID int                 `json:"signature_id"`
		Signature   string              `json:"signature"`
		Severity    int                 `json:"severity"`
		Metadata    map[string][]string `json:"metadata"`
	} `json:"alert"`
	DNS      json.RawMessage `json:"dns"`
	HTTP     json.RawMessage `json:"http"`
	TLS      json.RawMessage `json:"tls"`
	FileInfo json.RawMessage `json:"fileinfo"`
	Flow     json.RawMessage `json:"flow"`
}

// has says whether the event has the object that its type promises.
func (e event) has(k Kind) bool {
	return [...]bool{e.Alert != nil, e.DNS != nil, e.HTTP != nil, e.TLS != nil, e.FileInfo != nil, e.Flow != nil}[k]
}

func generate(t testing.TB, n int, options Options) ([]byte, Counts) {
	g, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	var log []byte
	for range n {
		log = g.Append(log)
	}
	return log, g.Counts()
}

func TestGolden(t *testing.T) {
	got, _ := generate(t, 40, Options{Seed: 1, AlertRatio: 10})
	const name = "testdata/seed1.json"
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("seed 1 gives another log (-want +got):\n%s", diff)
	}
}

// Whatever the options, the lines are strict JSON in the order of time, marked, true to their type, and as many of
// each as Counts says, with exactly one alert of interest in each block.
func TestEveryLogIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := Options{
			Seed:       rapid.Uint64().Draw(t, "seed"),
			AlertRatio: rapid.IntRange(1, 20).Draw(t, "ratio"),
			Hosts:      rapid.IntRange(1, 70000).Draw(t, "hosts"),
			Signatures: rapid.IntRange(2, 600).Draw(t, "signatures"),
			Kinds:      rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Kind { return Kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")) }), 0, 3).Draw(t, "kinds"),
		}
		g, err := New(options)
		if err != nil {
			t.Fatal(err)
		}
		var counts Counts
		var last time.Time
		block := 0
		for n := range options.AlertRatio * 4 {
			line := g.Append(nil)
			e := decode(t, line)
			kind := check(t, line, e)
			counts.Events++
			counts.Kinds[kind]++
			if e.Alert != nil && e.Alert.Severity == 1 {
				counts.OfInterest++
				block++
			} else if len(options.Kinds) > 0 && !slices.Contains(options.Kinds, kind) {
				t.Fatalf("%s was not wanted", kind)
			}
			if (n+1)%options.AlertRatio == 0 {
				if block != 1 {
					t.Fatalf("%d alerts of interest in a block", block)
				}
				block = 0
			}
			at, err := time.Parse(timeLayout, e.Timestamp)
			if err != nil || at.Before(last) {
				t.Fatalf("time %s after %s: %v", e.Timestamp, last, err)
			}
			last = at
		}
		if counts != g.Counts() {
			t.Fatalf("counted %v, generator says %v", counts, g.Counts())
		}
	})
}

func decode(t *rapid.T, line []byte) event {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if err := uniqueNames(json.NewDecoder(bytes.NewReader(line))); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return e
}

func check(t *rapid.T, line []byte, e event) Kind {
	kind, err := ParseKind(e.EventType)
	if err != nil {
		t.Fatal(err)
	}
	if !e.has(kind) || e.Host != "generated" || line[len(line)-1] != '\n' || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("malformed: %s", line)
	}
	source, err := netip.ParseAddr(e.SrcIP)
	if err != nil {
		t.Fatal(err)
	}
	target, err := netip.ParseAddr(e.DestIP)
	if err != nil {
		t.Fatal(err)
	}
	transport := byte(6)
	if e.Proto == "UDP" {
		transport = 17
	}
	want := communityID(nil, endpoint{source, uint16(e.SrcPort)}, endpoint{target, uint16(e.DestPort)}, transport)
	if e.CommunityID != string(want) {
		t.Fatalf("community id %s, want %s", e.CommunityID, want)
	}
	if e.Alert != nil && (len(e.Alert.Metadata["mitre_technique_id"]) != 1 || e.Alert.SignatureID < 1000001) {
		t.Fatalf("alert lacks metadata: %s", line)
	}
	return kind
}

// uniqueNames reads one value and refuses an object that has a name twice.
func uniqueNames(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	delim, compound := token.(json.Delim)
	if !compound {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if delim == '{' {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return fmt.Errorf("name %q twice", name)
			}
			seen[name.(string)] = true
		}
		if err := uniqueNames(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

func TestSeeds(t *testing.T) {
	a, _ := generate(t, 2000, Options{Seed: 7})
	b, _ := generate(t, 2000, Options{Seed: 7})
	c, _ := generate(t, 2000, Options{Seed: 8})
	if !bytes.Equal(a, b) {
		t.Error("one seed gave two logs")
	}
	if bytes.Equal(a, c) {
		t.Error("two seeds gave one log")
	}
}

// The events of one flow agree about it, and no two flows share an id.
func TestFlowsHoldTogether(t *testing.T) {
	log, _ := generate(t, 20000, Options{Seed: 3})
	known := map[uint64]string{}
	shared := 0
	for line := range bytes.Lines(log) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if before, ok := known[e.FlowID]; ok {
			shared++
			if before != e.CommunityID {
				t.Fatalf("flow %d is %s and %s", e.FlowID, before, e.CommunityID)
			}
		}
		known[e.FlowID] = e.CommunityID
	}
	if shared < 5000 {
		t.Errorf("only %d of 20000 events belong to a flow that was seen before", shared)
	}
}

func TestCommunityID(t *testing.T) {
	// From the baseline of the specification.
	tests := []struct {
		a, b      string
		transport byte
		want      string
	}{
		{"128.232.110.120:34855", "66.35.250.204:80", 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"66.35.250.204:80", "128.232.110.120:34855", 6, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"192.168.1.52:54585", "8.8.8.8:53", 17, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
	}
	for _, test := range tests {
		a, b := netip.MustParseAddrPort(test.a), netip.MustParseAddrPort(test.b)
		got := communityID(nil, endpoint{a.Addr(), a.Port()}, endpoint{b.Addr(), b.Port()}, test.transport)
		if string(got) != test.want {
			t.Errorf("%s %s: got %s, want %s", test.a, test.b, got, test.want)
		}
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.20.0.7":     "10.20.0.7",
		"2001:db8::a:1": "2001:0db8:0000:0000:0000:0000:000a:0001",
	} {
		if got := string(address(nil, netip.MustParseAddr(text))); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "second"), 0)
		for range 5 {
			at = at.Add(time.Duration(rapid.Int64Range(0, 3e9).Draw(t, "step")))
			c.set(at)
			if got, want := string(c.text[:]), at.UTC().Format(timeLayout); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	})
}

func TestWrongOptions(t *testing.T) {
	for name, options := range map[string]Options{
		"ratio":      {AlertRatio: -1},
		"hosts":      {Hosts: 1<<20 + 1},
		"signatures": {Signatures: 1},
		"step":       {Step: -time.Second},
		"kinds":      {Kinds: []Kind{kinds}},
	} {
		if _, err := New(options); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	g, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 0, 4096)
	for range 10000 { // until each flow has room for its text
		line = g.Append(line[:0])
	}
	if n := testing.AllocsPerRun(1000, func() { line = g.Append(line[:0]) }); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name  string
		kinds []Kind
	}{{"mixed", nil}, {"alerts", []Kind{Alert}}} {
		b.Run(bench.name, func(b *testing.B) {
			g, err := New(Options{Kinds: bench.kinds})
			if err != nil {
				b.Fatal(err)
			}
			line := make([]byte, 0, 4096)
			var size int64
			b.ReportAllocs()
			for b.Loop() {
				line = g.Append(line[:0])
				size += int64(len(line))
				_, _ = io.Discard.Write(line)
			}
			b.SetBytes(size / int64(b.N))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
