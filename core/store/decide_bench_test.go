package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/score"
	"github.com/kelpie-sec/kelpie/sdk"
)

// perMessage is how many signals a message of INPUTS has in BenchmarkDecide, and
// eventEvery how far apart they are.
const (
	perMessage = 64
	eventEvery = 20 * time.Millisecond
)

var benchStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// generated are inputs that are made as they are read: up to until messages, then none
// until ctx ends. Of every tenth signal the subject is one of long before, whose case has
// left decide's memory by then and comes back.
type generated struct {
	next, until uint64
	back        bool
	each        int // signals that share a subject
	done        context.CancelFunc
}

func (g *generated) Next(ctx context.Context) (decide.Message, error) {
	if g.next > g.until {
		g.done()
		<-ctx.Done()
		return decide.Message{}, ctx.Err()
	}
	seq := g.next
	g.next++
	in := model.Input{At: benchStart}
	if seq == 1 {
		in.Config = &model.Config{Hash: "bench", Text: []byte(`"bench"`)}
	} else {
		in.At, in.Match = g.match(seq)
	}
	text, err := model.EncodeInput(in)
	return decide.Message{Seq: seq, Parts: [][]byte{text}}, err
}

func (g *generated) match(seq uint64) (time.Time, *model.MatchResult) {
	m := &model.MatchResult{Seq: seq, Source: "detector.ids", Total: seq * perMessage, Count: perMessage, Counts: model.Counts{Matched: perMessage}}
	raw := fmt.Appendf(nil, `{"pad":"%01280d"}`, seq)
	var at time.Time
	for i := range perMessage {
		n := int(seq)*perMessage + i
		subject := n / g.each * g.each
		if g.back && n%10 == 0 {
			subject = n * 7 % (n - 400_000)
		}
		at = benchStart.Add(time.Duration(n) * eventEvery)
		m.Signals = append(m.Signals, model.Signal{
			ID: model.SignalID("pipeline.ids", "detector.ids", "", strconv.Itoa(n)), Rule: "pipeline.ids", Source: "detector.ids",
			EventID: strconv.Itoa(n), Revision: "1", Position: model.Position{Seq: seq, Index: i}, Time: at,
			Title: fmt.Sprintf("rule %d", n%50), Severity: n % 100, Techniques: []string{"T1071"}, Raw: raw,
			Observables: []sdk.Observable{
				{Kind: sdk.Domain, Value: fmt.Sprintf("d%d.example", n), Role: sdk.Indicator},
				{Kind: sdk.Host, Value: fmt.Sprintf("ws-%d", subject), Role: sdk.Subject},
			},
		})
	}
	return at, m
}

func (g *generated) Ready() bool { return g.next <= g.until }
func (g *generated) Close()      {}

func benchCompiler(model.Config) (*decide.Settings, error) {
	compiled := func(text string) *expr.Program {
		e, diags := hclsyntax.ParseExpression([]byte(text), "bench.hcl", hcl.InitialPos)
		p, more := expr.Compile(e, expr.Env{Roots: map[string]*expr.Shape{"case": decide.CaseShape()}})
		if diags.HasErrors() || more.HasErrors() {
			panic(text)
		}
		return p
	}
	points, because := compiled("case.severity"), compiled(`"reported at ${case.severity}"`)
	return &decide.Settings{
		Correlate: correlate.Settings{Window: correlate.DefaultWindow, Lateness: correlate.DefaultLateness},
		Score: score.Settings{Factors: []score.Factor{{
			Name: "threat", Weight: "1", Combine: score.Max,
			Evidence: []score.Evidence{{Name: "detector", Points: points, Because: because}},
		}}},
	}, nil
}

// decideAll has decide read messages up to one, and returns how long that took.
func decideAll(b *testing.B, s *Store, dir string, until uint64, back bool, each int) (took time.Duration, from uint64) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	g := &generated{until: until, back: back, each: each, done: cancel}
	var began time.Time
	l := &decide.Loop{
		CheckpointInterval: 24 * time.Hour, // by the time of these inputs, of which many come in a second
		Compile:            benchCompiler, Store: s, Dir: filepath.Join(dir, "checkpoints"), Log: slog.New(slog.DiscardHandler),
		Open: func(_ context.Context, from uint64) (decide.Inputs, error) {
			began, g.next = time.Now(), from
			return g, nil
		},
		End:  func(context.Context) (uint64, error) { return until, nil },
		Full: func(error) bool { return false }, Wake: func(decide.Changes) {},
	}
	var ended time.Time
	g.done = func() { ended = time.Now(); cancel() }
	if err := l.Run(ctx); err != nil {
		b.Fatal(err)
	}
	return ended.Sub(began), g.next
}

// BenchmarkDecide is decide with the store: signals a second with KELPIE_BENCH_CASES
// cases stored, each of one signal and all of them such as may still be joined; each
// signal a new case; one in ten joining a case that has left the memory; and ten to a
// case, one after the other. What it
// fills (a million: 4 GB) is kept in the folder KELPIE_BENCH_STORE, if there is such.
func BenchmarkDecide(b *testing.B) {
	cases, err := strconv.Atoi(os.Getenv("KELPIE_BENCH_CASES"))
	if err != nil || cases < 500_000 {
		cases = 500_000
	}
	dir := os.Getenv("KELPIE_BENCH_STORE")
	if dir == "" {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, fmt.Sprintf("cases-%d", cases))
	s := mustOpen(b, dir)
	at, err := s.Position(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if filled := uint64(cases/perMessage) + 1; at.Seq < filled {
		took, _ := decideAll(b, s, dir, filled, false, 1)
		b.Logf("filled in %s: %.0f signals/s", took.Round(time.Second), float64(cases)/took.Seconds())
		at.Seq = filled
	}
	for _, c := range []struct {
		name string
		back bool
		each int
	}{{"new", false, 1}, {"back", true, 1}, {"ten", false, 10}} {
		b.Run(c.name, func(b *testing.B) {
			const messages = 50_000 / perMessage
			var took time.Duration
			before, written := cpu(b), processIO("wchar")
			for range b.N {
				at.Seq += messages
				d, _ := decideAll(b, s, dir, at.Seq, c.back, c.each)
				took += d
			}
			signals := float64(b.N * messages * perMessage)
			n, err := s.Counts(b.Context())
			if err != nil || n.Cases < cases {
				b.Fatalf("void: %d cases, %v", n.Cases, err)
			}
			b.ReportMetric(signals/took.Seconds(), "signals/s")
			b.ReportMetric((cpu(b)-before).Seconds()*1e6/signals, "cpu-us/signal")
			b.ReportMetric(float64(processIO("wchar")-written)/signals, "B-written/signal")
			b.ReportMetric(float64(n.Cases), "cases")
		})
	}
}
