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
	k.names.hash, k.names.names = flags.Config, config.NamesIn(version.Config)
	return k.names.names, nil
}
