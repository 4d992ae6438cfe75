package enrich

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("no room on the disk")

// desk is decide and the store as an enricher sees them.
type desk struct {
	mu      sync.Mutex
	pending []Pending
	replies map[string][]model.Reply // by ask
	cache   map[string]model.Reply
	used    map[string]Used
	full    bool  // nothing of used can be written
	report  error // of Report
	reads   int
}

func newDesk() *desk {
	return &desk{replies: map[string][]model.Reply{}, cache: map[string]model.Reply{}, used: map[string]Used{}}
}

func (d *desk) ask(enrichment string, values ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range values {
		d.pending = append(d.pending, Pending{Number: int64(len(d.pending) + 1), Ask: model.Ask{
			ID: fmt.Sprintf("a-%d", len(d.pending)), Enrichment: enrichment,
			Observable: sdk.Observable{Kind: sdk.IP, Value: v}, AskedAt: time.Now(),
		}})
	}
}

func (d *desk) PendingAsks(_ context.Context, enrichment string, after Place, limit int) ([]Pending, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	var all []Pending
	for _, p := range d.pending[after.Number:] {
		if len(all) < limit && p.Ask.Enrichment == enrichment && len(d.replies[p.Ask.ID]) == 0 {
			all = append(all, p)
		}
	}
	return all, nil
}

func (d *desk) UrgentAsks(_ context.Context, enrichment string, limit int) ([]Pending, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	bySeverity := map[int][]Pending{}
	for _, p := range d.pending {
		if p.Ask.Enrichment == enrichment && len(d.replies[p.Ask.ID]) == 0 && len(bySeverity[p.Ask.Severity]) < limit {
			bySeverity[p.Ask.Severity] = append(bySeverity[p.Ask.Severity], p)
		}
	}
	var all []Pending
	for _, severity := range slices.Backward(slices.Sorted(maps.Keys(bySeverity))) {
		all = append(all, bySeverity[severity]...)
	}
	return all[:min(limit, len(all))], nil
}

func (d *desk) PendingEnrichments(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]bool{}
	for _, p := range d.pending {
		if len(d.replies[p.Ask.ID]) == 0 {
			all[p.Ask.Enrichment] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

func (d *desk) Report(_ context.Context, replies []model.Reply) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.report != nil {
		return d.report
	}
	for _, r := range replies {
		d.replies[r.Ask] = append(d.replies[r.Ask], r)
	}
	return nil
}

func (d *desk) CachedReply(_ context.Context, key string, o sdk.Observable, now time.Time) (model.Reply, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.cache[key+o.Key()]
	return r, ok && r.Expires.After(now), nil
}

func (d *desk) CacheReplies(_ context.Context, key string, replies map[sdk.Observable]model.Reply, _ time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for o, r := range replies {
		d.cache[key+o.Key()] = r
	}
	return nil
}

func (d *desk) Used(_ context.Context, key string) (Used, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return Used{}, errDisk
	}
	return d.used[key], nil
}

func (d *desk) SaveUsed(_ context.Context, key string, u Used) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return errDisk
	}
	d.used[key] = u
	return nil
}

// states are what each ask was told, in order.
func (d *desk) states() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]string{}
	for ask, replies := range d.replies {
		for i, r := range replies {
			if i > 0 {
				all[ask] += " "
			}
			all[ask] += string(r.State)
		}
	}
	return all
}

func (d *desk) with(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// vendor answers with what its func says, and notes the calls.
type vendor struct {
	answer func(ctx context.Context, n int, asks []model.Ask) ([]Answer, error)
	mu     sync.Mutex
	calls  [][]string
	at     []time.Time
}

func (v *vendor) Enrich(ctx context.Context, _ string, asks []model.Ask) ([]Answer, error) {
	v.mu.Lock()
	var values []string
	for _, a := range asks {
		values = append(values, a.Observable.Value)
	}
	v.calls, v.at = append(v.calls, values), append(v.at, time.Now())
	n := len(v.calls)
	v.mu.Unlock()
	return v.answer(ctx, n, asks)
}

func (v *vendor) asked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, c := range v.calls {
		n += len(c)
	}
	return n
}

// values of all calls, each once, in order.
func (v *vendor) values() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[string]bool{}
	for _, c := range v.calls {
		for _, value := range c {
			all[value] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func known(asks []model.Ask) []Answer {
	all := make([]Answer, len(asks))
	for i := range all {
		all[i] = Answer{Answers: []model.Answer{{Asset: &model.Asset{Name: "ws"}}}}
	}
	return all
}

func always(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) { return known(asks), nil }

const feed = "enrichment.feed"

func source(change func(*Source)) Source {
	s := Source{
		Address: feed, Key: "key", TTL: time.Hour, NegativeTTL: time.Minute, Patience: 10 * time.Second,
		Timeout: 5 * time.Second, BatchLimit: 4,
	}
	if change != nil {
		change(&s)
	}
	return s
}

type rig struct {
	*Enricher
	cancel context.CancelFunc
	ended  chan struct{}
}

func begin(t testing.TB, d *desk, v *vendor, sources ...Source) *rig {
	g := &rig{ended: make(chan struct{}), Enricher: &Enricher{
		Settings: Settings{Sources: sources}, Backlog: d, Asker: v, Reporter: d, Shelf: d,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(g.ended)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return g
}

func (g *rig) stop() {
	g.cancel()
	<-g.ended
}

func (d *desk) of(ask string) []model.Reply {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.replies[ask])
}

// calls so far.
func (v *vendor) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.calls)
}
