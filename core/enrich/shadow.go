package enrich

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of what is held for one shadow.
const (
	// maxOffered are the questions that it has not taken up, and maxPace those that it is
	// given in a second: it shares the processor with what counts.
	maxOffered = 4096
	maxPace    = 2000
	// maxUnkept and unkeptBytes bound what was said and is not written down yet.
	maxUnkept   = 8192
	unkeptBytes = 16 << 20
	// maxSaid is the most of one answer that is written down.
	maxSaid = 64 << 10
	// maxGiven observables are remembered twice over, to be those that it was asked about.
	maxGiven = 16_384
	// keepInterval is how often something is written down, and rewrite how often what has
	// not changed.
	keepInterval = time.Second
	rewrite      = 10 * time.Minute
	// tidyEvery so many times something is written down, what is old goes.
	tidyEvery = 60
)

// shadow is asked what another source is asked. It has its own queue, cache, limits and
// calls, and nothing waits for it. The other source's queue gives it questions and
// answers under a lock that nobody holds for longer than a few moments; what there is no
// room for is counted and dropped.
type shadow struct {
	env  *Enricher // whose only queue is this one
	book Book
	own  func(sdk.Observable) bool

	linger time.Duration

	queue *queue
	leave context.CancelFunc
	done  chan struct{}

	// Of all questions, those that need no lock.
	questions, notTaken, noRoom, firstCached atomic.Uint64

	takes atomic.Pointer[[]string] // kinds of observables
	pace  pace

	mu      sync.Mutex
	source  Source
	asks    fifo[Pending]   // offered, and not taken up
	offered int64           // ever
	waits   map[string]bool // asks that were offered and have no reply, if it may linger
	unkept  Record
	pairs   map[sdk.Observable]*Pair
	bytes   int // of pairs
	given   given
	keeps   int
	failing bool
}

// pace lets so many through in a second. One goroutine asks it.
type pace struct {
	since time.Time
	count int
}

func (p *pace) lets(now time.Time) bool {
	if now.Sub(p.since) >= time.Second || now.Before(p.since) {
		p.since, p.count = now, 0
	}
	p.count++
	return p.count <= maxPace
}

// given are the observables that a shadow was asked about, and what the book has of them.
// The oldest are forgotten, many at a time.
type given struct{ now, before map[sdk.Observable]*written }

// written is what the book has of an observable.
type written struct{ first, shadow, at time.Time }

// of an observable; nil: the shadow was not asked about it.
func (g *given) of(o sdk.Observable) *written {
	if w := g.now[o]; w != nil {
		return w
	}
	return g.before[o]
}

func (g *given) add(o sdk.Observable) {
	if g.now[o] != nil {
		return
	}
	if len(g.now) >= maxGiven || g.now == nil {
		g.before, g.now = g.now, map[sdk.Observable]*written{}
	}
	w := g.before[o]
	if w == nil {
		w = &written{}
	}
	g.now[o] = w
}

func newShadow(e *Enricher, s Source, own func(sdk.Observable) bool, m *memory) *shadow {
	sh := &shadow{
		book: e.Book, own: own, source: s, done: make(chan struct{}),
		pairs: map[sdk.Observable]*Pair{},
		waits: map[string]bool{}, linger: e.Linger,
	}
	sh.takes.Store(&s.Takes)
	sh.unkept.Replies = map[sdk.Observable]model.Reply{}
	sh.env = &Enricher{
		Backlog: sh, Asker: e.Asker, Reporter: sh, Shelf: shadowShelf{e.Shelf, sh}, Log: e.Log, Now: e.Now,
		sources: []Source{s}, stats: map[string]Stat{}, wakes: map[string]chan struct{}{},
	}
	sh.queue = newQueue(sh.env, s, own, m)
	sh.env.wakes[s.Address] = sh.queue.wake
	sh.queue.ears.Store(&[]ear{{shadow: sh}})
	return sh
}

// run works until ctx ends, and a little longer if it may, and keeps what it has then.
func (s *shadow) run(ctx context.Context) {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var working sync.WaitGroup
	working.Go(func() { s.queue.run(work) })
	t := time.NewTicker(keepInterval)
	defer t.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-t.C:
			s.keep(ctx)
		}
	}
	s.finish()
	cut()
	working.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	s.keep(last)
}

