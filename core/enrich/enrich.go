package enrich

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Backlog is what decide wants to know.
type Backlog interface {
	// PendingEnrichments lists those that have pending asks.
	PendingEnrichments(ctx context.Context) ([]string, error)
	// PendingAsks of one enrichment after a place, in their order. What is committed
	// later has a later place.
	PendingAsks(ctx context.Context, enrichment string, after Place, limit int) ([]Pending, error)
	// UrgentAsks of one enrichment that are pending: those of the most severe cases
	// first, of these the oldest, whose patience ends first.
	UrgentAsks(ctx context.Context, enrichment string, limit int) ([]Pending, error)
}

// Place of an ask in the order of deciding.
type Place struct {
	// Number is higher for what was committed later; equal within one commit.
	Number int64
	Ask    string
}

// Pending is an ask with its place.
type Pending struct {
	Number int64
	Ask    model.Ask
}

func (p *Pending) place() Place { return Place{p.Number, p.Ask.ID} }

// Asker asks an enrichment. At most Source.BatchLimit observables come at once.
type Asker interface {
	// Enrich returns an Answer for each ask, in order, or an error for all of them.
	// An error may be a *Failure.
	Enrich(ctx context.Context, enrichment string, asks []model.Ask) ([]Answer, error)
}

// Reporter tells decide what was answered; durable when it returns.
type Reporter interface {
	Report(ctx context.Context, replies []model.Reply) error
}

// Shelf keeps answers and used quota over a restart.
type Shelf interface {
	CachedReply(ctx context.Context, key string, o sdk.Observable, now time.Time) (model.Reply, bool, error)
	CacheReplies(ctx context.Context, key string, replies map[sdk.Observable]model.Reply, now time.Time) error
	Used(ctx context.Context, key string) (Used, error)
	SaveUsed(ctx context.Context, key string, u Used) error
}

// Answer is what an enrichment said about one observable. Without Err and with no
// Answers, Found and Aliases the source has nothing.
type Answer struct {
	Answers []model.Answer
	Found   []model.Found
	Aliases []sdk.Observable
	TTL     time.Duration // 0: the source's
	Err     error
}

// Failure is an error that tells what to make of it.
type Failure struct {
	// Retry: the same question may be answered later.
	Retry bool
	// RetryAfter is the vendor's wish; 0: none.
	RetryAfter time.Duration
	// Reason for people.
	Reason string
}

func (f *Failure) Error() string { return f.Reason }

// Enricher answers asks.
type Enricher struct {
	Settings Settings
	Backlog  Backlog
	Asker    Asker
	Reporter Reporter
	Shelf    Shelf
	// Book is of the shadows; nil if there never are any.
	Book Book
	// Linger is how long shadows may go on with what they have when Run ends.
	Linger time.Duration
	Log    *slog.Logger
	Now    func() time.Time

	mu      sync.Mutex
	asked   chan change
	sources []Source // in force, once Run has begun
	wakes   map[string]chan struct{}
	stats   map[string]Stat
	shadows []*shadow
}

// Stat is how one source is doing.
type Stat struct {
	Enrichment string    `json:"enrichment"`
	Shadow     string    `json:"shadow,omitempty"` // what it is compared with; empty: it counts itself
	Waiting    int       `json:"waiting"`          // asks that nobody was told about yet
	Late       int       `json:"late"`             // observables that are asked about though patience has ended
	Calls      int       `json:"calls"`
	Hits       int       `json:"hits"` // answered from the cache
	Failures   int       `json:"failures"`
	LastError  string    `json:"last_error,omitempty"`
	Since      time.Time `json:"since,omitzero"` // of the trouble
	// Limited until then by the source's own limit or the vendor's.
	Limited time.Time `json:"limited,omitzero"`
	// Asking are the observables that are being asked about.
	Asking int `json:"asking"`
	// HeldUntil and HeldBecause are set while nothing is asked.
	HeldUntil   time.Time `json:"held_until,omitzero"`
	HeldBecause string    `json:"held_because,omitempty"`
	// Minute and Day are what the source's own limits leave, once it was asked.
	Minute Room `json:"minute,omitzero"`
	Day    Room `json:"day,omitzero"`
}

// Room is what is left of a limit.
type Room struct {
	Limit int `json:"limit"`
	Left  int `json:"left"`
}

// Run answers until ctx ends, then waits for the calls that are under way.
func (e *Enricher) Run(ctx context.Context) error {
	r := &running{lanes: map[string]*lane{}, shadows: map[string]*shadow{}}
	var err error
	if r.memory, err = newMemory(memoryBytes); err != nil {
		return err
	}
	defer r.memory.close()
	if r.aside, err = newMemory(asideBytes); err != nil {
		return err
	}
	defer r.aside.close()
	e.apply(ctx, r, e.Settings)
	var orphans sync.WaitGroup
	orphans.Go(func() { e.answerOrphans(ctx) })
	changes := e.changes()
	for ctx.Err() == nil {
		select {
		case c := <-changes:
			e.apply(ctx, r, c.settings)
			close(c.done)
		case <-ctx.Done():
		}
	}
	for _, l := range r.lanes {
		<-l.done
	}
	for _, s := range r.shadows {
		<-s.done
	}
	orphans.Wait()
	return nil
}

// Wake makes the sources look for new asks. It never blocks.
func (e *Enricher) Wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.wakes {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Stats of all sources, and then of all shadows, in the order of the configuration.
func (e *Enricher) Stats() []Stat {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Stat, 0, len(e.sources))
	for _, s := range e.sources {
		st := e.stats[s.Address]
		st.Enrichment = s.Address
		all = append(all, st)
	}
	for _, s := range e.shadows {
		st := s.env.Stats()[0]
		st.Shadow = s.first()
		all = append(all, st)
	}
	return all
}

func (e *Enricher) setStat(s Stat) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wakes[s.Enrichment] != nil {
		e.stats[s.Enrichment] = s
	}
}
