package detect

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/eventlog"
)

const other = "detector.other"

// scripts are plugins by the instances that they have.
type scripts map[string]*script

func (s scripts) Open(ctx context.Context, in Instance, cursor []byte, once bool) (Session, error) {
	return s[in.Address].Open(ctx, in, cursor, once)
}

func beginAll(t *testing.T, l *memoryLog, p scripts, instances ...string) *rig {
	g := &rig{ended: make(chan struct{}), Detector: &Detector{
		Settings: Settings{Instances: list(instances...)}, Plugins: p, Log: l, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(g.ended)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	synctest.Wait()
	return g
}

func list(addresses ...string) (all []Instance) {
	for _, a := range addresses {
		all = append(all, Instance{Address: a})
	}
	return all
}

func (g *rig) states() map[string]State {
	all := map[string]State{}
	for _, r := range g.Reports() {
		all[r.Instance] = r.State
	}
	return all
}

func TestApplyLeavesAloneWhatIsAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, idle := &memoryLog{}, [][]any{{}}
		p := scripts{eve: {sessions: [][]any{{batch(1, "c1", "a")}, {batch(1, "c2", "b")}}}, other: {sessions: idle}}
		g := beginAll(t, l, p, eve)
		for _, c := range []struct {
			name      string
			instances []Instance
			replaced  []string
			want      map[string]State
			opened    [2]int // sessions of eve and other, ever
			stopped   [2]int
		}{
			{"nothing", list(eve), nil, map[string]State{eve: Running}, [2]int{1, 0}, [2]int{0, 0}},
			{"one is added", list(eve, other), nil, map[string]State{eve: Running, other: Running}, [2]int{1, 1}, [2]int{0, 0}},
			{"one is replaced", list(eve, other), []string{eve}, map[string]State{eve: Running, other: Running}, [2]int{2, 1}, [2]int{1, 0}},
			{"the order changes", list(other, eve), nil, map[string]State{eve: Running, other: Running}, [2]int{2, 1}, [2]int{1, 0}},
			{"one is removed", list(eve), nil, map[string]State{eve: Running}, [2]int{2, 1}, [2]int{1, 1}},
			{"it comes back", list(eve, other), nil, map[string]State{eve: Running, other: Running}, [2]int{2, 2}, [2]int{1, 1}},
			{"all go", nil, nil, map[string]State{}, [2]int{2, 2}, [2]int{2, 2}},
		} {
			if err := g.Apply(t.Context(), c.instances, c.replaced); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if diff := cmp.Diff(c.want, g.states()); diff != "" {
				t.Errorf("%s: %s", c.name, diff)
			}
			if got := [2]int{len(p[eve].cursors), len(p[other].cursors)}; got != c.opened {
				t.Errorf("%s: %d sessions were opened, want %d", c.name, got, c.opened)
			}
			if got := [2]int{p[eve].stopped, p[other].stopped}; got != c.stopped {
				t.Errorf("%s: %d sessions were stopped, want %d", c.name, got, c.stopped)
			}
		}
		if diff := cmp.Diff([]string{"", "c1"}, p[eve].cursors); diff != "" {
			t.Error("the new session does not go on where the log says:", diff)
		}
		if diff := cmp.Diff([]string{"a", "b"}, l.ids()); diff != "" {
			t.Error(diff)
		}
		g.stop()
	})
}

// TestApplyTakesWhatIsOnItsWay: the batch that is being logged when its instance is
// replaced is logged and acknowledged before the next session begins.
func TestApplyTakesWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		l := &memoryLog{publish: func(eventlog.Header) (bool, error) {
			if first {
				first = false
				time.Sleep(time.Second) // a slow disk
			}
			return true, nil
		}}
		p := scripts{eve: {sessions: [][]any{{batch(1, "c1", "a"), batch(2, "c2", "b")}, {}}}}
		g := beginAll(t, l, p, eve)
		if err := g.Apply(t.Context(), list(eve), []string{eve}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b"}, l.ids()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int64{1, 2}, p[eve].acks()); diff != "" {
			t.Error("acknowledged:", diff)
		}
		if diff := cmp.Diff([]string{"", "c2"}, p[eve].cursors); diff != "" {
			t.Error("sessions began at:", diff)
		}
		g.stop()
	})
}

