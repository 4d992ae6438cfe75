package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// lost is an action that holds something and can't be brought back.
type lost struct {
	address string
	because string
}

// recall brings back the actions that are in force no more and that are needed for what
// they hold, or to say what became of calls whose answer was lost: each by its block as
// it was, from the configuration that the store has. Decide must have read INPUTS to its
// end, so that it is known what is held.
func (f *flow) recall(ctx context.Context) error {
	needed, err := f.k.store.Makers(ctx)
	if err != nil {
		return err
	}
	for _, n := range needed {
		now, err := f.host.Action(n.Action)
		if n.Maker.Instance == "" || err == nil && now.Key() == n.Maker.Instance {
			continue
		}
		l, err := f.bringBack(ctx, n.Action, n.Maker)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.logger.Error("an action that still holds something can't be brought back; its undo comes before a person", "action", n.Action, "reason", err)
			f.changes.mu.Lock()
			f.changes.lost = append(f.changes.lost, lost{n.Action, err.Error()})
			f.changes.mu.Unlock()
			continue
		}
		f.changes.mu.Lock()
		f.changes.leaving = append(f.changes.leaving, l)
		f.changes.mu.Unlock()
		f.changes.running.Go(func() { f.seeOff(f.changes.life, l) })
	}
	f.responder.Apply(f.changes.withLeaving(f.responder.Settings))
	return nil
}

// bringBack starts an instance as an earlier configuration has it. Its plugin must still
// be locked, and its secrets there.
func (f *flow) bringBack(ctx context.Context, address string, m respond.Maker) (*leaver, error) {
	version, err := f.k.store.ConfigVersion(ctx, m.Config)
	if err != nil {
		return nil, fmt.Errorf("the configuration of then: %w", err)
	}
	src, err := config.DecodeSource(version.Text)
	if err != nil {
		return nil, fmt.Errorf("the configuration of then: %w", err)
	}
	src.Dir = f.options.Config.Source.Dir // the text is the same wherever it lies
	c, diags := config.Parse(src)
	if diags.HasErrors() {
		return nil, fmt.Errorf("the configuration of then is none for this Kelpie: %s", firstError(diags))
	}
	if f.options.Secrets == nil {
		return nil, errors.New("there are no secrets")
	}
	instances, diags := c.ResolveOne(address, f.options.Secrets)
	switch {
	case diags.HasErrors():
		return nil, errors.New(firstError(diags))
	case len(instances) != 1 || instances[0].Key != m.Instance:
		return nil, errors.New("the configuration of then does not have it")
	case !slices.ContainsFunc(f.options.Lock.Plugins, func(p host.LockedPlugin) bool { return p.Name == instances[0].Plugin }):
		return nil, fmt.Errorf("its plugin %q is not locked any more", instances[0].Plugin)
	}
	l, err := f.host.Recall(instances[0])
	if err != nil {
		return nil, err
	}
	f.logger.Info("an action that is not in force any more was brought back for what it holds", "action", address, "plugin", instances[0].Plugin)
	return &leaver{Leaving: l, settings: c.Respond.Actions[address], until: f.began}, nil
}

// troubles of actions that could not be brought back and are needed still.
func (s *changes) troubles(held []string) []api.Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []api.Trouble
	for _, l := range s.lost {
		if !slices.Contains(held, l.address) {
			continue
		}
		all = append(all, api.Trouble{
			What:  fmt.Sprintf("%s holds something that another plugin or configuration did, and that can't be brought back: %s", l.address, l.because),
			Waits: "the end of what it holds",
			Do:    "put back what is missing and start again; or end it by hand, and say so: \"kelpie held\" names it",
		})
	}
	return all
}
