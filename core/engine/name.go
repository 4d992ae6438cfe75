package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/store"
)

// namesOf remembers what was renamed in one configuration.
type namesOf struct {
	mu    sync.Mutex
	hash  string
	names map[string]string
}

// follow holds a start to what a reload is held to: the configuration must be able to
// come after the one that was in force last. What begins anew is logged.
func (f *flow) follow(ctx context.Context) error {
	flags, err := f.k.store.Flags(ctx)
	if err != nil || flags.Config == "" || flags.Config == f.options.Config.Hash {
		return err
	}
	version, err := f.k.store.ConfigVersion(ctx, flags.Config)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	before, err := config.Read(version.Config, f.k.tables.kept())
	if err != nil {
		return nil //nolint:nilerr // it is of another Kelpie, and decide says so if it matters
	}
	moves := f.options.Config.Moved(before)
	if moves.HasErrors() {
		return &RefusedError{Moves: moves}
	}
	for _, m := range config.Messages(moves, nil) {
		f.logger.Warn("configuration: "+m.Summary, "place", m.File, "line", m.Line, "detail", m.Detail)
	}
	return nil
}

// Names are the addresses of now of blocks that were renamed, by the addresses under
// which everything durable knows them. Where Kelpie does not run they are those of the
// configuration that was in force last.
func (k *Kelpie) Names(ctx context.Context) (map[string]string, error) {
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f != nil {
		return f.changes.generation().Config.Names, nil
	}
	flags, err := k.store.Flags(ctx)
	if err != nil || flags.Config == "" {
		return nil, err
	}
	k.names.mu.Lock()
	defer k.names.mu.Unlock()
	if k.names.hash == flags.Config {
		return k.names.names, nil
	}
	version, err := k.store.ConfigVersion(ctx, flags.Config)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k.names.hash, k.names.names = flags.Config, nil
	if c, err := config.Read(version.Config, k.tables.kept()); err == nil { // of another Kelpie's nothing is known
		k.names.names = c.Names
	}
	return k.names.names, nil
}