// finish waits for the replies that are still to come, as long as it may.
func (s *shadow) finish() {
	const look = 10 * time.Millisecond
	for left := s.linger; left > 0 && s.waiting() > 0; left -= look {
		time.Sleep(look)
	}
}

func (s *shadow) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waits)
}

// first is the address of what it is compared with, which never changes.
func (s *shadow) first() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Shadow
}

// settle goes on by other settings.
func (s *shadow) settle(source Source, own func(sdk.Observable) bool) {
	s.mu.Lock()
	s.source, s.own = source, own
	s.mu.Unlock()
	s.takes.Store(&source.Takes)
	s.queue.next.Store(&terms{source, own})
}

// ear hears what a queue is asked and what is answered: that of a shadow, or that of the
// source that it is compared with.
type ear struct {
	shadow *shadow
	first  bool
}

// asked hears a question, and the answer if the cache had it.
func (e ear) asked(a model.Ask, cached *model.Reply, now time.Time) {
	given := !e.first || e.shadow.offer(a, now)
	if e.first && cached != nil {
		e.shadow.firstCached.Add(1)
	}
	if cached != nil && given {
		e.shadow.hear(e.first, a.Observable, cached, 0, true)
	}
}

// called hears that so many observables are asked about.
func (e ear) called(n int) {
	e.shadow.mu.Lock()
	defer e.shadow.mu.Unlock()
	side := e.shadow.unkept.Tally.side(e.first)
	side.Calls++
	side.Asked += uint64(n)
}

// said hears an answer that took a call of that length; 0: none was made.
func (e ear) said(o sdk.Observable, r *model.Reply, took time.Duration) {
	e.shadow.hear(e.first, o, r, took, false)
}

// offer gives the shadow a question, if it may have it and there is room, and tells
// whether it did. The other source's queue alone calls it.
func (s *shadow) offer(a model.Ask, now time.Time) bool {
	s.questions.Add(1)
	if !slices.Contains(*s.takes.Load(), a.Observable.Kind) {
		s.notTaken.Add(1)
		return false
	}
	if !s.pace.lets(now) {
		s.noRoom.Add(1)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.hidden(a.Observable):
		s.unkept.Tally.Own++
		return false
	case s.asks.len() >= maxOffered:
		s.noRoom.Add(1)
		return false
	}
	s.offered++
	s.given.add(a.Observable)
	a.Enrichment, a.AskedAt = s.source.Address, now // its patience begins now
	if s.linger > 0 {
		s.waits[a.ID] = true
	}
	s.asks.push(Pending{Number: s.offered, Ask: a})
	select {
	case s.queue.wake <- struct{}{}:
	default:
	}
	return true
}

// hidden tells whether the shadow must not hear of an observable. What the other source
// is asked has been looked at for that source; while a configuration changes, that may be
// another rule than the shadow's.
func (s *shadow) hidden(o sdk.Observable) bool {
	return !s.source.Internal && s.own != nil && s.own(o)
}

// PendingAsks hands out what was offered; nobody is asked for it again.
func (s *shadow) PendingAsks(_ context.Context, _ string, _ Place, limit int) ([]Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := make([]Pending, 0, min(limit, s.asks.len()))
	for len(taken) < cap(taken) {
		taken = append(taken, s.asks.pop())
	}
	return taken, nil
}

// UrgentAsks are none: it is all the same to what is only compared.
func (s *shadow) UrgentAsks(context.Context, string, int) ([]Pending, error) { return nil, nil }

// PendingEnrichments are none that decide waits for.
func (s *shadow) PendingEnrichments(context.Context) ([]string, error) { return nil, nil }

// Report tells nobody: what is said is heard by the ear.
func (s *shadow) Report(_ context.Context, replies []model.Reply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range replies {
		delete(s.waits, replies[i].Ask)
	}
	return nil
}

// hear notes what one of the two said.
func (s *shadow) hear(first bool, o sdk.Observable, r *model.Reply, took time.Duration, cached bool) {
	now := s.env.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.given.of(o)
	if w == nil { // no answer of the first's that the shadow has none to compare with
		return
	}
	side := s.unkept.Tally.side(first)
	if cached && !first { // the first's are counted where they are asked
		side.Cached++
	}
	if r.State == model.Failed {
		side.Failed++
	}
	if took > 0 {
		side.Took.add(took)
	}
	if w.has(first, r.AnsweredAt, now) {
		return
	}
	s.note(first, o, saidOf(r, took, cached), now)
}

