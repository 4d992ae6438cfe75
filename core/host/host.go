package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Host runs plugin processes. Which instances they serve is for the Change in force to
// say; processes and instances that a Change leaves as they were live on.
type Host struct {
	settings Settings // of New: StateDir, RunDir, Timing and Attached hold for good
	kernel   kernel
	run      *runDir
	log      *slog.Logger

	order   sync.Mutex // of Start and Stop
	started bool
	stopped bool
	life    context.Context // of the processes
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu          sync.Mutex
	instances   map[string]*instance // in force, by address
	offered     map[string]*instance // of a Change that is not in force yet, at addresses that are new
	named       map[string]int       // how many instances an address has had
	tallies     map[string]*tally    // of the addresses in force, and of those that a Change brings
	supervisors []*supervisor        // of all processes, also of those that are to come or to go
	changing    bool                 // a Change was prepared, and is neither in force nor abandoned
}

// New prepares a Host. It makes folders, and removes what hosts that were killed have
// left in RunDir; it starts nothing.
func New(s Settings, log *slog.Logger) (*Host, error) {
	s.Timing = s.Timing.withDefaults()
	var err error
	if s.StateDir, err = filepath.Abs(s.StateDir); err != nil { // a plugin has a working folder of its own
		return nil, fmt.Errorf("folder of the plugins' state: %w", err)
	}
	h := &Host{settings: s, kernel: askKernel(), log: log, named: map[string]int{}, tallies: map[string]*tally{}}
	h.life, h.cancel = context.WithCancel(context.Background())
	if h.run, err = openRunDir(s.RunDir); err != nil {
		return nil, err
	}
	c, err := h.plan(s)
	if err != nil {
		return nil, errors.Join(err, h.run.close())
	}
	c.Commit()
	return h, nil
}

// supervise makes the supervisor of instances that share a process.
func (h *Host) supervise(s *Settings, identity string, instances []*instance) *supervisor {
	name, lock, file := instances[0].Plugin, s.Lock, s.LockFile
	log := h.log.With("plugin", name)
	r := newRoster()
	r.join(instances...)
	held := &confinement{
		off: instances[0].Confinement.Off, private: append([]string{h.settings.StateDir}, s.Private...),
		user: instances[0].Confinement.User, limits: instances[0].Confinement.Limits,
	}
	for _, i := range instances {
		held.may = held.may.with(i.need)
	}
	l := launch{
		name: name, own: lock.own(name), fetch: lock.fetch(name), path: s.path(instances[0].Instance), env: environment(instances[0].Env, log),
		roster: r, run: h.run, log: log, timing: h.settings.Timing,
		lock:   func(path, sum string) error { return lock.verify(name, path, sum, file) },
		kernel: h.kernel, held: held,
	}
	if a, ok := s.Attached[name]; ok {
		held.off = true // who started it has said what it may
		l.attached, l.path, l.timing = &a, a.Socket, l.timing.patient()
	}
	one := newSupervisor(l, h.settings.StateDir)
	one.identity, one.instances = identity, instances
	for _, i := range instances {
		i.owner = one
	}
	return one
}

// environment of a process: what its blocks declare, and which lines we would log.
func environment(declared []string, log *slog.Logger) []string {
	return append([]string{sdk.LogLevelEnv + "=" + levelName(log)}, declared...)
}

// Start starts every process and configures every instance, all at once. It returns
// when each has been tried once, or ctx ends, with what is wrong: complaints of
// plugins about their blocks, and for each instance whose plugin does not run, why.
// Whatever the diagnostics say, the Host goes on, and tries again what failed; a
// caller that does not want that calls Stop.
func (h *Host) Start(ctx context.Context) ([]Diagnostic, error) {
	h.order.Lock()
	defer h.order.Unlock()
	if h.started || h.stopped {
		return nil, errors.New("host is started once")
	}
	h.started = true
	if err := os.MkdirAll(h.settings.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the plugins' state: %w", err)
	}
	all := h.processes()
	h.tellConfinement(all)
	for _, s := range all {
		h.launch(s)
	}
	var found []Diagnostic
	for _, s := range all {
		select {
		case <-s.first:
			found = append(found, s.complaints()...)
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
	return inOrder(found), nil
}

// launch keeps a process running until the Host stops or it is ended.
func (h *Host) launch(s *supervisor) {
	ctx, cancel := context.WithCancel(h.life)
	s.cancel = cancel
	h.running.Go(func() {
		defer close(s.done)
		defer cancel()
		s.run(ctx)
	})
}

func inOrder(found []Diagnostic) []Diagnostic {
	slices.SortStableFunc(found, func(a, b Diagnostic) int { return cmp.Compare(a.Instance, b.Instance) })
	return found
}

// complaints of the first start.
func (s *supervisor) complaints() []Diagnostic {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starts > 0 {
		return slices.Clone(s.diagnostics)
	}
	return s.notRunning(s.instances)
}

// notRunning complains for instances whose plugin does not run. The caller holds mu.
func (s *supervisor) notRunning(instances []*instance) []Diagnostic {
	var found []Diagnostic
	for _, i := range instances {
		found = append(found, Diagnostic{
			Instance: i.Address, Summary: fmt.Sprintf("plugin %q does not start", s.launch.name), Detail: s.lastError,
		})
	}
	return found
}

// Stop ends every process before ctx's deadline (or, without one, Timing.Stop): calls
// in flight may finish, instances are closed, and what then still runs is killed. It
// returns when all are gone. It may be called more than once, and without Start; not
// while Prepare or Retire run, which end when their contexts do.
func (h *Host) Stop(ctx context.Context) error {
	h.order.Lock()
	defer h.order.Unlock()
	if h.stopped {
		return nil
	}
	h.stopped = true
	deadline := time.Now().Add(h.settings.Timing.Stop)
	if d, ok := ctx.Deadline(); ok {
		deadline = d
	}
	all := h.processes()
	for _, s := range all {
		s.stopBy(deadline)
	}
	if h.started {
		// A process that was ending already may have more time than there is now.
		last := time.AfterFunc(time.Until(stagesUntil(time.Now(), deadline).told), func() {
			for _, s := range all {
				s.kill()
			}
		})
		h.cancel()
		h.running.Wait()
		last.Stop()
	}
	h.cancel()
	for _, s := range all {
		s.set(Stopped, nil)
	}
	return h.run.close()
}

// processes that there are.
func (h *Host) processes() []*supervisor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.supervisors)
}

