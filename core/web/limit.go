package web

import (
	"hash/maphash"
	"sync"
	"time"
)

// rate is how often something may be done: a burst, and then so many a second.
type rate struct{ burst, perSecond float64 }

// perAddress is for one address, behind which there may be an office or a proxy, and
// perToken for who has one link.
var (
	perAddress = rate{burst: 120, perSecond: 10}
	perToken   = rate{burst: 30, perSecond: 0.5}
)

// manyBuckets is how many there are: those who fall into the same one share it, so that no
// flood takes more memory. Who does is not to be foreseen.
const manyBuckets = 4096

// buckets count what is done, by who does it. The zero value is full.
type buckets struct {
	mu   sync.Mutex
	seed maphash.Seed
	all  []bucket
}

type bucket struct {
	used float64
	at   time.Time
}

// take tells whether who may do one more thing, and counts it.
func (b *buckets) take(who string, r rate, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.seed, b.all = maphash.MakeSeed(), make([]bucket, manyBuckets)
	}
	one := &b.all[maphash.String(b.seed, who)%manyBuckets]
	one.used = max(0, one.used-r.perSecond*max(0, now.Sub(one.at).Seconds()))
	one.at = now
	if one.used+1 > r.burst {
		return false
	}
	one.used++
	return true
}
