package engine

import (
	"context"
	"errors"
	"net/http"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/shadow"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Shadow compares shadows with what counts, by the configuration in force: that of the
// run, or of the last one.
func (k *Kelpie) Shadow(ctx context.Context, q shadow.Query) (shadow.Report, error) {
	c, stats, err := k.inForce(ctx)
	if err != nil {
		return shadow.Report{}, err
	}
	r := shadow.Reporter{
		Store: k.store, Log: k.log, Enrich: &c.Enrich, Decide: &c.Decide, Match: &c.Match, Shown: c.Shown, Stats: stats, Now: k.clock.now(),
	}
	return r.Report(ctx, q)
}

// inForce is the configuration, and how its enrichments are while it runs.
func (k *Kelpie) inForce(ctx context.Context) (*config.Config, []enrich.Stat, error) {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f != nil {
		return f.changes.generation().Config, f.enricher.Stats(), nil
	}
	version, err := k.store.LatestConfig(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, &api.Error{Code: http.StatusNotFound, Text: "nothing was run yet, so there is nothing to compare"}
	}
	if err != nil {
		return nil, nil, err
	}
	src, err := config.DecodeSource(version.Text)
	if err != nil {
		return nil, nil, err
	}
	c, diags := config.Parse(src)
	if diags.HasErrors() {
		return nil, nil, &api.Error{
			Code: http.StatusConflict,
			Text: "this kelpie does not read the configuration of the last run any more: " + firstError(diags) + "; \"kelpie run\" puts another in force",
		}
	}
	return c, nil, nil
}
