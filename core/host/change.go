package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

const (
	// abandonStop bounds the end of what was started in vain.
	abandonStop = 2 * time.Second
	// closeLimit bounds the Close of an instance whose process lives on.
	closeLimit = 3 * time.Second
)

// Change is another set of instances, which run beside those in force until it is
// committed or abandoned; one of the two must come.
type Change struct {
	host     *Host
	settings Settings
	next     map[string]*instance
	joined   map[*supervisor][]*instance // new ones in processes that were there
	started  []*supervisor               // of new processes
}

// plan finds out what has to be made for other settings, and makes the instances of it.
func (h *Host) plan(s Settings) (*Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.StateDir, s.RunDir, s.Timing, s.Attached = h.settings.StateDir, h.settings.RunDir, h.settings.Timing, h.settings.Attached
	if s.LockFile == "" {
		s.LockFile = "kelpie.lock.hcl"
	}
	c := &Change{host: h, settings: s, next: map[string]*instance{}, joined: map[*supervisor][]*instance{}}
	groups := map[string][]*instance{} // of new processes
	var order []string
	for _, in := range s.Instances {
		if in.Timeout <= 0 {
			in.Timeout = s.Timing.Call
		}
		if _, ok := s.Attached[in.Plugin]; ok {
			in.Timeout = AttachedPatience
		}
		if err := c.check(in); err != nil {
			return nil, err
		}
		id := s.identity(in)
		if old := h.instances[in.Address]; old != nil && old.owner.identity == id && old.equal(in) {
			c.next[in.Address] = old
			continue
		}
		i := h.newInstance(in)
		c.next[in.Address] = i
		if at := slices.IndexFunc(h.supervisors, func(s *supervisor) bool { return s.serves(id, i.need) }); at >= 0 {
			c.joined[h.supervisors[at]] = append(c.joined[h.supervisors[at]], i)
			continue
		}
		if groups[id] == nil {
			order = append(order, id)
		}
		groups[id] = append(groups[id], i)
	}
	if h.changing {
		return nil, errors.New("another change is under way")
	}
	h.changing = true
	for s := range c.joined {
		s.joining++
	}
	for _, id := range order {
		one := h.supervise(&c.settings, id, groups[id])
		one.prepared = true
		c.started = append(c.started, one)
	}
	h.supervisors = append(h.supervisors, c.started...)
	return c, nil
}

// serves tells whether a process may get an instance. The caller holds Host.mu.
func (s *supervisor) serves(identity string, need allowance) bool {
	return s.identity == identity && !s.ending && (s.launch.attached != nil || s.launch.held.may.covers(need))
}

// check holds an instance to what the Host relies on.
func (c *Change) check(in Instance) error {
	switch {
	case c.next[in.Address] != nil:
		return fmt.Errorf("two instances have the address %s", in.Address)
	case !strings.HasPrefix(in.Address, string(in.Kind)+".") || strings.ContainsAny(in.Address, "/\\\x00"):
		return fmt.Errorf("%s %q: its address is not %s and a name", in.Kind, in.Address, in.Kind)
	case !pluginName.MatchString(in.Plugin):
		return fmt.Errorf("%s: %q is no name of a plugin", in.Address, in.Plugin)
	}
	return nil
}

// newInstance makes an instance that no process serves yet. The caller holds mu.
func (h *Host) newInstance(in Instance) *instance {
	name := in.Address
	if n := h.named[in.Address]; n > 0 {
		name += "~" + strconv.Itoa(n)
	}
	h.named[in.Address]++
	if h.tallies[in.Address] == nil {
		h.tallies[in.Address] = &tally{}
	}
	i := &instance{Instance: in, name: name, scrub: newScrubber(in.Secrets), tally: h.tallies[in.Address], state: Starting, since: time.Now()}
	i.need, i.unclear = in.need(h.settings.StateDir)
	return i
}

// equal tells whether an instance need not be made anew.
func (i *instance) equal(in Instance) bool {
	return i.Kind == in.Kind && i.Plugin == in.Plugin && i.Connector == in.Connector && i.Own == in.Own &&
		i.Timeout == in.Timeout && bytes.Equal(i.Config, in.Config) && bytes.Equal(i.Connection, in.Connection)
}

