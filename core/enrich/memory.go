package enrich

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// memoryBytes bounds the answers kept in memory, asideBytes those of all shadows.
const (
	memoryBytes = 64 << 20
	asideBytes  = 16 << 20
)

// memory is the fast, lossy cache in front of the shelf: a set may be dropped, and
// nothing may depend on a hit. What it returns is shared, and must not be changed.
type memory struct {
	cache *ristretto.Cache[string, model.Reply]
}

func newMemory(bytes int64) (*memory, error) {
	c, err := ristretto.NewCache(&ristretto.Config[string, model.Reply]{
		NumCounters: bytes / 64, // about ten times the answers that fit
		MaxCost:     bytes,
		BufferItems: 64,
	})
	if err != nil {
		return nil, fmt.Errorf("answer cache: %w", err)
	}
	return &memory{cache: c}, nil
}

func (m *memory) close() { m.cache.Close() }

func memoryKey(source string, o sdk.Observable) string {
	return source + "\x00" + o.Kind + "\x00" + o.Value
}

func (m *memory) get(source string, o sdk.Observable, now time.Time) (model.Reply, bool) {
	r, ok := m.cache.Get(memoryKey(source, o))
	return r, ok && r.Expires.After(now)
}

func (m *memory) set(source string, o sdk.Observable, r model.Reply, now time.Time) {
	if ttl := r.Expires.Sub(now); ttl > 0 {
		m.cache.SetWithTTL(memoryKey(source, o), r, cost(r), ttl)
	}
}

// cost of a reply in bytes: about what its text takes, twice, since texts in memory
// have their headers. A reply that is no text never got here.
func cost(r model.Reply) int64 {
	text, err := json.Marshal(r)
	if err != nil {
		return memoryBytes
	}
	return int64(256 + 2*len(text))
}
