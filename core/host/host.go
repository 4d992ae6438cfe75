package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Host runs the plugins of one configuration.
type Host struct {
	settings    Settings
	run         *runDir
	instances   map[string]*instance
	supervisors []*supervisor

	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	started bool
	stopped bool
}

// New prepares a Host. It makes folders, and removes what hosts that were killed have
// left in RunDir; it starts nothing.
func New(s Settings, log *slog.Logger) (*Host, error) {
	s.Timing = s.Timing.withDefaults()
	if s.LockFile == "" {
		s.LockFile = "kelpie.lock.hcl"
	}
	h := &Host{settings: s, instances: map[string]*instance{}}
	groups := map[string][]*instance{}
	var order []string
	for _, in := range s.Instances {
		if h.instances[in.Address] != nil {
			return nil, fmt.Errorf("two instances have the address %s", in.Address)
		}
		if !strings.HasPrefix(in.Address, string(in.Kind)+".") || strings.ContainsAny(in.Address, "/\\\x00") {
			return nil, fmt.Errorf("%s %q: its address is not %s and a name", in.Kind, in.Address, in.Kind)
		}
		if !pluginName.MatchString(in.Plugin) {
			return nil, fmt.Errorf("%s: %q is no name of a plugin", in.Address, in.Plugin)
		}
		if in.Timeout <= 0 {
			in.Timeout = s.Timing.Call
		}
		i := &instance{Instance: in, scrub: newScrubber(in.Secrets), state: Starting, since: time.Now()}
		h.instances[in.Address] = i
		id := identity(in)
		if groups[id] == nil {
			order = append(order, id)
		}
		groups[id] = append(groups[id], i)
	}
	run, err := openRunDir(s.RunDir)
	if err != nil {
		return nil, err
	}
	h.run = run
	for _, id := range order {
		h.supervisors = append(h.supervisors, h.supervise(groups[id], log))
	}
	return h, nil
}

// supervise makes the supervisor of instances that share a process.
func (h *Host) supervise(instances []*instance, log *slog.Logger) *supervisor {
	name := instances[0].Plugin
	log = log.With("plugin", name)
	var secrets, addresses []string
	for _, i := range instances {
		secrets = append(secrets, i.Secrets...)
		addresses = append(addresses, i.Address)
	}
	s := newSupervisor(launch{
		name: name, path: pluginPath(h.settings.PluginDir, name), env: environment(instances[0].Env, log),
		instances: addresses, run: h.run, scrub: newScrubber(secrets), log: log, timing: h.settings.Timing,
		lock: func(path, sum string) error { return h.settings.Lock.verify(name, path, sum, h.settings.LockFile) },
	}, h.settings.StateDir)
	for _, i := range instances {
		i.owner = s
	}
	s.instances = instances
	return s
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
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started || h.stopped {
		return nil, errors.New("host is started once")
	}
	h.started = true
	if err := os.MkdirAll(h.settings.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the plugins' state: %w", err)
	}
	life, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	for _, s := range h.supervisors {
		h.running.Go(func() { s.run(life) })
	}
	var found []Diagnostic
	for _, s := range h.supervisors {
		select {
		case <-s.first:
			found = append(found, s.complaints()...)
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
	slices.SortStableFunc(found, func(a, b Diagnostic) int { return cmp.Compare(a.Instance, b.Instance) })
	return found, nil
}

// complaints of the first start.
func (s *supervisor) complaints() []Diagnostic {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starts > 0 {
		return slices.Clone(s.diagnostics)
	}
	var found []Diagnostic
	for _, i := range s.instances {
		found = append(found, Diagnostic{
			Instance: i.Address, Summary: fmt.Sprintf("plugin %q does not start", s.launch.name), Detail: s.lastError,
		})
	}
	return found
}

// Stop ends every process before ctx's deadline (or, without one, Timing.Stop): calls
// in flight may finish, instances are closed, and what then still runs is killed. It
// returns when all are gone. It may be called more than once, and without Start.
func (h *Host) Stop(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil
	}
	h.stopped = true
	deadline := time.Now().Add(h.settings.Timing.Stop)
	if d, ok := ctx.Deadline(); ok {
		deadline = d
	}
	for _, s := range h.supervisors {
		s.mu.Lock()
		s.deadline = deadline
		s.announce()
		s.mu.Unlock()
	}
	if h.cancel != nil {
		// A process that was ending already may have more time than there is now.
		last := time.AfterFunc(time.Until(stagesUntil(time.Now(), deadline).told), func() {
			for _, s := range h.supervisors {
				s.kill()
			}
		})
		h.cancel()
		h.running.Wait()
		last.Stop()
	}
	for _, s := range h.supervisors {
		s.set(Stopped, nil)
	}
	return h.run.close()
}

// Restart starts a plugin's processes anew, whatever state they are in: those that
// run end in good order first.
func (h *Host) Restart(plugin string) error {
	known := false
	for _, s := range h.supervisors {
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

// Status of every process, by plugin and then first instance.
func (h *Host) Status() []Status {
	all := make([]Status, 0, len(h.supervisors))
	for _, s := range h.supervisors {
		all = append(all, s.status())
	}
	slices.SortStableFunc(all, func(a, b Status) int { return cmp.Compare(a.Plugin, b.Plugin) })
	return all
}

func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{
		Plugin: s.launch.name, Version: s.about.Version, Path: s.launch.path, SHA256: s.sha256,
		PID: s.pid, State: s.state, Since: s.since, Restarts: max(0, s.starts-1),
		LastError: s.lastError, ErrorAt: s.errorAt, Tail: slices.Clone(s.tail), DroppedLogs: s.dropped,
	}
	if s.process != nil {
		out.DroppedLogs += s.process.runner.output.dropped.Load()
	}
	for _, i := range s.instances {
		one := InstanceStatus{Address: i.Address, State: i.state, Since: i.since, Trouble: i.trouble}
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
	i := h.instances[address]
	if i == nil || i.Kind != kind {
		return nil, fmt.Errorf("%s %s: %w", kind, address, ErrUnknown)
	}
	return i, nil
}