// Restart starts a plugin's processes anew, whatever state they are in: those that
// run end in good order first.
func (h *Host) Restart(plugin string) error {
	known := false
	for _, s := range h.processes() {
		if s.launch.name != plugin {
			continue
		}
		known = true
		select {
		case s.restart <- struct{}{}:
		default: // asked already
		}
	}
	if !known {
		return fmt.Errorf("plugin %q: %w", plugin, ErrUnknown)
	}
	return nil
}

// Status of every process, by plugin and then first instance. What a Change that is
// not in force has started is not in it.
func (h *Host) Status() []Status {
	h.mu.Lock()
	var shown []*supervisor
	for _, s := range h.supervisors {
		if !s.prepared {
			shown = append(shown, s)
		}
	}
	inForce := h.instances
	h.mu.Unlock()
	all := make([]Status, 0, len(shown))
	for _, s := range shown {
		all = append(all, s.status(inForce))
	}
	slices.SortStableFunc(all, func(a, b Status) int { return cmp.Compare(a.Plugin, b.Plugin) })
	return all
}

func (s *supervisor) status(inForce map[string]*instance) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{
		Plugin: s.launch.name, Version: s.about.Version, Path: s.launch.path, SHA256: s.sha256,
		PID: s.pid, State: s.state, Since: s.since, Restarts: max(0, s.starts-1),
		LastError: s.lastError, ErrorAt: s.errorAt, Why: s.why, Line: s.line, Tail: slices.Clone(s.tail), DroppedLogs: s.dropped, Behind: s.behind,
		Confined: s.launch.confined(s.process),
	}
	if a := s.launch.attached; a != nil {
		out.Attached = true
		if s.process != nil && s.starts == 1 { // the next one is another
			out.PID = a.PID
		}
	}
	if s.process != nil {
		out.DroppedLogs += s.process.runner.output.dropped.Load()
	}
	for _, i := range s.instances {
		t := i.tally
		one := InstanceStatus{
			Address: i.Address, State: i.state, Since: i.since, Trouble: i.trouble, Leaving: inForce[i.Address] != i,
			Calls: t.read(), Restarts: int(t.restarts.Load()), Ending: t.ending.Load(), Failure: t.failure.Load(), Quota: t.readQuota(),
			InFlight: int(t.flying.Load()), Waiting: int(t.waiting.Load()),
		}
		if s.state != Running {
			one.State, one.Since, one.Trouble = s.state, s.since, ""
		}
		out.Instances = append(out.Instances, one)
	}
	return out
}

// Detector with this address.
func (h *Host) Detector(address string) (*Detector, error) {
	i, err := h.instance(address, model.Detector)
	return &Detector{i}, err
}

// Enricher with this address.
func (h *Host) Enricher(address string) (*Enricher, error) {
	i, err := h.instance(address, model.Enrichment)
	return &Enricher{i}, err
}

// Action with this address.
func (h *Host) Action(address string) (*Action, error) {
	i, err := h.instance(address, model.Action)
	return &Action{i}, err
}

func (h *Host) instance(address string, kind model.ConnectorKind) (*instance, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.instances[address]
	if i == nil {
		i = h.offered[address]
	}
	if i == nil || i.Kind != kind {
		return nil, fmt.Errorf("%s %s: %w", kind, address, ErrUnknown)
	}
	return i, nil
}
