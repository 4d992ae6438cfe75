package correlate

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"golang.org/x/sys/unix"
)

// The benchmark is short by default. At its full size, without making ready twice:
//
//	go test ./core/correlate -run xxx -bench Windows -benchtime 1x -groups 10000000 -facts 1000000
var (
	benchGroups = flag.Int("groups", 20_000, "groups of BenchmarkWindows")
	benchFacts  = flag.Int("facts", 50_000, "facts that BenchmarkWindows measures at least")
)

// feed makes facts as a detector of failed sign-ins would: an address, a user, a host.
type feed struct {
	groups uint32
	n      uint64
	start  time.Time
	step   time.Duration
	rule   string
}

func (f *feed) fill(fact *Fact, group uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24+group)
	ip := netip.AddrFrom4(b).String()
	*fact = Fact{
		Watch: f.rule, Key: "ip:" + ip, ID: fmt.Sprintf("eve/%016x", f.n*0x9e3779b97f4a7c15),
		Time: f.start.Add(time.Duration(f.n) * f.step), Seq: f.n / 64, Index: int(f.n % 64), Severity: 50,
		Observables: []sdk.Observable{{Kind: sdk.IP, Value: ip, Role: sdk.Indicator}, {Kind: sdk.Host, Value: fmt.Sprint("ws-", f.n%500), Role: sdk.Subject}},
		Techniques:  []string{"T1110"},
	}
	f.n++
}

// next is a group such that all have a turn before one has another, in an order that
// caches do not know.
func (f *feed) next() uint32 { return uint32(f.n * 982_451_653 % uint64(f.groups)) }

// threadTime is what this thread has had of a processor, whatever others do on it.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkWindows puts facts into groups that are all live, in the steady state: each
// has two facts in its window, one comes and one goes, and Pass is called for every
// rule after each 512, as decide does. ns/fact is the processor's time of Put and Pass
// alone, on one core; B/group is the heap after a garbage collection, less what it was before,
// by groups.
func BenchmarkWindows(b *testing.B) {
	for _, rules := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("groups=%d/rules=%d", *benchGroups, rules), func(b *testing.B) { benchmarkWindows(b, rules) })
	}
}

func benchmarkWindows(b *testing.B, rules int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := heapBytes()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f := &feed{groups: uint32(*benchGroups), start: epoch, step: time.Microsecond}
	within := 2 * time.Duration(f.groups) * f.step
	var watches []Watch
	for i := range rules {
		watches = append(watches, Watch{Rule: fmt.Sprint("rule.r", i), Kind: Count, Within: within, Least: 10, Most: 20_000_000})
	}
	f.rule = watches[rules/2].Rule // the others match nothing
	w := NewWindows(watches)
	facts := make([]Fact, 512)
	var spent time.Duration
	turn := func() {
		for i := range facts {
			f.fill(&facts[i], f.next())
		}
		begin := threadTime()
		for i := range facts {
			if len(w.Put(&facts[i])) > 0 {
				b.Fatal("it reports")
			}
		}
		for i := range watches {
			w.Pass(watches[i].Rule, facts[0].Time)
		}
		spent += threadTime() - begin
	}
	for f.n < 3*uint64(f.groups) {
		if f.n%(1<<20) == 0 {
			runtime.GC()
		}
		turn()
	}
	spent = 0
	b.ResetTimer()
	turns := max(b.N, *benchFacts) / len(facts)
	for i := range turns {
		if i%512 == 0 {
			runtime.GC() // of what makes the facts; what is timed leaves next to nothing
		}
		turn()
	}
	b.StopTimer()
	n := float64(turns * len(facts))
	b.ReportMetric(float64(spent.Nanoseconds())/n, "ns/fact")
	b.ReportMetric(n/spent.Seconds(), "facts/s")
	for _, s := range w.Stats() {
		if s.Groups > 0 {
			b.ReportMetric(float64(s.Groups), "groups")
			b.ReportMetric(float64(s.Facts)/float64(s.Groups), "facts/group")
			b.ReportMetric(float64(int64(heapBytes())-int64(before))/float64(s.Groups), "B/group")
			b.ReportMetric(float64(s.Bytes)/float64(s.Groups), "B/group-told")
		}
	}
	runtime.KeepAlive(w)
}
