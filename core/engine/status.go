package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// clockTrouble is how far the machine's clock may be behind before it is told.
const clockTrouble = time.Minute

// Status gathers how everything is.
func (k *Kelpie) Status(ctx context.Context) (api.Status, error) {
	s := api.Status{
		Version: k.settings.Version, At: k.clock.now(), Troubles: []api.Trouble{},
		Detectors: []detect.Report{}, Plugins: []host.Status{}, Acting: []respond.Stat{},
	}
	var err error
	if s.Counts, err = k.store.Counts(ctx); err != nil {
		return s, err
	}
	if s.Sources, err = k.store.Sources(ctx); err != nil {
		return s, err
	}
	if s.Held, err = k.store.HoldCounts(ctx); err != nil {
		return s, err
	}
	if s.Pending, err = k.store.Pending(ctx); err != nil {
		return s, err
	}
	flags, err := k.store.Flags(ctx)
	if err != nil {
		return s, err
	}
	s.Config = flags.Config
	s.Pauses = flags.Pauses
	if flags.Paused {
		s.Paused = &flags
	}
	if err := k.logStatus(ctx, &s); err != nil {
		return s, err
	}
	if ahead := k.clock.ahead(); ahead > clockTrouble {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: fmt.Sprintf("the machine's clock is %s behind the time of what was decided", ahead.Round(time.Second)),
			Do:   "look at the machine's clock; until it has come up, waits and retries take twice as long",
		})
	}
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f != nil {
		s.Running, s.Since, s.Generation = true, f.began, f.generationStatus(ctx)
		s.Actions = string(f.changes.generation().Config.Kelpie.Actions)
		s.Detectors, s.Enrichments, s.Plugins = f.detector.Reports(), f.enricher.Stats(), f.host.Status()
		s.Tables = f.tables.versions(f.changes.generation())
		s.Troubles = append(s.Troubles, f.gate.troubles()...)
		s.Troubles = append(s.Troubles, f.tables.troubles()...)
		s.Troubles = append(s.Troubles, f.page.troubles()...)
		s.Troubles = append(s.Troubles, f.schedules.troubles()...)
		s.Troubles = append(s.Troubles, f.answering.troubles(s.At)...)
		if rules := f.rules.Load(); rules != nil {
			s.Rules = *rules
		}
		ruleTroubles(&s)
		runTroubles(&s)
		holding, err := k.store.HoldingActions(ctx)
		if err != nil {
			return s, err
		}
		s.Troubles = append(s.Troubles, f.changes.troubles(holding)...)
		s.Acting = f.responder.Stats()
		actionTroubles(&s, s.Acting)
	}
	storeTroubles(&s)
	return s, nil
}

func (k *Kelpie) logStatus(ctx context.Context, s *api.Status) error {
	st, err := k.log.Stats(ctx)
	since, sick := k.log.Sick()
	if err != nil && sick == nil {
		return err
	}
	at, err := k.store.Position(ctx)
	if err != nil {
		return err
	}
	s.Log = api.LogState{
		EventsBytes: st.Events.Bytes, InputsBytes: st.Inputs.Bytes, RejectedBytes: st.Rejected.Bytes,
		Unmatched: st.Waiting,
	}
	if st.Inputs.Last > at.Seq {
		s.Log.Undecided = st.Inputs.Last - at.Seq
	}
	s.Troubles = append(s.Troubles, lossTroubles(k.log.Lost())...)
	s.Troubles = append(s.Troubles, k.unwritten.troubles()...)
	if sick != nil {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: "the log can't be written: " + sick.Error(), Since: since,
			Waits: "everything that comes in", Do: "make room on the disk, or look at the disk; it is tried again by itself",
		})
	} else if err := k.log.Room(); err != nil {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: err.Error(), Waits: "what detectors report; what was taken in is worked off",
			Do: "make room on the disk of the data folder",
		})
	}
	return nil
}

