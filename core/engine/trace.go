package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/core/trace"
)

// traceTime bounds what one trace may take.
const traceTime = 20 * time.Second

// NewTracer traces by a configuration what is not stored.
func NewTracer(c *config.Config, why expr.Conditions, now time.Time) *trace.Tracer {
	t := &trace.Tracer{
		Match: &c.Match, Decide: &c.Decide, Why: why, Hash: c.Hash, Shown: c.Shown, Now: now,
		Ignores: map[string]trace.Ignore{}, Makers: map[string]string{},
	}
	for _, i := range c.Ignores {
		t.Ignores[i.Address] = trace.Ignore{Address: i.Address, Owner: i.Owner, Reason: i.Reason}
	}
	for _, d := range c.Detectors {
		t.Makers[d.Address] = model.Label(d.Plugin, d.Connector)
	}
	return t
}

// Trace shows a stored event going through all stages: by a configuration that is given as
// its source is encoded or, without one, by that in force. It only reads. One is traced at
// a time.
func (k *Kelpie) Trace(ctx context.Context, q trace.Query, given api.GivenConfig) (trace.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, traceTime)
	defer cancel()
	k.tracing.Lock()
	defer k.tracing.Unlock()
	inForce, err := k.sourceInForce(ctx)
	if err != nil {
		return trace.Report{}, err
	}
	src := inForce
	if len(given.Source) > 0 {
		tables := func(hash string) ([]byte, error) {
			if content, ok := given.Tables[hash]; ok {
				return content, nil
			}
			return k.tables.get(hash)
		}
		if src, err = config.ReadSource(given.Source, config.Kept{Read: tables}); err != nil {
			return trace.Report{}, &api.Error{Code: http.StatusBadRequest, Text: err.Error()}
		}
	}
	if src == nil {
		return trace.Report{}, &api.Error{Code: http.StatusNotFound, Text: "nothing was run yet, so nothing is stored; --file traces an event from a file"}
	}
	c, why, diags := config.ParseExplained(src)
	if diags.HasErrors() {
		return trace.Report{}, &api.Error{Code: http.StatusConflict, Text: "the configuration is not read: " + firstError(diags)}
	}
	t := NewTracer(c, why, k.clock.now())
	t.Store, t.Log, t.Former = k.store, k.log, k.formerMatch
	if inForce != nil {
		if t.InForce, err = inForce.Hash(); err != nil {
			return trace.Report{}, err
		}
	}
	r, err := t.Stored(ctx, q)
	switch {
	case errors.Is(err, trace.ErrNotFound):
		return r, &api.Error{Code: http.StatusNotFound, Text: "there is " + err.Error()}
	case errors.Is(err, trace.ErrSeveral):
		return r, &api.Error{Code: http.StatusConflict, Text: "there is " + err.Error()}
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return r, &api.Error{Code: http.StatusServiceUnavailable, Text: fmt.Sprintf("that takes longer than %s; --source says whose event it is", traceTime)}
	}
	return r, err
}

// sourceInForce is what the configuration in force was made of; nil: there never was one.
func (k *Kelpie) sourceInForce(ctx context.Context) (*config.Source, error) {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f != nil {
		return f.changes.generation().Config.Source, nil
	}
	version, err := k.store.LatestConfig(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return config.ReadSource(version.Text, k.tables.kept())
}

// formerMatch is what a configuration that was in force said of matching; nil: it is not
// known any more.
func (k *Kelpie) formerMatch(ctx context.Context, hash string) *match.Settings {
	version, err := k.store.ConfigVersion(ctx, hash)
	if err != nil {
		return nil
	}
	c, err := config.Read(version.Config, k.tables.kept())
	if err != nil {
		return nil
	}
	return &c.Match
}