func TestApplyCutsAPluginThatDoesNotStop(t *testing.T) {
	for name, p := range map[string]*script{
		"that is deaf":     {sessions: [][]any{{}}, deaf: true},
		"that never opens": {sessions: [][]any{{}}, open: func() error { return errors.New("it is not up") }},
		"of which nobody knows when the log has room": {sessions: [][]any{{batch(1, "c1", "a")}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &memoryLog{publish: func(eventlog.Header) (bool, error) { return false, eventlog.ErrFull }}
				g := beginAll(t, l, scripts{eve: p}, eve)
				began := time.Now()
				if err := g.Apply(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > stopLimit {
					t.Errorf("took %s", took)
				}
				if len(g.Reports()) != 0 {
					t.Errorf("reports: %+v", g.Reports())
				}
				g.stop()
			})
		})
	}
}

func TestApplyNeedsARunWithoutEnd(t *testing.T) {
	d := &Detector{Settings: Settings{Once: true}}
	if err := d.Apply(t.Context(), nil, nil); !errors.Is(err, errNotRunning) {
		t.Errorf("with Once: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Detector{}).Apply(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("not running: %v", err)
	}
}

// TestWhoseCursor: a session begins with a cursor of its own connector's making alone.
func TestWhoseCursor(t *testing.T) {
	file := func(version int) eventlog.Maker { return eventlog.Maker{Plugin: "file", CursorVersion: version} }
	guard := eventlog.Maker{Plugin: "aws", Connector: "guardduty", CursorVersion: 2}
	for name, c := range map[string]struct {
		made, by eventlog.Maker
		rewind   bool
		cursor   string
		why      string // of a refusal, or in the log
		refused  bool
	}{
		"its own":                           {made: file(1), by: file(1), cursor: "c1"},
		"of an older build":                 {made: file(1), by: file(3), cursor: "c1"},
		"of before it was noted":            {by: file(1), cursor: "c1"},
		"another plugin's":                  {made: file(1), by: eventlog.Maker{Plugin: "suricata", CursorVersion: 1}, why: "starts from the beginning: the cursor is plugin file's"},
		"another plugin's, newer":           {made: file(9), by: eventlog.Maker{Plugin: "suricata", CursorVersion: 1}, why: "the cursor is plugin file's"},
		"another connector's":               {made: guard, by: eventlog.Maker{Plugin: "aws", Connector: "trail", CursorVersion: 2}, why: "the cursor is plugin aws/guardduty's"},
		"of a newer build":                  {made: guard, by: eventlog.Maker{Plugin: "aws", Connector: "guardduty", CursorVersion: 1}, refused: true, why: "it has version 2, and this build knows up to 1"},
		"of a newer build that is not used": {made: file(2), by: file(1), rewind: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, once := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					l := &memoryLog{entries: []entry{{header: eventlog.Header{BatchID: "before", Cursor: []byte("c1"), Maker: c.made}}}}
					p := &script{sessions: [][]any{{batch(1, "c2", "a"), ended}}}
					var log strings.Builder
					d := &Detector{
						Settings: Settings{Instances: []Instance{{Address: eve, Finite: true, Maker: c.by}}, Once: once, Rewind: c.rewind},
						Plugins:  p, Log: l, Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now,
					}
					ctx, cancel := context.WithCancel(t.Context())
					over := make(chan struct{})
					go func() {
						defer close(over)
						if err := d.Run(ctx); err != nil {
							t.Errorf("Run: %v", err)
						}
					}()
					if !once {
						time.Sleep(time.Hour)
						synctest.Wait()
						if r := d.Reports()[0]; c.refused != (r.State == Troubled && strings.Contains(r.Message, c.why)) {
							t.Errorf("report: %+v", r)
						}
						cancel()
					}
					<-over
					cancel()
					if c.refused {
						if len(p.cursors) > 0 || len(l.entries) != 1 || strings.Count(log.String(), c.why) != 1 {
							t.Errorf("%d sessions, %d entries, log:\n%s", len(p.cursors), len(l.entries), &log)
						}
						return
					}
					if len(p.cursors) == 0 || p.cursors[0] != c.cursor || !strings.Contains(log.String(), c.why) {
						t.Errorf("began with %q, want %q; log:\n%s", p.cursors, c.cursor, &log)
					}
					if got := l.last().Maker; got != c.by {
						t.Errorf("the next cursor is of %+v", got)
					}
				})
			}
		})
	}
}
