package host

import (
	"errors"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// method is one kind of call that an instance takes.
type method int

const (
	detecting method = iota // a session: it lasts
	enriching
	executing
	undoing
	checking
	answering // a stream: it lasts
	methods
)

func (m method) String() string {
	return [methods]string{"detect", "enrich", "execute", "undo", "check", "answers"}[m]
}

// faults are whose fault an error was; of nobody are calls that were cancelled, or that
// Kelpie's own end or a reload kept from being sent.
var faults = [...]sdk.Fault{sdk.FaultPlugin, sdk.FaultVendor, sdk.FaultInput, ""}

// tally counts the calls of an address, over all processes and instances that have
// served it since the Host began. To count waits for nobody and, where nothing fails,
// allocates nothing.
type tally struct {
	methods [methods]counts
	flying  atomic.Int64 // calls with the plugin, and sessions
	waiting atomic.Int64 // calls that wait for the process to be up

	restarts atomic.Int64
	ending   atomic.Pointer[Ending]
	failure  atomic.Pointer[Failure]

	// The quota as the vendor told it last; told is 0 if it never did. Each is right by
	// itself, which is enough to be shown.
	left, resets, told atomic.Int64
}

// counts of one method.
type counts struct {
	calls  atomic.Uint64
	errors [len(faults)]atomic.Uint64
	took   [latencies]atomic.Uint64
	nanos  atomic.Uint64 // all that they took
}

// Latencies are counted by powers of two: the first bound is leastLatency, the last
// before "longer" about a minute.
const (
	leastLatency = 250 * time.Microsecond
	latencies    = 20
)

// LatencyBounds are the upper bounds of Calls.Took, in seconds; what took longer than
// the last is in one more.
func LatencyBounds() []float64 {
	bounds := make([]float64, latencies-1)
	for i := range bounds {
		bounds[i] = (leastLatency << i).Seconds()
	}
	return bounds
}

// took counts how long a call was with the plugin.
func (t *tally) took(m method, d time.Duration) {
	d = max(d, 1)
	at := min(bits.Len64(uint64((d-1)/leastLatency)), latencies-1)
	t.methods[m].took[at].Add(1)
	t.methods[m].nanos.Add(uint64(d))
}

// call counts one that came to its end, well or with an error.
func (t *tally) call(m method, err error) {
	t.methods[m].calls.Add(1)
	if err != nil {
		t.failed(m, faultIn(err), reasonIn(err))
	}
}

// failed counts an error, and keeps the reason of the last that is somebody's fault.
func (t *tally) failed(m method, fault sdk.Fault, reason string) {
	if fault != "" {
		t.failure.Store(&Failure{Reason: reason, Fault: fault, At: time.Now().UTC()})
	}
	for n, f := range faults {
		if f == fault {
			t.methods[m].errors[n].Add(1)
			return
		}
	}
}

// reasonIn an error, without the instance's name before it.
func reasonIn(err error) string {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Message
	}
	return "it failed, and nobody said why" // what others say may hold a secret
}

func faultIn(err error) sdk.Fault {
	if e, ok := err.(*Error); ok { // as a rule, and errors.As allocates
		return e.Fault
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Fault
	}
	return sdk.FaultPlugin
}

// quota keeps what the vendor said is left.
func (t *tally) quota(left int64, resets, now time.Time) {
	at := int64(0)
	if !resets.IsZero() {
		at = resets.UnixNano()
	}
	t.left.Store(left)
	t.resets.Store(at)
	t.told.Store(now.UnixNano())
}

// Calls are an instance's calls of one method since the Host began, whatever process
// served them.
type Calls struct {
	Method string `json:"method"` // "detect" (sessions), "enrich", "execute", "undo", "check" or "answers" (streams)
	// Calls that have ended. A session or stream counts when it begins.
	Calls uint64 `json:"calls"`
	// Errors by whose fault: calls that failed, in whole or in part. What was cancelled,
	// or not sent because Kelpie stops or its configuration changed, is nobody's.
	Plugin uint64 `json:"plugin_errors"`
	Vendor uint64 `json:"vendor_errors"`
	Input  uint64 `json:"input_errors"`
	Nobody uint64 `json:"cancelled"`
	// Took counts the calls that reached the plugin, by LatencyBounds; Sum is how long
	// they took in all. Sessions and streams have none.
	Took []uint64      `json:"-"`
	Sum  time.Duration `json:"-"`
}

// Errors are all but those of nobody.
func (c *Calls) Errors() uint64 { return c.Plugin + c.Vendor + c.Input }

// Quantile is the time within which this part of the calls had an answer, as far as
// the bounds tell; false if there was none.
func (c *Calls) Quantile(part float64) (time.Duration, bool) {
	total := uint64(0)
	for _, n := range c.Took {
		total += n
	}
	if total == 0 {
		return 0, false
	}
	want, seen := part*float64(total), 0.0
	for i, n := range c.Took {
		if next := seen + float64(n); n > 0 && next >= want {
			upper, lower := leastLatency<<i, leastLatency<<i/2
			if i == 0 {
				lower = 0
			}
			return lower + time.Duration(float64(upper-lower)*(want-seen)/float64(n)), true
		}
		seen += float64(n)
	}
	return leastLatency << (latencies - 1), true
}

// Quota is what a vendor says is left.
type Quota struct {
	Left   int64     `json:"left"`
	Resets time.Time `json:"resets,omitzero"` // zero: it does not say
	Told   time.Time `json:"told"`
}

// Ending is why a process ended by itself or could not start.
type Ending struct {
	Reason string    `json:"reason"` // for people
	At     time.Time `json:"at"`
	// Tail is what it last said on its standard error, at most 20 lines.
	Tail []string `json:"tail,omitempty"`
}

// Failure is why a call or a session last failed, in whole or in part.
type Failure struct {
	Reason string    `json:"reason"` // for people
	Fault  sdk.Fault `json:"fault"`
	At     time.Time `json:"at"`
}

// read gives the counts of the methods that were called.
func (t *tally) read() []Calls {
	var all []Calls
	for m := range methods {
		c := &t.methods[m]
		one := Calls{Method: m.String(), Calls: c.calls.Load(), Sum: time.Duration(c.nanos.Load())}
		for n, to := range []*uint64{&one.Plugin, &one.Vendor, &one.Input, &one.Nobody} {
			*to = c.errors[n].Load()
		}
		if m != detecting && m != answering {
			one.Took = make([]uint64, latencies)
			for i := range one.Took {
				one.Took[i] = c.took[i].Load()
			}
		}
		if one.Calls+one.Errors()+one.Nobody > 0 {
			all = append(all, one)
		}
	}
	return all
}

func (t *tally) readQuota() *Quota {
	told := t.told.Load()
	if told == 0 {
		return nil
	}
	q := &Quota{Left: t.left.Load(), Told: time.Unix(0, told).UTC()}
	if at := t.resets.Load(); at != 0 {
		q.Resets = time.Unix(0, at).UTC()
	}
	return q
}
