package enrich

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of one source's work.
const (
	// maxWaiting is how many asks are held in memory; the rest wait in the store.
	maxWaiting = 2048
	// urgentRoom is for the most urgent of the rest, of which urgentPage are looked at.
	urgentRoom = 256
	urgentPage = 64
	// maxLookups bounds the observables that are asked about only for late askers; the
	// oldest are forgotten first.
	maxLookups = 16_384
	// maxCalls under way at once.
	maxCalls = 4
	// maxTries of one observable.
	maxTries = 5
	// rescan is how often the backlog is read without being woken.
	rescan = 5 * time.Second
	// firstRetry and lastRetry bound the wait after a failure, which doubles. A vendor
	// may ask for more, up to longestRetry.
	firstRetry   = time.Second
	lastRetry    = time.Minute
	longestRetry = 24 * time.Hour
	// keepTimeout bounds what is kept of the answers that come while all stops.
	keepTimeout = 5 * time.Second
)

// queue does the work of one source. One goroutine owns all but wake and results.
type queue struct {
	e      *Enricher
	source Source
	own    func(sdk.Observable) bool // what names the organisation; nil: nothing does
	memory *memory
	log    *slog.Logger

	next    atomic.Pointer[terms] // to take up; nil: none
	ears    atomic.Pointer[[]ear] // who listens; nil: nobody
	wake    chan struct{}
	results chan result
	calls   sync.WaitGroup
	busy    int
	asking  int // lookups that calls are under way for

	after   Place // up to which the backlog was read
	more    bool  // it has more than there was room for
	scanned time.Time

	lookups   map[sdk.Observable]*lookup
	ready     ready           // to be asked about
	waits     map[string]bool // asks that wait, by id
	retries   retries         // to be asked about later
	deadlines fifo[*deadline] // of the asks, in their order
	late      fifo[*lookup]   // that have only late askers, or had
	waiting   int             // asks
	onlyLate  int             // lookups that have only late askers

	used      Used
	usedKnown bool
	failures  int // of whole calls, one after the other
	// heldUntil: nothing is asked before, for the reason given.
	heldUntil  time.Time
	heldReason string
	stat       Stat
}

// terms are what a source is asked by.
type terms struct {
	source Source
	own    func(sdk.Observable) bool
}

// deadline is when an asker's patience ends. Decide's time never goes back, so that
// they come in order.
type deadline struct {
	at     time.Time
	ask    string
	lookup *lookup
}

func newQueue(e *Enricher, s Source, own func(sdk.Observable) bool, m *memory) *queue {
	s.BatchLimit = max(s.BatchLimit, 1)
	return &queue{
		e: e, source: s, own: own, memory: m, log: e.Log.With("instance", s.Address),
		wake: make(chan struct{}, 1), results: make(chan result, maxCalls),
		lookups: map[sdk.Observable]*lookup{}, waits: map[string]bool{}, stat: Stat{Enrichment: s.Address},
	}
}

func (q *queue) run(ctx context.Context) {
	defer q.keepLast(ctx)
	woken := true
	for ctx.Err() == nil {
		if t := q.next.Swap(nil); t != nil {
			q.settle(*t)
		}
		if woken || q.e.Now().Sub(q.scanned) >= rescan || q.hasRoom() {
			q.scan(ctx)
		}
		q.giveUp(ctx)
		q.start(ctx)
		q.tell()
		timer := time.NewTimer(q.idle())
		woken = false
		select {
		case <-ctx.Done():
		case <-q.wake:
			woken = true
		case r := <-q.results:
			q.busy--
			q.finish(ctx, r)
		case <-timer.C:
		}
		timer.Stop()
	}
}

// hear tells who listens.
func (q *queue) hear(what func(ear)) {
	if ears := q.ears.Load(); ears != nil {
		for _, e := range *ears {
			what(e)
		}
	}
}

// tell publishes how the source is doing.
func (q *queue) tell() {
	now := q.e.Now()
	q.stat.Waiting, q.stat.Late, q.stat.Asking = q.waiting, q.onlyLate, q.asking
	q.stat.HeldUntil, q.stat.HeldBecause = time.Time{}, ""
	if now.Before(q.heldUntil) {
		q.stat.HeldUntil, q.stat.HeldBecause = q.heldUntil, q.heldReason
	}
	q.stat.Minute, q.stat.Day = Room{}, Room{}
	if q.usedKnown {
		q.stat.Minute, q.stat.Day = q.used.room(&q.source, now)
	}
	q.e.setStat(q.stat)
}

