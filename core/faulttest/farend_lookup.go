//go:build linux

package faulttest

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/far"
)

// lookupManners with their weights; those of the honest source are slow or fail only.
var lookupManners = []struct {
	manner Manner
	weight int
	honest bool
}{
	{Prompt, 30, true},
	{LookupSlow, 6, true},
	{LookupFails, 4, true},
	{LookupHangs, 3, false},
	{LookupDies, 1, false},
	{LookupLies, 8, false},
}

func (f *FarEnd) enrich(ctx context.Context, q question) (far.Replies, error) {
	m, r := f.lookupManner(q.Question)
	replies := far.Replies{Replies: make([]far.Reply, len(q.Values))}
	for i, v := range q.Values {
		score, known := Truth(f.seed, q.Enrichment, v)
		replies.Replies[i] = far.Reply{Score: score, None: !known}
	}
	switch m {
	case LookupSlow:
		wait(ctx, time.Duration(20+r.IntN(500))*time.Millisecond)
	case LookupFails:
		if r.IntN(2) == 0 {
			return far.Replies{}, errLost
		}
		for i := range replies.Replies {
			if r.IntN(2) == 0 {
				replies.Replies[i] = far.Reply{Error: "the source is busy"}
			}
		}
	case LookupHangs:
		<-ctx.Done()
		return far.Replies{}, errLost
	case LookupDies:
		replies.Crash = true
	case LookupLies:
		replies.Lie = pick(r, far.Lies())
	}
	return replies, nil
}

// lied hears of a lie that was told.
func (f *FarEnd) lied(_ context.Context, l lied) (struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manners[Manner("lookup answers "+string(l.Lie))]++
	return struct{}{}, nil
}

func (f *FarEnd) lookupManner(q far.Question) (Manner, *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := q.Enrichment + " " + q.Values[0]
	f.calls[key]++
	r := stream(f.seed, "question", key, strconv.Itoa(f.calls[key]))
	if f.tame {
		return Prompt, r
	}
	honest, total := q.Enrichment == "enrichment.honest", 0
	for _, m := range lookupManners {
		if m.honest || !honest {
			total += m.weight
		}
	}
	k := r.IntN(total)
	for _, m := range lookupManners {
		if !m.honest && honest {
			continue
		}
		if k -= m.weight; k < 0 {
			if m.manner != Prompt && m.manner != LookupLies {
				f.manners[m.manner]++
			}
			return m.manner, r
		}
	}
	return Prompt, r
}
