package engine

import (
	"context"

	"github.com/kelpie-sec/kelpie/core/measure"
)

// Rules are what reports signals by the configuration in force: that of the run, or of
// the last one.
func (k *Kelpie) Rules(ctx context.Context) ([]measure.Rule, error) {
	c, _, err := k.inForce(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]measure.Rule, len(c.Rules))
	for i := range c.Rules {
		r := &c.Rules[i]
		all[i] = measure.Rule{Address: r.Identity, Author: r.Author}
		if f := r.Forecast; f != nil {
			all[i].Forecast = &measure.Forecast{PerWeek: f.PerWeek, Precision: f.Precision, Loss: f.Loss, P: f.P}
		}
	}
	return all, nil
}