// scan takes new asks from the backlog, as far as there is room, and answers at once
// what the cache knows.
func (q *queue) scan(ctx context.Context) {
	now := q.e.Now()
	q.scanned, q.more = now, true
	var asks []Pending
	var err error
	if room := maxWaiting - q.waiting; room > 0 {
		asks, err = q.e.Backlog.PendingAsks(ctx, q.source.Address, q.after, room)
		q.more = err == nil && len(asks) == room
		for i := range asks {
			q.after = asks[i].place()
		}
	}
	if q.more && q.waiting < maxWaiting+urgentRoom {
		var urgent []Pending
		urgent, err = q.e.Backlog.UrgentAsks(ctx, q.source.Address, urgentPage)
		asks = append(asks, urgent...)
	}
	if err != nil {
		if ctx.Err() == nil {
			q.log.Error("what is asked can't be read; trying again", "error", err)
		}
		q.more = false // not at once
	}
	var replies []model.Reply
	seen := map[string]bool{}
	for i := range asks {
		a := asks[i].Ask
		if q.waits[a.ID] || seen[a.ID] {
			continue
		}
		seen[a.ID] = true
		if r, ok := q.cached(ctx, a.Observable, now); ok {
			r.Ask = a.ID
			replies = append(replies, r)
			q.stat.Hits++
			q.hear(func(e ear) { e.asked(a, &r, now) })
			continue
		}
		q.hear(func(e ear) { e.asked(a, nil, now) })
		q.add(a)
	}
	q.report(ctx, replies)
}

// hasRoom tells whether more of a long backlog is to be read.
func (q *queue) hasRoom() bool { return q.more && q.waiting <= maxWaiting/2 }

func (q *queue) add(a model.Ask) {
	l := q.lookups[a.Observable]
	if l == nil {
		l = &lookup{observable: a.Observable, index: -1}
		q.lookups[a.Observable] = l
		q.ready.push(l)
	} else if len(l.asks) == 0 {
		q.onlyLate--
	}
	l.asks = append(l.asks, a)
	q.waiting++
	q.waits[a.ID] = true
	q.ready.raise(l, a.Severity)
	// What has ended goes from the lists before it is most of them.
	if q.deadlines.len() > 2*q.waiting+maxWaiting {
		q.deadlines.keep(func(d *deadline) bool { return !d.lookup.gone })
	}
	q.deadlines.push(&deadline{at: a.AskedAt.Add(q.source.Patience), ask: a.ID, lookup: l})
}

// isLate notes that only late askers are left of a lookup, and forgets the oldest of
// these if there are too many.
func (q *queue) isLate(l *lookup) {
	q.onlyLate++
	if !l.listed {
		l.listed = true
		q.late.push(l)
	}
	if q.late.len() > 4*maxLookups {
		q.late.keep(func(l *lookup) bool { return !l.gone })
	}
	for q.onlyLate > maxLookups {
		oldest := q.late.pop()
		oldest.listed = false
		switch {
		case oldest.gone:
		case oldest.calling || len(oldest.asks) > 0:
			oldest.listed = true
			q.late.push(oldest)
		default:
			q.drop(oldest)
		}
	}
}

func (q *queue) cached(ctx context.Context, o sdk.Observable, now time.Time) (model.Reply, bool) {
	if r, ok := q.memory.get(q.source.Key, o, now); ok {
		return r, true
	}
	r, ok, err := q.e.Shelf.CachedReply(ctx, q.source.Key, o, now)
	if err != nil {
		if ctx.Err() == nil {
			q.log.Warn("the stored answers can't be read; asking again", "error", err)
		}
		return r, false
	}
	if ok {
		q.memory.set(q.source.Key, o, r, now)
	}
	return r, ok
}

// giveUp tells the askers whose patience has ended.
func (q *queue) giveUp(ctx context.Context) {
	now := q.e.Now()
	var replies []model.Reply
	for q.deadlines.len() > 0 {
		d := q.deadlines.first()
		if !d.lookup.gone && now.Before(d.at) {
			break
		}
		q.deadlines.pop()
		l := d.lookup
		if l.gone || !l.tooLate(d.ask) {
			continue
		}
		q.waiting--
		delete(q.waits, d.ask)
		if len(l.asks) == 0 {
			q.isLate(l)
		}
		reply := failedReply(d.ask, q.impatient(l, now), now)
		if len(l.asks) == 0 {
			q.hear(func(e ear) { e.said(l.observable, &reply, 0) })
		}
		replies = append(replies, reply)
	}
	q.report(ctx, replies)
}

