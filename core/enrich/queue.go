package enrich

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of one source's work.
const (
	// pageLimit is how many asks are held in memory; the rest wait in the store.
	pageLimit = 2048
	// maxCalls under way at once.
	maxCalls = 4
	// maxTries of one observable.
	maxTries = 5
	// rescan is how often the backlog is read without being woken.
	rescan     = 5 * time.Second
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// lookup is one observable that somebody asks about: all its askers share one call.
type lookup struct {
	observable sdk.Observable
	// asks wait; the askers of late were told that it failed, and hear of an answer
	// all the same.
	asks, late []model.Ask
	tries      int
	notBefore  time.Time
	calling    bool
	reason     string
}

// question is the latest ask.
func (l *lookup) question() model.Ask {
	if n := len(l.asks); n > 0 {
		return l.asks[n-1]
	}
	return l.late[len(l.late)-1]
}

// queue does the work of one source. One goroutine owns all but wake and results.
type queue struct {
	e      *Enricher
	source Source
	memory *memory
	log    *slog.Logger

	wake    chan struct{}
	results chan result
	calls   sync.WaitGroup

	lookups map[sdk.Observable]*lookup
	order   []*lookup
	// known holds the asks that are in lookups or reported and not yet committed.
	known map[string]bool
	used  Used
	stat  Stat
	busy  int
}

type result struct {
	lookups []*lookup
	answers []Answer
	err     error
}

func newQueue(e *Enricher, s Source, m *memory) *queue {
	if s.BatchLimit <= 0 {
		s.BatchLimit = 1
	}
	return &queue{
		e: e, source: s, memory: m, log: e.Log.With("instance", s.Address),
		wake: make(chan struct{}, 1), results: make(chan result, maxCalls),
		lookups: map[sdk.Observable]*lookup{}, known: map[string]bool{},
		stat: Stat{Enrichment: s.Address},
	}
}

func (q *queue) run(ctx context.Context) {
	defer q.calls.Wait()
	used, err := q.e.Shelf.Used(ctx, q.source.Key)
	if err != nil && ctx.Err() == nil {
		q.log.Error("what was used of the limit is not known; counting from zero", "error", err)
	}
	q.used = used
	var scanned time.Time
	for ctx.Err() == nil {
		if now := q.e.Now(); now.Sub(scanned) >= rescan {
			q.scan(ctx)
			scanned = now
		}
		q.giveUp(ctx)
		next := q.start(ctx)
		q.stat.Waiting = len(q.lookups)
		q.e.setStat(q.stat)
		timer := time.NewTimer(max(min(next.Sub(q.e.Now()), rescan), time.Millisecond))
		select {
		case <-ctx.Done():
		case <-q.wake:
			scanned = time.Time{}
		case r := <-q.results:
			q.busy--
			q.finish(ctx, r)
		case <-timer.C:
		}
		timer.Stop()
	}
}

// scan takes new asks from the backlog, and answers at once what the cache knows.
func (q *queue) scan(ctx context.Context) {
	asks, err := q.e.Backlog.PendingAsks(ctx, q.source.Address, pageLimit)
	if err != nil {
		if ctx.Err() == nil {
			q.log.Error("what is asked can't be read; trying again", "error", err)
		}
		return
	}
	now := q.e.Now()
	pending := make(map[string]bool, len(asks))
	var replies []model.Reply
	for _, a := range asks {
		pending[a.ID] = true
		if q.known[a.ID] {
			continue
		}
		q.known[a.ID] = true
		if r, ok := q.cached(ctx, a.Observable, now); ok {
			r.Ask = a.ID
			replies = append(replies, r)
			q.stat.Hits++
			continue
		}
		q.add(a)
	}
	for id := range q.known {
		if !pending[id] && !q.waits(id) {
			delete(q.known, id)
		}
	}
	q.report(ctx, replies)
}

func (q *queue) waits(ask string) bool {
	is := func(a model.Ask) bool { return a.ID == ask }
	return slices.ContainsFunc(q.order, func(l *lookup) bool {
		return slices.ContainsFunc(l.asks, is)
	})
}

func (q *queue) add(a model.Ask) {
	l := q.lookups[a.Observable]
	if l == nil {
		l = &lookup{observable: a.Observable}
		q.lookups[a.Observable] = l
		q.order = append(q.order, l)
	}
	l.asks = append(l.asks, a)
}

func (q *queue) cached(ctx context.Context, o sdk.Observable, now time.Time) (model.Reply, bool) {
	if r, ok := q.memory.get(q.source.Key, o, now); ok {
		return r, true
	}
	r, ok, err := q.e.Shelf.CachedReply(ctx, q.source.Key, o, now)
	if err != nil && ctx.Err() == nil {
		q.log.Warn("the stored answers can't be read; asking again", "error", err)
	}
	if ok {
		q.memory.set(q.source.Key, o, r, now)
	}
	return r, ok && err == nil
}

// giveUp tells the askers whose patience has ended.
func (q *queue) giveUp(ctx context.Context) {
	now := q.e.Now()
	var replies []model.Reply
	for _, l := range q.order {
		waiting := l.asks[:0]
		for _, a := range l.asks {
			if now.Before(a.AskedAt.Add(q.source.Patience)) {
				waiting = append(waiting, a)
				continue
			}
			l.late = append(l.late, a)
			reason := fmt.Sprintf("no answer within %s", q.source.Patience)
			if l.reason != "" {
				reason += ": " + l.reason
			}
			replies = append(replies, model.Reply{Ask: a.ID, State: model.Failed, Reason: reason, AnsweredAt: now, Expires: now})
		}
		l.asks = waiting
	}
	q.report(ctx, replies)
}

// start begins calls for what may be asked now, and says when to look again.
func (q *queue) start(ctx context.Context) time.Time {
	for q.busy < maxCalls {
		now := q.e.Now()
		ready := q.ready(now)
		if len(ready) == 0 {
			break
		}
		n, again := q.used.limit(q.source, min(len(ready), q.source.BatchLimit), now)
		q.stat.Limited = again
		if n == 0 {
			for _, l := range ready {
				l.reason = "its limit is used up until " + again.Format(time.TimeOnly)
			}
			return q.nextDeadline(again)
		}
		q.call(ctx, ready[:n])
	}
	return q.nextDeadline(time.Time{})
}

func (q *queue) ready(now time.Time) []*lookup {
	var ready []*lookup
	for _, l := range q.order {
		if !l.calling && !now.Before(l.notBefore) {
			if ready = append(ready, l); len(ready) == q.source.BatchLimit {
				break
			}
		}
	}
	return ready
}

// nextDeadline is when something is due: at, a retry, or the end of a patience.
func (q *queue) nextDeadline(at time.Time) time.Time {
	next := q.e.Now().Add(rescan)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	sooner(at)
	for _, l := range q.order {
		if !l.calling && at.IsZero() && q.busy < maxCalls {
			sooner(l.notBefore)
		}
		if len(l.asks) > 0 {
			sooner(l.asks[0].AskedAt.Add(q.source.Patience))
		}
	}
	return next
}

func (q *queue) call(ctx context.Context, ready []*lookup) {
	q.used.add(len(ready))
	if q.source.PerMinute > 0 || q.source.PerDay > 0 {
		// Written before the call: a crash must not make a quota larger.
		if err := q.e.Shelf.SaveUsed(ctx, q.source.Key, q.used); err != nil && ctx.Err() == nil {
			q.log.Error("what was used of the limit can't be kept", "error", err)
		}
	}
	asks := make([]model.Ask, len(ready))
	for i, l := range ready {
		l.calling = true
		l.tries++
		asks[i] = l.question()
	}
	q.busy++
	q.stat.Calls++
	q.calls.Go(func() {
		callCtx, cancel := context.WithTimeout(ctx, q.source.Timeout)
		defer cancel()
		answers, err := q.e.Asker.Enrich(callCtx, q.source.Address, asks)
		if err == nil && len(answers) != len(asks) {
			err = fmt.Errorf("%d answers to %d questions", len(answers), len(asks))
		}
		q.results <- result{lookups: ready, answers: answers, err: err}
	})
}

// finish makes replies of what came back, and asks again what failed and may pass.
func (q *queue) finish(ctx context.Context, r result) {
	now := q.e.Now()
	var replies []model.Reply
	keep := map[sdk.Observable]model.Reply{}
	for i, l := range r.lookups {
		l.calling = false
		err := r.err
		var a Answer
		if err == nil {
			a = r.answers[i]
			err = a.Err
		}
		if err != nil {
			replies = append(replies, q.failed(l, err, now)...)
			continue
		}
		reply := q.reply(a, now)
		keep[l.observable] = reply
		q.memory.set(q.source.Key, l.observable, reply, now)
		for _, ask := range slices.Concat(l.late, l.asks) {
			reply.Ask = ask.ID
			replies = append(replies, reply)
		}
		q.drop(l)
	}
	if len(keep) > 0 {
		q.stat.LastError, q.stat.Since = "", time.Time{}
		if err := q.e.Shelf.CacheReplies(ctx, q.source.Key, keep, now); err != nil && ctx.Err() == nil {
			q.log.Warn("answers can't be kept", "error", err)
		}
	}
	q.report(ctx, replies)
}

func (q *queue) reply(a Answer, now time.Time) model.Reply {
	ttl := a.TTL
	if ttl <= 0 {
		ttl = q.source.TTL
	}
	state := stateOf(a)
	if state == model.Unknown {
		ttl = min(ttl, q.source.NegativeTTL)
	}
	return model.Reply{
		State: state, Answers: a.Answers, Found: a.Found, Aliases: a.Aliases,
		AnsweredAt: now, Expires: now.Add(ttl),
	}
}

func stateOf(a Answer) model.AnswerState {
	if len(a.Answers) == 0 && len(a.Found) == 0 && len(a.Aliases) == 0 {
		return model.Unknown
	}
	verdicts := 0
	for _, x := range a.Answers {
		if x.Verdict == nil {
			continue
		}
		verdicts++
		if x.Verdict.Disposition != sdk.Benign {
			return model.Known
		}
	}
	if verdicts > 0 && verdicts == len(a.Answers) {
		return model.Clean
	}
	return model.Known
}

// failed decides whether an observable is asked about again. Its askers hear of it
// when that is over, or their patience is.
func (q *queue) failed(l *lookup, err error, now time.Time) []model.Reply {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Retry: true, Reason: err.Error()}
	}
	l.reason = f.Reason
	q.stat.Failures++
	if q.stat.LastError == "" {
		q.stat.Since = now
	}
	q.stat.LastError = f.Reason
	if f.Retry && l.tries < maxTries {
		wait := firstRetry << (l.tries - 1)
		l.notBefore = now.Add(max(min(wait, lastRetry), f.RetryAfter))
		return nil
	}
	q.drop(l)
	var replies []model.Reply
	for _, a := range l.asks {
		replies = append(replies, model.Reply{Ask: a.ID, State: model.Failed, Reason: f.Reason, AnsweredAt: now, Expires: now})
	}
	return replies
}

func (q *queue) drop(l *lookup) {
	delete(q.lookups, l.observable)
	q.order = slices.DeleteFunc(q.order, func(o *lookup) bool { return o == l })
}

// report tells decide, for as long as it takes: what is not reported would wait for
// ever.
func (q *queue) report(ctx context.Context, replies []model.Reply) {
	for len(replies) > 0 && ctx.Err() == nil {
		err := q.e.Reporter.Report(ctx, replies)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			q.log.Error("answers can't be reported; trying again", "error", err)
		}
		t := time.NewTimer(firstRetry)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}