func runTroubles(s *api.Status) {
	for _, p := range s.Plugins {
		switch p.State {
		case host.Failed:
			s.Troubles = append(s.Troubles, api.Trouble{
				What: fmt.Sprintf("plugin %s has failed: %s", p.Plugin, p.LastError), Since: p.Since,
				Waits: instances(p), Do: "look at its log; then \"kelpie plugin restart " + p.Plugin + "\"",
			})
		case host.Restarting:
			do := "it is started again by itself"
			if p.Attached {
				do = "start it again with --debug; Kelpie looks for it every second"
			}
			s.Troubles = append(s.Troubles, api.Trouble{
				What: fmt.Sprintf("plugin %s has ended: %s", p.Plugin, p.LastError), Since: p.Since, Waits: instances(p), Do: do,
			})
		}
		for _, in := range p.Instances {
			if p.State == host.Running && in.Trouble != "" {
				s.Troubles = append(s.Troubles, api.Trouble{What: in.Address + ": " + in.Trouble, Since: in.Since})
			}
		}
	}
	for _, d := range s.Detectors {
		switch d.State {
		case detect.Troubled:
			s.Troubles = append(s.Troubles, api.Trouble{What: d.Instance + ": " + strings.TrimPrefix(d.Message, d.Instance+": "), Since: d.Since, Waits: "its events, at the source"})
		case detect.NoRoom:
			s.Troubles = append(s.Troubles, api.Trouble{
				What: d.Instance + " is held back: " + d.Message, Since: d.Since, Waits: "its events, at the source",
				Do: "it goes on by itself when there is room",
			})
		}
	}
	for _, e := range s.Enrichments {
		switch {
		case e.LastError != "" && e.Shadow != "":
			s.Troubles = append(s.Troubles, api.Trouble{
				What: e.Enrichment + ": " + e.LastError, Since: e.Since, Waits: "nothing: it is the shadow of " + e.Shadow,
			})
		case e.Shadow != "":
		case e.LastError != "":
			s.Troubles = append(s.Troubles, api.Trouble{
				What: e.Enrichment + ": " + e.LastError, Since: e.Since, Waits: fmt.Sprintf("%d questions", e.Waiting),
			})
		case e.Limited.After(s.At):
			s.Troubles = append(s.Troubles, api.Trouble{
				What:  fmt.Sprintf("%s has used up its limit until %s", e.Enrichment, e.Limited.Format(time.RFC3339)),
				Waits: fmt.Sprintf("%d questions", e.Waiting), Do: "it goes on by itself",
			})
		}
	}
}

func actionTroubles(s *api.Status, all []respond.Stat) {
	for _, a := range all {
		if a.LastError == "" || a.Waiting+a.Running == 0 {
			continue // steps that have ended are listed as what became of them
		}
		s.Troubles = append(s.Troubles, api.Trouble{
			What: a.Action + ": " + strings.TrimPrefix(a.LastError, a.Action+": "), Since: a.Since,
			Waits: steps(a.Waiting + a.Running), Do: "they are tried again by themselves",
		})
	}
}

func instances(p host.Status) string {
	text := ""
	for i, in := range p.Instances {
		if i > 0 {
			text += ", "
		}
		text += in.Address
	}
	return text
}

func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// ruleTroubles tell of rules over several that have more to remember than there is room
// for.
func ruleTroubles(s *api.Status) {
	for _, r := range s.Rules {
		if r.Evicted > 0 {
			s.Troubles = append(s.Troubles, api.Trouble{
				What: fmt.Sprintf("%s has too many groups: %d were let go, and what is missing in them can't be noticed", r.Rule, r.Evicted),
				Do:   "group by what has fewer values, take fewer events, or a shorter \"within\"",
			})
		}
	}
}

func storeTroubles(s *api.Status) {
	if n := s.Counts.IntentsUnknown; n > 0 {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: fmt.Sprintf("the outcome of %s is unknown", steps(n)), Waits: "a person's word",
			Do: "\"kelpie intent list --state unknown\", find out, and \"kelpie intent resolve\" them",
		})
	}
	if n := s.Counts.IntentsFailed; n > 0 {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: steps(n) + " failed for good", Do: "\"kelpie intent list --state failed\" says why",
		})
	}
	if n := s.Held[model.HoldStuck]; n > 0 {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: fmt.Sprintf("the undo of %s has failed: still in force, and nobody wants it", plural(n, "hold")), Waits: "a person",
			Do: "\"kelpie held\" says why; \"kelpie release\" tries again",
		})
	}
	if n := s.Held[model.HoldUnknown]; n > 0 {
		s.Troubles = append(s.Troubles, api.Trouble{
			What: fmt.Sprintf("nobody knows whether %s is still in force", plural(n, "hold")), Waits: "a person's word",
			Do: "\"kelpie held\" lists it; find out, and \"kelpie intent resolve\" its undo",
		})
	}
	for _, src := range s.Sources {
		if src.Total != src.Counted && s.Log.Unmatched == 0 && s.Log.Undecided == 0 {
			s.Troubles = append(s.Troubles, api.Trouble{
				What: fmt.Sprintf("%s: %d events received, %d accounted for", src.Source, src.Total, src.Counted),
			})
		}
	}
}
