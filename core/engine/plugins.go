package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/sdk"
)

func (f *flow) startPlugins(ctx context.Context) error {
	h, err := host.New(f.hostSettings(&f.options.Configuration), f.logger)
	if err != nil {
		return err
	}
	f.host = h
	startCtx, cancel := context.WithTimeout(ctx, pluginStart)
	defer cancel()
	found, err := h.Start(startCtx)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		f.logger.Warn("not every plugin has started yet; the others go on", "error", err)
	}
	if refused := refusals(h, found); len(refused) > 0 {
		return &RefusedError{Diagnostics: refused}
	}
	for _, d := range found {
		f.logger.Warn(d.Summary, "instance", d.Instance, "detail", d.Detail)
	}
	return nil
}

// refusals are the errors of plugins that run about attributes of their blocks: what
// they complain about is in the configuration. What has no place there (a plugin that
// does not run, a vendor that can't be reached) is tried again, and stops nobody else.
func refusals(h *host.Host, found []host.Diagnostic) []host.Diagnostic {
	runs := map[string]bool{}
	for _, p := range h.Status() {
		for _, in := range p.Instances {
			runs[in.Address] = p.State == host.Running
		}
	}
	var refused []host.Diagnostic
	for _, d := range found {
		if !d.Warning && len(d.Path) > 0 && runs[d.Instance] {
			refused = append(refused, d)
		}
	}
	return refused
}

func (f *flow) stopPlugins() error {
	if f.host == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), pluginStop)
	defer cancel()
	return f.host.Stop(ctx)
}

// detectors are the host's, as detect sees them.
type detectors struct{ host *host.Host }

// errSwapped means that a session would begin at an instance that has taken the place of
// its own: while a change is made, one that is tried again comes too late.
var errSwapped = errors.New("another connector has its address now")

func (d detectors) Open(ctx context.Context, in detect.Instance, cursor []byte, once bool) (detect.Session, error) {
	detector, err := d.host.Detector(in.Address)
	if err != nil {
		return nil, err
	}
	plugin, connector, version := detector.Maker()
	if in.Maker != (eventlog.Maker{Plugin: plugin, Connector: connector, CursorVersion: version}) {
		return nil, errSwapped
	}
	s, err := detector.Open(ctx, host.SessionStart{Cursor: cursor, Once: once})
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

type session struct{ *host.Session }

func (s session) Recv() (detect.Message, error) {
	m, err := s.Session.Recv()
	if err != nil {
		return detect.Message{}, err
	}
	var out detect.Message
	if b := m.Batch; b != nil {
		out.Batch = &detect.Batch{Number: b.Number, Events: b.Events, Cursor: b.Cursor}
	}
	if st := m.Status; st != nil {
		out.Status = &detect.Status{Ended: st.State == host.SessionEnded, Behind: st.Behind, BehindUnit: st.BehindUnit}
		if st.State == host.SessionTroubled {
			out.Status.Trouble = st.Message
		}
	}
	return out, nil
}

// enrichments are the host's, as enrich sees them.
type enrichments struct{ host *host.Host }

func (e enrichments) Enrich(ctx context.Context, instance string, asks []model.Ask) ([]enrich.Answer, error) {
	enricher, err := e.host.Enricher(instance)
	if err != nil {
		return nil, failure(err)
	}
	got, err := enricher.Enrich(ctx, asks)
	if err != nil {
		return nil, failure(err)
	}
	all := make([]enrich.Answer, len(got.Replies))
	for i, r := range got.Replies {
		all[i] = enrich.Answer{Answers: r.Answers, Found: r.Found, Aliases: r.Aliases, TTL: r.TTL}
		if r.Err != nil {
			all[i].Err = failure(r.Err)
		}
	}
	return all, nil
}

// failure says of the host's error whether asking again may help.
func failure(err error) error {
	var e *host.Error
	if !errors.As(err, &e) {
		return err
	}
	return &enrich.Failure{
		Retry:      e.Reason == sdk.Retry || e.Reason == sdk.Failed,
		RetryAfter: e.RetryAfter, Reason: e.Message,
	}
}

// actions are the host's, as respond sees them.
type actions struct{ flow *flow }

func (a actions) Execute(ctx context.Context, c respond.Call) (respond.Result, error) {
	actor, err := a.flow.host.Action(c.Action)
	if err != nil { // planned under another configuration: nothing was sent
		return respond.Result{State: model.IntentFailed, Message: c.Action + " is not in the configuration"}, nil
	}
	if made := c.Maker.Instance; made != "" && made != actor.Key() {
		// The journal must name who did it.
		return respond.Result{State: model.IntentFailed, Message: c.Action + " was swapped meanwhile; nothing was sent"}, nil
	}
	r, err := actor.Execute(ctx, host.ActionCall{
		Verb: c.Verb, Target: c.Target, Parameters: c.Parameters, Key: c.Key,
		NotAfter: fault.Machine(c.NotAfter), DryRun: c.DryRun, Attempt: c.Attempt,
	})
	return result(r, err)
}

func (a actions) Undo(ctx context.Context, c respond.Call) (respond.Result, error) {
	actor, err := a.flow.actor(ctx, c)
	switch {
	case errors.Is(err, errGone):
		return respond.Result{State: model.IntentRefused, Message: err.Error()}, nil
	case err != nil:
		return respond.Result{State: model.IntentFailed, Message: err.Error()}, nil
	}
	r, err := actor.Undo(ctx, host.ActionUndo{
		Verb: c.Verb, Target: c.Target, Token: c.UndoToken, Key: c.Key, NotAfter: fault.Machine(c.NotAfter),
	})
	return result(r, err)
}

func (a actions) Check(ctx context.Context, c respond.Call) (respond.Result, error) {
	actor, err := a.flow.actor(ctx, c)
	if err != nil {
		return respond.Result{}, err
	}
	r, err := actor.Check(ctx, host.ActionCheck{
		Verb: c.Verb, Target: c.Target, Key: c.Key, Undo: c.Undo, Token: c.UndoToken,
	})
	if err != nil { // a check that was not sent says nothing of the call before it
		return respond.Result{}, fmt.Errorf("the check has no answer: %w", err)
	}
	return result(r, nil)
}

// result keeps apart what is known not to have happened from what is not known.
func result(r sdk.Result, err error) (respond.Result, error) {
	var e *host.Error
	switch {
	case err == nil:
		return respond.Result{
			State: stateOf(r.Outcome), Reference: r.Reference, UndoToken: r.UndoToken, SameKey: r.SameKey, Message: r.Message,
		}, nil
	case errors.As(err, &e) && e.NotSent:
		return respond.Result{State: model.IntentFailed, Message: e.Message, RetryAfter: e.RetryAfter, Unavailable: true}, nil
	}
	return respond.Result{}, fmt.Errorf("the answer was lost: %w", err)
}

func stateOf(o sdk.Outcome) model.IntentState {
	switch o {
	case sdk.OutcomeDone:
		return model.IntentDone
	case sdk.OutcomeAlready:
		return model.IntentAlready
	case sdk.OutcomeRefused:
		return model.IntentRefused
	case sdk.OutcomeFailed:
		return model.IntentFailed
	}
	return model.IntentUnknown
}
