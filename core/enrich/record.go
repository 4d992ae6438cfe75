package enrich

import (
	"context"
	"math/bits"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Book keeps what shadows are compared by.
type Book interface {
	// KeepRecord adds a record to what there is of its shadow: a pair's halves each take
	// the place of the half before, and the tally is added to that of its hour.
	KeepRecord(ctx context.Context, r Record) error
}

// Record is what has come of a shadow for a while.
type Record struct {
	Shadow string // its address
	At     time.Time
	Tally  Tally
	Pairs  []Pair
	// Replies are for its cache, under Key.
	Key     string
	Replies map[sdk.Observable]model.Reply
	// Tidy: what is too old, or too much, is to go.
	Tidy bool
}

// Pair is what both last said of an observable. A half that is nil: nothing yet, or
// nothing new.
type Pair struct {
	Observable    sdk.Observable
	First, Shadow *Said
	At            time.Time // when either was last heard
}

// Said is what a source said.
type Said struct {
	State   model.AnswerState `json:"state"`
	Answers []model.Answer    `json:"answers,omitempty"`
	// Cut: the answers were too large to be kept.
	Cut    bool      `json:"cut,omitempty"`
	Reason string    `json:"reason,omitempty"` // of Failed
	At     time.Time `json:"at"`
	// Took is how long the call took that it came by; 0: none was made. Cached: it came
	// from the cache.
	Took   time.Duration `json:"took_ns,omitempty"`
	Cached bool          `json:"cached,omitempty"`
}

func saidOf(r *model.Reply, took time.Duration, cached bool) Said {
	s := Said{State: r.State, Answers: r.Answers, Reason: r.Reason, At: r.AnsweredAt, Took: took, Cached: cached}
	if weigh(s.Answers) > maxSaid {
		s.Answers, s.Cut = nil, true
	}
	if len(s.Reason) > maxReason {
		s.Reason = s.Reason[:maxReason]
	}
	return s
}

// maxReason bounds a reason, in bytes.
const maxReason = 1024

func (s *Said) size() int { return 200 + len(s.Reason) + weigh(s.Answers) }

// weigh is about how many bytes answers take.
func weigh(all []model.Answer) int {
	n := 0
	for i := range all {
		a := &all[i]
		n += 400 + len(a.Details)
		switch {
		case a.Verdict != nil:
			n += texts(a.Verdict.Labels) + len(a.Verdict.Link)
		case a.Asset != nil:
			n += len(a.Asset.Name) + texts(a.Asset.IPs) + texts(a.Asset.MACs) + texts(a.Asset.Roles) + texts(a.Asset.Tags)
		case a.Identity != nil:
			n += len(a.Identity.Name) + texts(a.Identity.Groups)
		}
	}
	return n
}

func texts(all []string) (n int) {
	for _, s := range all {
		n += 16 + len(s)
	}
	return n
}

// Tally counts what became of the questions that the source was given that a shadow is
// compared with.
type Tally struct {
	Questions uint64 `json:"questions"`
	// Of these the shadow was not asked: it does not take that kind; it must not be told
	// the organisation's own names; too many waited for it.
	NotTaken uint64 `json:"not_taken,omitempty"`
	Own      uint64 `json:"own,omitempty"`
	NoRoom   uint64 `json:"no_room,omitempty"`
	// Unkept was said and not written down.
	Unkept uint64 `json:"unkept,omitempty"`

	First  Side `json:"first"`
	Shadow Side `json:"shadow"`
}

// Asked are the questions that the shadow was given.
func (t *Tally) Asked() uint64 { return t.Questions - t.NotTaken - t.Own - t.NoRoom }

func (t *Tally) side(first bool) *Side {
	if first {
		return &t.First
	}
	return &t.Shadow
}

// Add adds another tally.
func (t *Tally) Add(o *Tally) {
	t.Questions += o.Questions
	t.NotTaken += o.NotTaken
	t.Own += o.Own
	t.NoRoom += o.NoRoom
	t.Unkept += o.Unkept
	t.First.add(&o.First)
	t.Shadow.add(&o.Shadow)
}

// Side counts what one of the two did.
type Side struct {
	Cached uint64 `json:"cached"` // questions answered from the cache
	Calls  uint64 `json:"calls"`
	Asked  uint64 `json:"asked"`  // observables in these calls
	Failed uint64 `json:"failed"` // answers, no answer in time included
	// Took counts answers by how long their call took.
	Took Times `json:"took"`
}

func (s *Side) add(o *Side) {
	s.Cached += o.Cached
	s.Calls += o.Calls
	s.Asked += o.Asked
	s.Failed += o.Failed
	for i, n := range o.Took {
		s.Took[i] += n
	}
}

// Times counts durations, four to each power of two, so that a quantile is exact to a
// quarter.
type Times [81]uint64

// firstTime is the upper bound of the first.
const firstTime = 128 * time.Microsecond

func (t *Times) add(d time.Duration) {
	at, n := 0, uint64(d/(firstTime/4))
	if n >= 4 {
		power := bits.Len64(n) - 3
		at = min(1+4*power+int(n>>power)&3, len(t)-1)
	}
	t[at]++
}

// Quantile is the duration that this share of all does not exceed, but for rounding up; 0
// if there are none.
func (t *Times) Quantile(share float64) time.Duration {
	total := uint64(0)
	for _, n := range t {
		total += n
	}
	left := uint64(share * float64(total))
	for i, n := range t {
		if n > 0 && left < n {
			return upper(i)
		}
		left -= n
	}
	if total > 0 { // share is 1
		return upper(len(t) - 1)
	}
	return 0
}

func upper(i int) time.Duration {
	if i == 0 {
		return firstTime
	}
	power, quarter := (i-1)/4, (i-1)%4
	return firstTime / 4 * time.Duration((5+quarter)<<power)
}
