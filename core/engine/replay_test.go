package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/core/score"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestReplay: a flow runs with lookups and actions that answer when and what they
// like, through restarts. Its INPUTS, replayed from the start into another store, give
// an equal dump of decide's tables; also if the replay is cut anywhere, and goes on from
// a checkpoint or without one.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	k, err := Open(t.Context(), Settings{
		DataDir: dir, Sync: eventlog.SyncInterval, SyncInterval: time.Minute,
		EventsBytes: 64 << 20, InputsBytes: 64 << 20, RejectedBytes: 64 << 20, Reserve: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := &replayed{k: k, r: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))}
	for life := range 4 {
		f.live(t, life)
	}
	want := replayDump(t, k.store)
	counts, err := k.store.Counts(t.Context())
	if err != nil || counts.Signals < 100 || counts.Cases < 5 || counts.IntentsDone < 5 || counts.AsksFailed < 5 {
		t.Fatalf("the flow did too little to be worth a replay: %+v, %v", counts, err)
	}
	holds, err := k.store.Holds(t.Context(), true)
	if err != nil || len(holds) < 3 {
		t.Fatalf("%d holds are too few, %v", len(holds), err)
	}
	at, err := k.store.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	for name, every := range map[string]int{"in one go": 0, "cut after each commit": 1, "cut now and then": 5} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := store.Open(t.Context(), store.Settings{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			lives := 0
			for {
				lives++
				replay(t, k, s, dir, at, every)
				if now, err := s.Position(t.Context()); err != nil || now == at {
					break
				}
				if lives%3 == 0 { // now and then without a checkpoint
					if err := s.SaveCheckpoint(t.Context(), decide.Checkpoint{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if every == 1 && lives < 10 {
				t.Errorf("%d lives only", lives)
			}
			if diff := cmp.Diff(want, replayDump(t, s)); diff != "" {
				t.Errorf("after %d lives the dump is another:\n%.4000s", lives, diff)
			}
		})
	}
}

// replay reads INPUTS into a store until its position is the end, or so many commits
// were made; 0: to the end. Nothing is asked and nothing acts.
func replay(t *testing.T, k *Kelpie, s *store.Store, dir string, end decide.Position, commits int) {
	t.Helper()
	replayWith(t, k, s, dir, end, commits, replayCompile)
}

func replayWith(t *testing.T, k *Kelpie, s *store.Store, dir string, end decide.Position, commits int, compile decide.Compiler) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := newDecider(k, nil)
	d.loop.Compile, d.loop.Store, d.loop.Dir = compile, s, filepath.Join(dir, checkpointDir)
	d.loop.CheckpointInputs = 20
	n := 0
	d.loop.Wake = func(c decide.Changes) {
		if n++; c.Position == end || n == commits {
			cancel()
		}
	}
	if err := d.loop.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("%d commits in a minute, and not at %v", n, end)
	}
}