func (q *queue) impatient(l *lookup, now time.Time) string {
	reason := fmt.Sprintf("no answer within %s", q.source.Patience)
	switch {
	case now.Before(q.heldUntil):
		reason += ": " + q.heldReason
	case l.reason != "":
		reason += ": " + l.reason
	}
	return reason
}

// start begins calls for what may be asked now.
func (q *queue) start(ctx context.Context) {
	now := q.e.Now()
	for len(q.retries) > 0 && !q.retries[0].notBefore.After(now) {
		q.ready.push(heap.Pop(&q.retries).(*lookup))
	}
	for q.busy < maxCalls && q.ready.len() > 0 && !now.Before(q.heldUntil) {
		n := min(q.ready.len(), q.source.BatchLimit)
		if n == 0 {
			return
		}
		n, again := q.spend(ctx, n, now)
		if n == 0 {
			q.heldUntil = again
			return
		}
		some, hidden := q.take(n)
		if len(some) > 0 {
			q.call(ctx, some)
		}
		q.refuse(ctx, hidden, now)
	}
}

// take gives those whose turn it is, and of these apart what the source must not be told.
// Decide asks for none of them; but it may have asked under settings by which the source
// was internal, or the name was not the organisation's.
func (q *queue) take(n int) (some, hidden []*lookup) {
	for len(some)+len(hidden) < n && q.ready.len() > 0 {
		l := q.ready.pop()
		if !q.source.Internal && q.own != nil && q.own(l.observable) {
			hidden = append(hidden, l)
			continue
		}
		some = append(some, l)
	}
	return some, hidden
}

// refuse tells the askers of what the source must not be told.
func (q *queue) refuse(ctx context.Context, hidden []*lookup, now time.Time) {
	var replies []model.Reply
	for _, l := range hidden {
		reply := failedReply("", "it is the organisation's own, and this source is not internal", now)
		if len(l.asks) > 0 {
			q.hear(func(e ear) { e.said(l.observable, &reply, 0) })
		}
		for _, a := range l.asks {
			reply.Ask = a.ID
			replies = append(replies, reply)
		}
		q.drop(l)
	}
	q.report(ctx, replies)
}

// spend takes up to n out of the source's limits, and says when again if nothing is
// left. It is written down before the call: neither a crash nor a store that can't
// write may make a quota larger.
func (q *queue) spend(ctx context.Context, n int, now time.Time) (int, time.Time) {
	if !q.source.limited() {
		return n, time.Time{}
	}
	err := q.readUsed(ctx)
	if err == nil {
		used := q.used
		m, again := used.limit(&q.source, n, now)
		if m == 0 {
			q.heldReason = "its limit is used up until " + again.UTC().Format(time.DateTime) + " UTC"
			q.stat.Limited = again
			return 0, again
		}
		used.add(m)
		if err = q.e.Shelf.SaveUsed(ctx, q.source.Address, used); err == nil {
			q.used, q.stat.Limited = used, time.Time{}
			return m, time.Time{}
		}
	}
	if ctx.Err() == nil {
		q.log.Error("what was used of the limit can't be kept; nothing is asked meanwhile", "error", err)
	}
	q.heldReason = "what was used of its limit can't be kept"
	return 0, now.Add(firstRetry)
}

func (q *queue) readUsed(ctx context.Context) error {
	if q.usedKnown {
		return nil
	}
	used, err := q.e.Shelf.Used(ctx, q.source.Address)
	if err == nil {
		q.used, q.usedKnown = used, true
	}
	return err
}

// idle is how long nothing is to be done, unless something happens.
func (q *queue) idle() time.Duration {
	if q.hasRoom() {
		return 0
	}
	now := q.e.Now()
	wait := q.scanned.Add(rescan).Sub(now)
	if q.deadlines.len() > 0 {
		wait = min(wait, q.deadlines.first().at.Sub(now))
	}
	if q.busy < maxCalls {
		switch {
		case q.ready.len() > 0:
			wait = min(wait, q.heldUntil.Sub(now))
		case len(q.retries) > 0:
			wait = min(wait, max(q.retries[0].notBefore.Sub(now), q.heldUntil.Sub(now)))
		}
	}
	return max(wait, 0)
}

func (q *queue) drop(l *lookup) {
	q.waiting -= len(l.asks)
	if len(l.asks) == 0 {
		q.onlyLate--
	}
	for _, a := range l.asks {
		delete(q.waits, a.ID)
	}
	l.gone = true
	q.ready.remove(l)
	q.retries.remove(l)
	delete(q.lookups, l.observable)
}
