package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

const (
	// connectorSwitch bounds the wait for enrich to take up other settings, and
	// detectorSwitch that for sessions to end: longer than a session has for it.
	connectorSwitch = 30 * time.Second
	detectorSwitch  = 30 * time.Second
	// decidedInterval is how often it is looked whether decide has come to a change.
	decidedInterval = 5 * time.Millisecond
)

// change puts a configuration in force whose instances run already. An error means that
// the one before holds as it did. The order is such that nothing is asked of who does not
// know it: what is new is known before decide can want it, and what is gone is known
// until decide wants it no more; events are matched by the new rules when INPUTS has
// them.
func (f *flow) change(ctx context.Context, next Configuration, c *host.Change) error {
	now := f.changes.generation()
	if _, sick := f.k.log.Sick(); sick != nil {
		c.Abandon()
		return errLogSick
	}
	back := func(err error) error {
		f.connect(now.connectors())
		c.Abandon()
		return err
	}
	c.Offer()
	f.connect(now.connectors().with(next.connectors()))
	seq, err := f.announceChange(ctx, now, next)
	if err != nil {
		return back(err)
	}

	at := f.k.clock.now()
	f.stayBehind(now, next)
	f.rematch(next)
	leaving, actions := f.changes.commit(now, c, at)
	f.connect(next.connectors().with(now.connectors()))
	f.changes.force(next, at)
	f.answering.changed()
	f.detect(ctx, next, leaving)

	f.decided(ctx, seq)
	f.leave(leaving, actions)
	f.connect(next.connectors())
	return nil
}

// connect gives enrich and respond their settings. Actions that are to go stay, for undo
// alone.
func (f *flow) connect(c connectors) {
	ctx, cancel := context.WithTimeout(f.changes.life, connectorSwitch)
	defer cancel()
	f.responder.Apply(f.changes.withLeaving(c.respond))
	if err := f.enricher.Apply(ctx, c.enrich); err != nil && f.changes.life.Err() == nil {
		f.logger.Error("enrichments have not taken up their settings yet", "error", err)
	}
}

// announceChange writes the configuration into INPUTS, from which decide takes it, and
// gives its sequence; 0 if decide has it already. While it is not known whether it was
// written it is written again, since nobody could say by which configuration is decided.
func (f *flow) announceChange(ctx context.Context, now *generation, next Configuration) (uint64, error) {
	if now.hash() == next.hash() {
		return 0, nil
	}
	version, err := next.Config.Source.Version()
	if err != nil {
		return 0, err
	}
	if err := f.k.tables.put(next.Config); err != nil {
		return 0, err
	}
	for told := false; ; told = true {
		seq, err := f.people.input(ctx, model.Input{Config: &version})
		switch {
		case err == nil:
			return seq, nil
		case errors.Is(err, eventlog.ErrFull):
			return 0, errInputsFull
		case errors.Is(err, eventlog.ErrTooLarge):
			return 0, fmt.Errorf("the configuration is too large: %w", err)
		case ctx.Err() != nil, errors.Is(err, eventlog.ErrClosed):
			return 0, errStopping
		case !told:
			f.logger.Error("the log does not say whether it has the new configuration; it is asked again", "error", err)
		}
		if !pause(ctx, healthInterval) {
			return 0, errStopping
		}
	}
}

// leftSource is a detector that is gone, and how what it had reported is matched.
type leftSource struct {
	source match.Source
	// until which sequence of EVENTS there are messages of it; 0: it may report yet.
	until uint64
}

// stayBehind keeps the rules for detectors that are going, for connectors in whose place
// another one comes, and for what comes to be, or to be no longer, a shadow: what they have
// reported is matched as it would have been.
func (f *flow) stayBehind(now *generation, next Configuration) {
	acked := uint64(0)
	if st, err := f.k.log.Stats(f.changes.life); err == nil { // if not, the next change looks
		acked = st.EventsAcked
	}
	makers := func(c *Configuration) map[string]string {
		all := map[string]string{}
		for _, in := range c.detectors() {
			all[in.Address] = in.Maker.Name()
		}
		return all
	}
	was, wanted := makers(&now.Configuration), makers(&next)
	reported := f.reportedBefore(now, next)
	f.changes.mu.Lock()
	defer f.changes.mu.Unlock()
	var left []leftSource
	for _, l := range f.changes.left {
		is := wanted[l.source.Detector]
		needed := is == "" || l.source.Maker != "" && l.source.Maker != is || l.source.Until > 0
		if needed && (l.until == 0 || l.until > acked) {
			left = append(left, l)
		}
	}
	for _, s := range now.Config.Match.Sources {
		if is := wanted[s.Detector]; is != was[s.Detector] {
			if is != "" {
				s.Maker = was[s.Detector]
			}
			s.Version = now.hash()
			left = append(left, leftSource{source: s})
			continue
		}
		if until := reported[s.Detector]; until > acked {
			s.Until, s.Version = until, now.hash()
			left = append(left, leftSource{source: s, until: until})
		}
	}
	f.changes.left = left
}

// reportedBefore gives, for each detector that comes to be, or to be no longer, a shadow,
// the sequence of EVENTS of the last that it has reported as what it was.
func (f *flow) reportedBefore(now *generation, next Configuration) map[string]uint64 {
	becomes := map[string]match.Source{}
	for _, s := range next.Config.Match.Sources {
		becomes[s.Detector] = s
	}
	last := map[string]uint64{}
	for _, s := range now.Config.Match.Sources {
		if to, ok := becomes[s.Detector]; !ok || to.Shadow == s.Shadow {
			continue
		}
		_, seq, err := f.k.log.Last(f.changes.life, s.Detector)
		if err != nil {
			f.logger.Error("it can't be told what a detector had reported before it became, or was no longer, a shadow; what is not matched yet is taken as of now", "instance", s.Detector, "error", err)
			continue
		}
		last[s.Detector] = seq
	}
	return last
}

// rematch gives match its rules.
func (f *flow) rematch(next Configuration) {
	settings := next.Config.Match
	f.changes.mu.Lock()
	if len(f.changes.left) > 0 {
		settings.Sources = append([]match.Source{}, settings.Sources...)
		for _, l := range f.changes.left {
			settings.Sources = append(settings.Sources, l.source)
		}
	}
	f.changes.mu.Unlock()
	for _, m := range f.matchers {
		m.Swap(&settings)
	}
}

// detect ends the sessions of instances that are leaving and begins those of new ones.
func (f *flow) detect(ctx context.Context, next Configuration, leaving []*host.Leaving) {
	var replaced []string
	for _, l := range leaving {
		if l.Replaced {
			replaced = append(replaced, l.Address())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, detectorSwitch)
	defer cancel()
	if err := f.detector.Apply(ctx, next.detectors(), replaced); err != nil && f.changes.life.Err() == nil {
		f.logger.Error("not every detector has taken up its settings yet", "error", err)
	}
	f.changes.mu.Lock()
	left := f.changes.left
	f.changes.mu.Unlock()
	for i := range left {
		if left[i].until > 0 {
			continue
		}
		if _, seq, err := f.k.log.Last(ctx, left[i].source.Detector); err == nil {
			f.changes.mu.Lock()
			left[i].until = max(seq, 1)
			f.changes.mu.Unlock()
		}
	}
}

// decided waits until decide has come to a sequence of INPUTS, or all ends.
func (f *flow) decided(ctx context.Context, seq uint64) {
	for {
		at, err := f.k.store.Position(ctx)
		if err == nil && at.Seq >= seq || !pause(ctx, decidedInterval) {
			return
		}
	}
}
