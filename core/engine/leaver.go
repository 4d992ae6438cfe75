package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// leaveInterval is how often it is looked whether an action may go.
const leaveInterval = time.Second

// leaver is an action instance that is in force no more, and stays until it is needed for
// nothing: to undo what it holds, and to say what became of calls whose answer was lost.
type leaver struct {
	*host.Leaving
	settings respond.Action
	until    time.Time // it was in force until then
}

// commit puts a change of the host in force. From that moment on its actions are among
// those that leave: at no time is it unknown who did what.
func (s *changes) commit(before *generation, c *host.Change, at time.Time) (leaving []*host.Leaving, actions []*leaver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	leaving = c.Commit()
	for _, l := range leaving {
		if action, ok := before.Config.Respond.Actions[l.Address()]; ok {
			actions = append(actions, &leaver{Leaving: l, settings: action, until: at})
		}
	}
	s.leaving = append(s.leaving, actions...)
	return leaving, actions
}

// leave ends the instances that a change has taken out of force: at once, but for the
// calls under way, or when they are needed no more.
func (f *flow) leave(leaving []*host.Leaving, actions []*leaver) {
	for _, l := range leaving {
		if i := slices.IndexFunc(actions, func(a *leaver) bool { return a.Leaving == l }); i >= 0 {
			f.changes.running.Go(func() { f.seeOff(f.changes.life, actions[i]) })
			continue
		}
		f.changes.running.Go(func() { l.Retire(f.changes.life) })
	}
}

// seeOff ends an action when it is needed no more.
func (f *flow) seeOff(ctx context.Context, l *leaver) {
	for told := false; ; told = true {
		why, err := f.needed(ctx, l)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.logger.Warn("it can't be told yet whether an action is needed", "action", l.Address(), "error", err)
		case why == "":
			if f.changes.begin(ctx) != nil {
				return // all ends
			}
			f.changes.forget(l)
			f.connect(f.changes.generation().connectors())
			f.changes.end()
			l.Retire(ctx)
			return
		case !told:
			f.logger.Info("an action that is not in force any more stays for now", "action", l.Address(), "because", why)
		}
		if !pause(ctx, leaveInterval) {
			return
		}
	}
}

// needed tells why an action can't go yet; empty: it can.
func (f *flow) needed(ctx context.Context, l *leaver) (string, error) {
	const waits = "steps wait for what became of them"
	if !l.Replaced {
		pending, err := f.k.store.PendingActions(ctx)
		if err != nil {
			return "", err
		}
		if slices.Contains(pending, l.Address()) {
			return waits, nil
		}
	}
	// What it was called for may be held as soon as that is known.
	called, err := f.k.store.Called(ctx, l.Address())
	if err != nil {
		return "", err
	}
	for _, a := range called {
		if one, err := f.maker(l.Address(), a); err == nil && one == l {
			return waits, nil
		}
	}
	holds, err := f.k.store.Holds(ctx, false)
	if err != nil {
		return "", err
	}
	for _, h := range holds {
		if h.Action != l.Address() {
			continue
		}
		if one, err := f.did(ctx, h.Action, h.Intent); err != nil && !errors.Is(err, errGone) {
			return "", err
		} else if one == l {
			return "it holds " + strings.ReplaceAll(h.Verb, "_", " ") + " of " + h.Target.Value, nil
		}
	}
	return "", nil
}

// errGone means that who did something is not there to undo it or to tell of it.
var errGone = errors.New("who did it is not in the configuration any more, and can't be brought back")

// did tells which leaving instance did what an intent says; nil: the one in force.
func (f *flow) did(ctx context.Context, address, intent string) (*leaver, error) {
	_, attempts, err := f.k.store.Journal(ctx, intent)
	if err != nil {
		return nil, err
	}
	var last respond.Attempt
	if len(attempts) > 0 {
		last = attempts[len(attempts)-1]
	}
	return f.maker(address, last)
}

// maker tells the same of an attempt.
func (f *flow) maker(address string, last respond.Attempt) (*leaver, error) {
	s := f.changes
	s.mu.Lock()
	defer s.mu.Unlock()
	made := last.Maker.Instance
	for _, l := range s.leaving {
		if l.Address() == address && (made == "" || l.Key() == made) && last.Claimed.Before(l.until) {
			return l, nil
		}
	}
	if now, err := f.host.Action(address); made == "" || err == nil && now.Key() == made {
		return nil, nil
	}
	for _, l := range slices.Backward(s.leaving) {
		if l.Address() == address && l.Key() == made {
			return l, nil
		}
	}
	return nil, errGone
}

// withLeaving adds the actions that stay for undo alone, where none is in force. One that
// was replaced may be the last at its address: who replaced it can be gone before it.
func (s *changes) withLeaving(r respond.Settings) respond.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := r
	out.Actions = map[string]respond.Action{}
	for _, l := range s.leaving {
		a := l.settings
		a.UndoOnly = true
		out.Actions[l.Address()] = a
	}
	for address, a := range r.Actions {
		a.Others = slices.ContainsFunc(s.leaving, func(l *leaver) bool { return l.Address() == address })
		out.Actions[address] = a
	}
	return out
}

func (s *changes) forget(l *leaver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = slices.DeleteFunc(slices.Clone(s.leaving), func(o *leaver) bool { return o == l })
}

// actor is who a call is for: what is to be undone or asked about is so at the instance
// that did it. It fails with errGone if that is nowhere.
func (f *flow) actor(ctx context.Context, c respond.Call) (*host.Action, error) {
	did := c.Key
	if c.Undo {
		undo, err := f.k.store.Intent(ctx, c.Key)
		if err != nil {
			return nil, err
		}
		did = undo.Undoes
	}
	l, err := f.did(ctx, c.Action, did)
	switch {
	case err != nil:
		return nil, err
	case l != nil:
		return l.Action()
	}
	return f.host.Action(c.Action)
}

// status of the generation in force.
func (f *flow) generationStatus(ctx context.Context) *api.Generation {
	s := f.changes
	s.mu.Lock()
	g := &api.Generation{
		Config: s.now.hash(), Since: s.now.since, Number: s.now.number,
		RefusedAt: s.refusedAt, RefusedBecause: s.refusedBecause,
	}
	leaving := slices.Clone(s.leaving)
	s.mu.Unlock()
	for _, l := range leaving {
		why, err := f.needed(ctx, l)
		if err == nil && why == "" {
			why = "calls are under way"
		}
		g.Leaving = append(g.Leaving, api.LeavingAction{Address: l.Address(), Since: l.until, Because: why})
	}
	return g
}
