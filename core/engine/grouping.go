package engine

import (
	"context"

	"github.com/kelpie-sec/kelpie/core/correlate"
)

// Grouping is what the configuration in force says makes signals one case, decisions
// of people aside.
func (k *Kelpie) Grouping(ctx context.Context) (correlate.Settings, error) {
	c, _, err := k.inForce(ctx)
	if err != nil {
		return correlate.Settings{}, err
	}
	return c.Decide.Correlate, nil
}
