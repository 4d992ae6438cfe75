package host

import (
	"slices"
	"sync"
	"sync/atomic"
)

// roster is whom a process serves: whose secrets are taken out of what it says, and for
// which instances it may speak. A secret stays in it as long as the process lives. It
// may be read while it changes.
type roster struct {
	current atomic.Pointer[scrubber]

	mu        sync.RWMutex
	secrets   []string
	addresses map[string]string // by the name in requests
}

func newRoster(secrets ...string) *roster {
	r := &roster{addresses: map[string]string{}, secrets: secrets}
	r.current.Store(newScrubber(secrets))
	return r
}

func (r *roster) join(instances ...*instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	grown := false
	for _, i := range instances {
		r.addresses[i.name] = i.Address
		for _, secret := range i.Secrets {
			if !slices.Contains(r.secrets, secret) {
				r.secrets, grown = append(r.secrets, secret), true
			}
		}
	}
	if grown {
		r.current.Store(newScrubber(r.secrets))
	}
}

func (r *roster) leave(i *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.addresses, i.name)
}

// address of an instance by its name in requests.
func (r *roster) address(name string) (string, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	address, ok := r.addresses[name]
	return address, ok
}

func (r *roster) scrub() *scrubber { return r.current.Load() }