func replayDump(t *testing.T, s *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Dump(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// replayed is a flow whose outside is made up.
type replayed struct {
	k      *Kelpie
	r      *rand.Rand
	events uint64
}

// live runs decide, enrich and respond, gives them what match and people would, and
// waits until nothing waits any more; the first lives are cut short instead.
func (f *replayed) live(t *testing.T, life int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	g := &flow{k: f.k, logger: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1), paused: true}
	var in, answers, outcomes reporter
	for name, r := range map[string]*reporter{"match": &in, "enrich": &answers, "respond": &outcomes} {
		if err := g.joiner(ctx, name, r); err != nil {
			t.Fatal(err)
		}
	}
	epoch, err := f.k.store.NextEpoch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	outside := &replayOutside{}
	g.enricher = &enrich.Enricher{
		Settings: enrich.Settings{Sources: []enrich.Source{{
			Address: "enrichment.assets", Key: "k", TTL: time.Second, NegativeTTL: time.Millisecond, Patience: 20 * time.Millisecond,
			Timeout: time.Second, BatchLimit: 8,
		}}},
		Backlog: f.k.store, Asker: outside, Reporter: enrichReporter{answers}, Shelf: f.k.store, Log: g.logger, Now: f.k.clock.now,
	}
	g.responder = &respond.Responder{
		Settings: respond.Settings{MaxAttempts: 2, Actions: map[string]respond.Action{
			"action.mail": {Timeout: time.Second},
			"action.edr":  {Timeout: 100 * time.Millisecond, Verbs: map[string]respond.Verb{"isolate_host": {Idempotent: true}}},
		}},
		Journal: f.k.store, Caller: outside, Reporter: respondReporter{outcomes}, Log: g.logger, Epoch: epoch, Now: f.k.clock.now,
	}
	g.decider = newDecider(f.k, g.wakeUp)
	g.decider.loop.Store = claimingStore{f.k.store, g.responder}
	g.decider.loop.Compile, g.decider.loop.CheckpointInputs = replayCompile, 30

	deciding := start(work, fail, g.decider.run)
	enriching := start(work, fail, g.enricher.Run)
	if err := g.decider.caughtUp(work, deciding); err != nil {
		t.Fatal(err)
	}
	responding := start(work, fail, func(ctx context.Context) error { return g.responder.Run(ctx, g.wake) })
	for i := range 60 {
		if _, err := in.input(work, f.input(i, life)); err != nil {
			t.Fatal(context.Cause(work), err)
		}
	}
	if life == 3 {
		if _, err := in.input(work, model.Input{Command: &model.Command{Kind: model.ResumeActions, By: "kim"}}); err != nil {
			t.Fatal(err)
		}
		f.settle(t, work, g)
	} else {
		replayEnd(t, deciding) // decide is the first to go, in the middle of it
	}
	replayEnd(t, responding, enriching)
	if err := g.stopJoiners(); err != nil {
		t.Fatal(err)
	}
	if life == 3 {
		if err := g.decider.caughtUp(work, deciding); err != nil {
			t.Fatal(context.Cause(work), err)
		}
		replayEnd(t, deciding)
	}
}

func replayEnd(t *testing.T, stages ...*stage) {
	t.Helper()
	if err := end(stages...); err != nil {
		t.Fatal(err)
	}
}

// settle waits until everything is decided and nothing waits.
func (f *replayed) settle(t *testing.T, ctx context.Context, g *flow) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := g.settled(ctx); err != nil {
			t.Fatal(context.Cause(ctx), err)
		} else if ok {
			return
		}
		select {
		case <-ctx.Done():
			c, _ := f.k.store.Counts(t.Context())
			t.Fatalf("it does not settle: %v, %+v", context.Cause(ctx), c)
		case <-tick.C:
		}
	}
}

// input is the i-th of a life.
func (f *replayed) input(i, life int) model.Input {
	switch {
	case i == 0:
		text := fmt.Sprintf("%q", []string{"wide", "narrow", "dry", "wide"}[life])
		return model.Input{Config: &model.Config{Hash: fmt.Sprintf("hash-%d", life), Text: []byte(text)}}
	case i == 20:
		return model.Input{Command: &model.Command{Kind: model.PauseActions, By: "kim"}}
	case i == 25:
		return model.Input{Command: &model.Command{Kind: model.ResumeActions, By: "kim"}}
	case i%15 == 7:
		return model.Input{Tick: f.k.tick()}
	}
	if f.r.IntN(10) > 0 || f.events == 0 {
		f.events++ // else one comes a second time
	}
	m := &model.MatchResult{Seq: f.events, Source: "detector.ids", Total: f.events * 2, Count: 2, Config: "hash", Counts: model.Counts{Passed: 2}}
	for n := range f.r.IntN(3) {
		id := fmt.Sprint(f.r.IntN(400))
		when := time.Date(2026, 11, 22, 9, f.r.IntN(180), 0, 0, time.UTC)
		m.Signals = append(m.Signals, model.Signal{
			ID: model.SignalID("pipeline.ids", "detector.ids", "", id), Rule: "pipeline.ids", Source: "detector.ids", EventID: id,
			Revision: fmt.Sprint(f.r.IntN(2)), Position: model.Position{Seq: m.Seq, Index: n}, Time: when,
			Title: "scan", Severity: f.r.IntN(100), Raw: []byte(`{"a": 1}`),
			Observables: []sdk.Observable{
				{Kind: sdk.IP, Value: fmt.Sprintf("203.0.113.%d", f.r.IntN(30)), Role: sdk.Indicator},
				{Kind: sdk.IP, Value: fmt.Sprintf("10.0.0.%d", f.r.IntN(30)), Role: sdk.Subject},
			},
		})
		m.Counts.Matched, m.Counts.Passed = m.Counts.Matched+1, m.Counts.Passed-1
	}
	return model.Input{Match: m}
}

