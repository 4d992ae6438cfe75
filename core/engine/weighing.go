package engine

import (
	"context"
	"errors"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/decide"
)

// Weighing says which responses a case asks for, and what would decide it otherwise, by
// the configuration in force: that of the run, or of the last one.
func (k *Kelpie) Weighing(ctx context.Context, c decide.Stored) (decide.Weighing, error) {
	in, _, err := k.inForce(ctx)
	var said *api.Error
	if errors.As(err, &said) { // and the rest of the case can be told
		return decide.Weighing{Why: said.Text}, nil
	}
	if err != nil {
		return decide.Weighing{}, err
	}
	return c.Weighing(&in.Decide)
}
