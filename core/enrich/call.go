package enrich

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// result is what came of one call.
type result struct {
	lookups []*lookup
	answers []Answer
	err     error
	took    time.Duration
}

func (q *queue) call(ctx context.Context, lookups []*lookup) {
	asks := make([]model.Ask, len(lookups))
	for i, l := range lookups {
		l.calling = true
		asks[i] = l.question()
	}
	q.busy++
	q.asking += len(lookups)
	q.stat.Calls++
	q.hear(func(e ear) { e.called(len(asks)) })
	address, timeout := q.source.Address, q.source.Timeout
	q.calls.Go(func() {
		callCtx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		began := time.Now()
		answers, err := q.e.Asker.Enrich(callCtx, address, asks)
		took := time.Since(began)
		if err == nil && len(answers) != len(asks) {
			err = fmt.Errorf("%d answers to %d questions", len(answers), len(asks))
		}
		q.results <- result{lookups: lookups, answers: answers, err: err, took: took}
	})
}

// finish makes replies of what came back, and asks again what failed and may pass.
func (q *queue) finish(ctx context.Context, r result) {
	now := q.e.Now()
	if r.err != nil {
		q.hold(r.err, now)
	} else {
		q.failures = 0
	}
	keep, replies := q.sort(r, now)
	if len(keep) > 0 {
		q.stat.LastError, q.stat.Since = "", time.Time{}
		if err := q.e.Shelf.CacheReplies(ctx, q.source.Key, keep, now); err != nil && ctx.Err() == nil {
			q.log.Warn("answers can't be kept", "error", err)
		}
	}
	q.report(ctx, replies)
}

// sort takes a result apart into answers to keep and replies.
func (q *queue) sort(r result, now time.Time) (keep map[sdk.Observable]model.Reply, replies []model.Reply) {
	keep = map[sdk.Observable]model.Reply{}
	for i, l := range r.lookups {
		l.calling = false
		q.asking--
		l.tries++
		err := r.err
		var a Answer
		if err == nil {
			a = r.answers[i]
			err = a.Err
		}
		if err != nil {
			replies = append(replies, q.failed(l, err, r.took, now)...)
			continue
		}
		reply := q.reply(a, now)
		q.hear(func(e ear) { e.said(l.observable, &reply, r.took) })
		keep[l.observable] = reply
		q.memory.set(q.source.Key, l.observable, reply, now)
		for _, asks := range [][]model.Ask{l.late, l.asks} {
			for _, ask := range asks {
				reply.Ask = ask.ID
				replies = append(replies, reply)
			}
		}
		q.drop(l)
	}
	return keep, replies
}

func (q *queue) reply(a Answer, now time.Time) model.Reply {
	ttl := a.TTL
	if ttl <= 0 {
		ttl = q.source.TTL
	}
	state := StateOf(a)
	if state == model.Unknown {
		ttl = min(ttl, q.source.NegativeTTL)
	}
	return model.Reply{
		State: state, Answers: a.Answers, Found: a.Found, Aliases: a.Aliases,
		AnsweredAt: now, Expires: now.Add(ttl),
	}
}

// StateOf is what is known by an answer that came.
func StateOf(a Answer) model.AnswerState {
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
	if verdicts > 0 {
		return model.Clean
	}
	return model.Known
}

// hold keeps the whole source from being asked for a while after a call that failed
// as such: what is wrong then is not one observable.
func (q *queue) hold(err error, now time.Time) {
	f := failureOf(err)
	if !f.Retry {
		return
	}
	wait := firstRetry
	for range min(q.failures, 10) {
		wait = min(2*wait, lastRetry)
	}
	q.failures++
	if until := now.Add(max(wait, min(f.RetryAfter, longestRetry))); until.After(q.heldUntil) {
		q.heldUntil, q.heldReason = until, f.Reason
	}
}

func failureOf(err error) *Failure {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Retry: true, Reason: err.Error()}
	}
	return f
}

// failed decides whether an observable is asked about again. Its askers hear of it
// when that is over, or their patience is.
func (q *queue) failed(l *lookup, err error, took time.Duration, now time.Time) []model.Reply {
	f := failureOf(err)
	l.reason = f.Reason
	q.stat.Failures++
	if q.stat.LastError == "" {
		q.stat.Since = now
	}
	q.stat.LastError = f.Reason
	if f.Retry && l.tries < maxTries {
		wait := min(firstRetry<<(l.tries-1), lastRetry)
		l.notBefore = now.Add(max(wait, min(f.RetryAfter, longestRetry)))
		heap.Push(&q.retries, l)
		return nil
	}
	replies := make([]model.Reply, len(l.asks))
	for i, a := range l.asks {
		replies[i] = failedReply(a.ID, f.Reason, now)
	}
	if last := failedReply("", f.Reason, now); len(l.asks) > 0 { // or else they heard of it
		q.hear(func(e ear) { e.said(l.observable, &last, took) })
	}
	q.drop(l)
	return replies
}

func failedReply(ask, reason string, now time.Time) model.Reply {
	return model.Reply{Ask: ask, State: model.Failed, Reason: reason, AnsweredAt: now, Expires: now}
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

// keepLast waits for the calls that are under way when all stops, and keeps what they
// still bring: it was paid for, and the next start need not ask again.
func (q *queue) keepLast(ctx context.Context) {
	q.calls.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	for {
		select {
		case r := <-q.results:
			now := q.e.Now()
			keep, _ := q.sort(r, now)
			if len(keep) == 0 {
				continue
			}
			if err := q.e.Shelf.CacheReplies(ctx, q.source.Key, keep, now); err != nil {
				q.log.Warn("the last answers can't be kept", "error", err)
			}
		default:
			return
		}
	}
}
