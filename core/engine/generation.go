package engine

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/sdk"
)

// generation is one configuration in force. What it runs are the instances of the host
// and the settings of the stages; both outlive it as far as the next one has the same.
type generation struct {
	Configuration
	number int // from 1, that of the start
	since  time.Time
}

// hash of the configuration.
func (c *Configuration) hash() string { return c.Config.Hash }

// detectors are the instances that sessions are kept of.
func (c *Configuration) detectors() []detect.Instance {
	all := make([]detect.Instance, 0, len(c.Config.Detectors))
	for _, d := range c.Config.Detectors {
		all = append(all, detect.Instance{
			Address: d.Address, Finite: d.Finite,
			Maker: eventlog.Maker{Plugin: d.Plugin, Connector: d.Connector, CursorVersion: d.CursorVersion},
		})
	}
	return all
}

// connectors are the settings of what decide asks for: answers and actions.
type connectors struct {
	enrich  enrich.Settings
	respond respond.Settings
}

func (c *Configuration) connectors() connectors {
	return connectors{c.Config.Enrich, c.Config.Respond}
}

// with adds what only the other has, so that it is known what decide asks for under
// either. Who is not internal under both is told nothing of the organisation's own: while
// one takes the other's place it is not known whom a question will reach.
func (c connectors) with(other connectors) connectors {
	known, internal := map[string]bool{}, map[string]bool{}
	out := connectors{respond: c.respond}
	for _, s := range slices.Concat(other.enrich.Sources, other.enrich.Shadows) {
		internal[s.Address] = s.Internal
	}
	stricter := func(s enrich.Source) enrich.Source {
		if is, ok := internal[s.Address]; ok {
			s.Internal = s.Internal && is
		}
		return s
	}
	for _, s := range c.enrich.Sources {
		s = stricter(s)
		known[s.Address] = true
		out.enrich.Sources = append(out.enrich.Sources, s)
	}
	for _, s := range other.enrich.Sources {
		if !known[s.Address] {
			out.enrich.Sources = append(out.enrich.Sources, s)
		}
	}
	shadows := map[string]bool{}
	for _, s := range slices.Concat(c.enrich.Shadows, other.enrich.Shadows) {
		if s = stricter(s); !shadows[s.Address] {
			shadows[s.Address] = true
			out.enrich.Shadows = append(out.enrich.Shadows, s)
		}
	}
	out.enrich.Own = func(o sdk.Observable) bool { return c.enrich.Own(o) || other.enrich.Own(o) }
	out.respond.Actions = map[string]respond.Action{}
	for _, settings := range []respond.Settings{other.respond, c.respond} {
		for address, a := range settings.Actions {
			out.respond.Actions[address] = a
		}
	}
	return out
}

// changes is the state of changing the configuration. One change is made at a time, by
// who has the turn.
type changes struct {
	turn    chan struct{}
	ready   chan struct{} // closed when the stages run
	life    context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // of what changes, and of what leaves

	mu             sync.Mutex
	now            *generation
	refusedAt      time.Time
	refusedBecause string
	leaving        []*leaver // in the order in which they left
	left           []leftSource
	lost           []lost
}

func newChanges(c Configuration, now time.Time) *changes {
	s := &changes{
		turn: make(chan struct{}, 1), ready: make(chan struct{}),
		now: &generation{Configuration: c, number: 1, since: now},
	}
	s.life, s.cancel = context.WithCancel(context.Background())
	return s
}

// begin waits for the turn, once the stages run. errStopping: nothing is changed any
// more.
func (s *changes) begin(ctx context.Context) error {
	for _, wait := range []<-chan struct{}{s.ready, nil} {
		turn := s.turn
		if wait != nil {
			turn = nil
		}
		select {
		case <-wait:
		case turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.life.Done():
			return errStopping
		}
	}
	if s.life.Err() != nil {
		<-s.turn
		return errStopping
	}
	return nil
}

func (s *changes) end() { <-s.turn }

// open lets changes begin.
func (s *changes) open() { close(s.ready) }

// close cuts a change that is under way, as far as it can be, waits for its end, and lets
// no other begin.
func (s *changes) close() {
	s.cancel()
	s.turn <- struct{}{} // for good
	s.running.Wait()
}

// generation in force.
func (s *changes) generation() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// force puts a configuration in force.
func (s *changes) force(c Configuration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = &generation{Configuration: c, number: s.now.number + 1, since: now}
	s.refusedAt, s.refusedBecause = time.Time{}, ""
}

// renew puts a configuration in force of which only a table's content is another.
func (s *changes) renew(c Configuration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = &generation{Configuration: c, number: s.now.number, since: s.now.since}
}

func (s *changes) refused(why string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusedAt, s.refusedBecause = now, why
}

// absolute is a path as a process with another working folder has it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (f *flow) hostSettings(c *Configuration) host.Settings {
	return host.Settings{
		PluginDir: c.PluginDir, LockFile: c.LockFile, Lock: c.Lock, Instances: c.Instances,
		StateDir: f.k.path(pluginsDir), RunDir: f.k.path(runDir), Timing: f.k.settings.timing,
		Attached: c.Attached,
		Private:  []string{absolute(f.k.settings.DataDir), absolute(c.Config.Kelpie.SecretsDir)},
	}
}