// has tells whether the book has it already, and notes that it will.
func (w *written) has(first bool, at, now time.Time) bool {
	had := &w.shadow
	if first {
		had = &w.first
	}
	if had.Equal(at) && now.Sub(w.at) < rewrite {
		return true
	}
	*had, w.at = at, now
	return false
}

func (s *shadow) note(first bool, o sdk.Observable, said Said, now time.Time) {
	p, size := s.pairs[o], said.size()
	if s.bytes+size > unkeptBytes || p == nil && len(s.pairs) >= maxUnkept {
		s.unkept.Tally.Unkept++
		s.forget(o)
		return
	}
	if p == nil {
		p = &Pair{Observable: o}
		s.pairs[o] = p
	}
	s.bytes += size
	p.At = now
	if first {
		p.First = &said
	} else {
		p.Shadow = &said
	}
}

// forget that the book has something of an observable.
func (s *shadow) forget(o sdk.Observable) {
	if w := s.given.of(o); w != nil {
		*w = written{}
	}
}

// shadowShelf is the shelf of a shadow's queue: what it caches is written with the rest.
type shadowShelf struct {
	Shelf
	shadow *shadow
}

func (s shadowShelf) CacheReplies(_ context.Context, _ string, replies map[sdk.Observable]model.Reply, _ time.Time) error {
	s.shadow.mu.Lock()
	defer s.shadow.mu.Unlock()
	for o, r := range replies {
		if size := weigh(r.Answers); size <= maxSaid && len(s.shadow.unkept.Replies) < maxUnkept && s.shadow.bytes+size <= unkeptBytes {
			s.shadow.unkept.Replies[o] = r
			s.shadow.bytes += size
		}
	}
	return nil
}

// keep writes down what there is. What can't be written is kept for the next time.
func (s *shadow) keep(ctx context.Context) {
	r, pairs, bytes := s.take()
	if len(r.Pairs) == 0 && len(r.Replies) == 0 && r.Tally == (Tally{}) && !r.Tidy {
		return
	}
	err := s.book.KeepRecord(ctx, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.giveBack(r, pairs, bytes)
		if !s.failing && ctx.Err() == nil {
			s.env.Log.LogAttrs(ctx, slog.LevelWarn, "what a shadow said can't be written down; trying again",
				slog.String("instance", s.source.Address), slog.Any("error", err))
		}
	}
	s.failing = err != nil
}

func (s *shadow) take() (Record, map[sdk.Observable]*Pair, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.unkept.Tally
	t.Questions += s.questions.Swap(0)
	t.NotTaken += s.notTaken.Swap(0)
	t.NoRoom += s.noRoom.Swap(0)
	t.First.Cached += s.firstCached.Swap(0)
	r, pairs, bytes := s.unkept, s.pairs, s.bytes
	r.Shadow, r.Key, r.At = s.source.Address, s.source.Key, s.env.Now()
	r.Tidy = s.keeps%tidyEvery == 0
	s.keeps++
	for _, p := range pairs {
		r.Pairs = append(r.Pairs, *p)
	}
	s.unkept = Record{Replies: map[sdk.Observable]model.Reply{}}
	s.pairs, s.bytes = map[sdk.Observable]*Pair{}, 0
	return r, pairs, bytes
}

// giveBack takes back what was not written, as far as nothing newer has come.
func (s *shadow) giveBack(r Record, pairs map[sdk.Observable]*Pair, bytes int) {
	if r.Tidy {
		s.keeps = 0
	}
	s.unkept.Tally.Add(&r.Tally)
	s.bytes += bytes
	for o, reply := range r.Replies {
		if _, newer := s.unkept.Replies[o]; !newer && len(s.unkept.Replies) < maxUnkept {
			s.unkept.Replies[o] = reply
		}
	}
	for o, p := range pairs {
		switch newer := s.pairs[o]; {
		case newer == nil && len(s.pairs) >= maxUnkept:
			s.unkept.Tally.Unkept++
			s.forget(o)
		case newer == nil:
			s.pairs[o] = p
		default:
			if newer.First == nil {
				newer.First = p.First
			}
			if newer.Shadow == nil {
				newer.Shadow = p.Shadow
			}
		}
	}
}