// Prepare starts and configures, beside what runs, the instances of other settings; of
// these PluginDir, LockFile, Lock and Instances count. An instance that is as it was,
// with the same executable, is left alone. Of the diagnostics one that is no warning,
// or an error, means that there is no Change, and that all is as it was.
func (h *Host) Prepare(ctx context.Context, s Settings) (*Change, []Diagnostic, error) {
	c, err := h.plan(s)
	if err != nil {
		return nil, nil, err
	}
	found := inOrder(c.start(ctx))
	failed := slices.ContainsFunc(found, func(d Diagnostic) bool { return !d.Warning })
	if failed || ctx.Err() != nil {
		c.Abandon()
		return nil, found, ctx.Err()
	}
	return c, found, nil
}

// start starts what is new, all at once, and returns what is wrong with it.
func (c *Change) start(ctx context.Context) []Diagnostic {
	var mu sync.Mutex
	var all []Diagnostic
	var starting sync.WaitGroup
	gather := func(do func() []Diagnostic) {
		starting.Go(func() {
			found := do()
			mu.Lock()
			defer mu.Unlock()
			all = append(all, found...)
		})
	}
	for s, instances := range c.joined {
		gather(func() []Diagnostic { return s.join(ctx, instances) })
	}
	for _, s := range c.started {
		c.host.launch(s)
		gather(func() []Diagnostic { return s.firstStart(ctx) })
	}
	starting.Wait()
	return all
}

// firstStart waits until the process has been tried once.
func (s *supervisor) firstStart(ctx context.Context) []Diagnostic {
	select {
	case <-s.first:
		return s.complaints()
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.notRunning(s.instances)
	for n := range found {
		found[n].Detail = "It was not up in time."
	}
	return found
}

// join configures further instances in the process that runs, beside those that it
// has. Where a diagnostic is an error it may have some of them and others not.
func (s *supervisor) join(ctx context.Context, instances []*instance) []Diagnostic {
	p, found := s.awaitProcess(ctx, instances)
	if p == nil {
		return found
	}
	s.launch.roster.join(instances...)
	for _, i := range instances {
		i.owner = s
	}
	found = s.configure(ctx, p, instances)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != p || p.endsWithin(0) {
		return append(found, s.notRunning(instances)...)
	}
	s.instances = append(slices.Clip(s.instances), instances...)
	s.announce()
	return found
}

// awaitProcess waits until the process runs, or says for the instances why it does not.
func (s *supervisor) awaitProcess(ctx context.Context, instances []*instance) (*process, []Diagnostic) {
	for {
		s.mu.Lock()
		p, state, changed := s.process, s.state, s.changed
		if p != nil && !p.endsWithin(0) {
			s.mu.Unlock()
			return p, nil
		}
		found := s.notRunning(instances)
		s.mu.Unlock()
		for n := range found {
			found[n].Summary = fmt.Sprintf("plugin %q is not running", s.launch.name)
		}
		if state == Failed || state == Stopped {
			return nil, found
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, found
		}
	}
}

// What becomes of an instance.
const (
	Added    = "added"
	Changed  = "changed"
	Replaced = "replaced" // it is served by another process: the executable or the environment is another
	Removed  = "removed"
	Kept     = "kept"
)

// Effects tells by address what the Change does to each instance, before it is
// committed.
func (c *Change) Effects() map[string]string {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	effects := map[string]string{}
	for address, old := range h.instances {
		next := c.next[address]
		switch {
		case next == nil:
			effects[address] = Removed
		case next == old:
			effects[address] = Kept
		case next.owner != old.owner:
			effects[address] = Replaced
		default:
			effects[address] = Changed
		}
	}
	for address := range c.next {
		if h.instances[address] == nil {
			effects[address] = Added
		}
	}
	return effects
}

// Offer lets the Change's instances be called at the addresses that the Host has not
// had; all others stay as they are.
func (c *Change) Offer() {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offered = map[string]*instance{}
	for address, i := range c.next {
		if h.instances[address] == nil {
			h.offered[address] = i
		}
	}
}

// Commit puts the Change in force: every address gives its instance from now on. It
// returns the instances that are not in force any more, by address. They go on with
// the calls and sessions that they have; the caller ends each with Retire.
func (c *Change) Commit() []*Leaving {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	var leaving []*Leaving
	for address, old := range h.instances {
		if c.next[address] != old {
			leaving = append(leaving, &Leaving{host: h, instance: old, Replaced: c.next[address] != nil})
		}
	}
	slices.SortFunc(leaving, func(a, b *Leaving) int { return strings.Compare(a.Address(), b.Address()) })
	h.instances = c.next
	h.ended(c)
	return leaving
}

// ended takes a Change out of the Host's way. The caller holds mu.
func (h *Host) ended(c *Change) {
	h.offered, h.changing = nil, false
	for s := range c.joined {
		s.joining--
	}
	for _, s := range c.started {
		s.prepared = false
	}
	for address := range h.tallies {
		if h.instances[address] == nil {
			delete(h.tallies, address)
		}
	}
}

// Abandon ends all that was started for the Change; what is in force is as it was. It
// returns when that has happened.
func (c *Change) Abandon() {
	h := c.host
	h.mu.Lock()
	for _, s := range c.started {
		s.ending = true
	}
	h.offered = nil
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), abandonStop)
	defer cancel()
	var ending sync.WaitGroup
	for _, s := range c.started {
		ending.Go(func() { h.end(s, abandonStop) })
	}
	for s, instances := range c.joined {
		for _, i := range instances {
			if i.owner == nil {
				continue // it never came so far
			}
			s.part(i)
			ending.Go(func() { s.close(ctx, i) })
		}
	}
	ending.Wait()
	h.mu.Lock()
	h.ended(c)
	h.mu.Unlock()
	for s := range c.joined {
		h.release(s)
	}
}