// replayOutside is a feed and a mail server, neither of which is to be relied on.
type replayOutside struct{}

func (*replayOutside) Enrich(ctx context.Context, _ string, asks []model.Ask) ([]enrich.Answer, error) {
	time.Sleep(time.Duration(rand.N(30)) * time.Millisecond) // as far away as a feed is
	all := make([]enrich.Answer, len(asks))
	for i, a := range asks {
		switch rand.N(4) {
		case 0:
			all[i].Err = &enrich.Failure{Reason: "denied"}
		case 1: // nothing
		default:
			all[i].Answers = []model.Answer{{Asset: &model.Asset{Name: "ws-" + a.Observable.Value[len(a.Observable.Value)-1:], Owner: "kim@example.org"}}}
		}
	}
	return all, ctx.Err()
}

func (*replayOutside) Execute(context.Context, respond.Call) (respond.Result, error) {
	switch rand.N(8) {
	case 0:
		return respond.Result{}, errors.New("no answer")
	case 1:
		return respond.Result{State: model.IntentRefused, Message: "no such address"}, nil
	}
	return respond.Result{State: model.IntentDone, Reference: fmt.Sprint(rand.N(1000))}, nil
}

func (o *replayOutside) Undo(ctx context.Context, c respond.Call) (respond.Result, error) {
	return o.Execute(ctx, c)
}

func (*replayOutside) Check(context.Context, respond.Call) (respond.Result, error) {
	return respond.Result{}, errors.New("it can't tell")
}

// replayCompile makes the settings that a made up configuration names.
func replayCompile(c model.Config) (*decide.Settings, error) {
	program := func(text string) *expr.Program {
		e, diags := hclsyntax.ParseExpression([]byte(text), "test.hcl", hcl.InitialPos)
		if !diags.HasErrors() {
			var p *expr.Program
			if p, diags = expr.Compile(e, expr.Env{Roots: map[string]*expr.Shape{"case": decide.CaseShape()}}); !diags.HasErrors() {
				return p
			}
		}
		panic(diags.Error())
	}
	s := &decide.Settings{
		Correlate: correlate.Settings{Window: 10 * time.Minute},
		Score: score.Settings{Factors: []score.Factor{{Name: "threat", Weight: "1", Combine: score.Max, Evidence: []score.Evidence{{
			Name: "detector", Points: program("case.severity"), Because: program(`"reported at ${case.severity}"`),
		}}}}},
		Plan: plan.Settings{
			Mode: plan.On,
			Responses: []plan.Response{{Address: "response.tell", When: program("case.score.total >= 50"), Steps: []plan.Step{
				{Name: "mail", Action: "action.mail", Verb: "notify", Route: "route.owner", TargetKinds: []string{"address"}, Notice: true},
			}}, {Address: "response.contain", When: program("case.score.total >= 40"), Steps: []plan.Step{
				{
					Name: "isolate", Action: "action.edr", Verb: "isolate_host", Targets: program("case.hosts"), TargetKinds: []string{"host"},
					Contains: true, Holds: true, UndoAfter: 30 * time.Millisecond,
				},
			}}},
			Routes: []plan.Route{{Address: "route.owner", To: program("[case.assets.owner]"), Otherwise: "soc@example.org"}},
			Rules:  map[string][]string{"pipeline.ids": {"response.tell", "response.contain"}},
		},
		Sources: []decide.Source{{Address: "enrichment.assets", Takes: []string{sdk.IP, sdk.Host}, Internal: true}},
	}
	switch string(c.Text) {
	case `"wide"`:
	case `"narrow"`:
		s.Correlate.Window = time.Minute
	case `"dry"`:
		s.Plan.Mode = plan.DryRun
	default:
		return nil, fmt.Errorf("no configuration %s", c.Text)
	}
	return s, nil
}