// part takes an instance out of a process: no call of it begins any more.
func (s *supervisor) part(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.state, i.since, i.trouble = Stopped, time.Now(), ""
	s.instances = slices.DeleteFunc(slices.Clone(s.instances), func(o *instance) bool { return o == i })
	s.announce()
}

// close tells the process, if it lives, that an instance is over.
func (s *supervisor) close(ctx context.Context, i *instance) {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p != nil && !p.endsWithin(0) {
		// A process that does not answer is found out by its health.
		_, _ = p.api.Close(ctx, &pluginv1.CloseRequest{Instance: i.name})
	}
	s.launch.roster.leave(i)
}

// release ends a process that serves nobody any more.
func (h *Host) release(s *supervisor) {
	h.mu.Lock()
	idle := !s.ending && s.joining == 0 && len(s.members()) == 0
	s.ending = s.ending || idle
	h.mu.Unlock()
	if idle {
		h.end(s, h.settings.Timing.Stop)
	}
}

// end ends a process and forgets it. It is in good order as far as patience lasts.
func (h *Host) end(s *supervisor, patience time.Duration) {
	s.mu.Lock()
	if s.deadline.IsZero() {
		s.deadline = time.Now().Add(patience)
		s.announce()
	}
	s.mu.Unlock()
	s.cancel()
	<-s.done
	h.mu.Lock()
	defer h.mu.Unlock()
	h.supervisors = slices.DeleteFunc(h.supervisors, func(o *supervisor) bool { return o == s })
}

// Leaving is an instance that is not in force any more.
type Leaving struct {
	// Replaced: another one has its address now.
	Replaced bool

	host     *Host
	instance *instance
}

// Recall starts an instance that is not in force, beside those that are, for who has to
// undo what it did before the Host was there. The Host must have started. It does not
// wait for the plugin, which is tried again if it does not start.
func (h *Host) Recall(in Instance) (*Leaving, error) {
	h.mu.Lock()
	if in.Timeout <= 0 {
		in.Timeout = h.settings.Timing.Call
	}
	if err := (&Change{}).check(in); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	i := h.newInstance(in)
	s := h.supervise(&h.settings, h.settings.identity(in), []*instance{i})
	h.supervisors = append(h.supervisors, s)
	l := &Leaving{host: h, instance: i, Replaced: h.instances[in.Address] != nil}
	h.mu.Unlock()
	h.launch(s)
	return l, nil
}

// Key of the instance; see Instance.
func (l *Leaving) Key() string { return l.instance.Key }

// Address that it had, "action.edr".
func (l *Leaving) Address() string { return l.instance.Address }

// Action is what it was, for who has to undo what it did; an error if it was none.
func (l *Leaving) Action() (*Action, error) {
	if l.instance.Kind != "action" {
		return nil, fmt.Errorf("%s: %w", l.instance.Address, ErrUnknown)
	}
	return &Action{l.instance}, nil
}

// Retire ends the instance: it takes no more calls, those in flight may finish, and it is
// closed. The process ends if it serves nobody else. It returns when all that has
// happened; if ctx ends before, at once, and the rest is left to the Host's Stop.
func (l *Leaving) Retire(ctx context.Context) {
	i, s := l.instance, l.instance.owner
	s.part(i)
	select {
	case <-i.calls.drained():
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	s.close(closing, i)
	if ctx.Err() == nil {
		l.host.release(s)
	}
}
