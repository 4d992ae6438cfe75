package enrich

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

const other = "enrichment.other"

// pair is two vendors behind one Asker.
type pair struct{ first, shadow *vendor }

func (p pair) Enrich(ctx context.Context, enrichment string, asks []model.Ask) ([]Answer, error) {
	if enrichment == other {
		return p.shadow.Enrich(ctx, enrichment, asks)
	}
	return p.first.Enrich(ctx, enrichment, asks)
}

// book remembers records.
type book struct {
	mu    sync.Mutex
	err   error
	hangs bool
	pairs map[string]Pair
	sum   Tally
}

func (b *book) KeepRecord(ctx context.Context, r Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if b.err != nil {
		return b.err
	}
	b.sum.Add(&r.Tally)
	for _, p := range r.Pairs {
		had := b.pairs[p.Observable.Value]
		if p.First == nil {
			p.First = had.First
		}
		if p.Shadow == nil {
			p.Shadow = had.Shadow
		}
		b.pairs[p.Observable.Value] = p
	}
	return nil
}

func (b *book) with(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
}

func newBook() *book { return &book{pairs: map[string]Pair{}} }

func shadowSource(change func(*Source)) Source {
	return source(func(s *Source) {
		s.Address, s.Key, s.Shadow, s.Takes = other, "other's", feed, []string{sdk.IP}
		if change != nil {
			change(s)
		}
	})
}

func beginShadowed(t testing.TB, d *desk, b *book, p pair, s Settings) *rig {
	g := &rig{ended: make(chan struct{}), Enricher: &Enricher{
		Settings: s, Backlog: d, Asker: p, Reporter: d, Shelf: d, Book: b,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(g.ended)
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return g
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// addresses are n values that are asked about, and the first half of them once more.
func addresses(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("198.51.%d.%d", i/250, i%250))
	}
	return append(all, all[:n/2]...)
}

// someFail answers, and of some says that it does not know.
func someFail(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
	all := known(asks)
	for i, a := range asks {
		if strings.HasSuffix(a.Observable.Value, "7") {
			all[i] = Answer{Err: &Failure{Reason: "denied"}}
		}
	}
	return all, nil
}

// TestTheFirstDoesNotNoticeItsShadow: whatever a shadow and the book do, the askers hear
// what they would have heard, and the vendor that counts is asked what it would have been.
func TestTheFirstDoesNotNoticeItsShadow(t *testing.T) {
	const n = 300
	hang := func(ctx context.Context, _ int, _ []model.Ask) ([]Answer, error) { <-ctx.Done(); return nil, ctx.Err() }
	settings := Settings{Sources: []Source{source(nil)}}
	ran := func(shadow func(context.Context, int, []model.Ask) ([]Answer, error), b *book, s Settings) (map[string]string, []string, map[string]Used, int) {
		d := newDesk()
		d.ask(feed, addresses(n)...)
		p := pair{&vendor{answer: someFail}, &vendor{answer: shadow}}
		g := beginShadowed(t, d, b, p, s)
		until(t, "answers", func() bool { return len(d.states()) == n+n/2 })
		if len(s.Shadows) > 0 {
			until(t, "question to the shadow", func() bool { return len(p.shadow.values()) > 0 })
		}
		g.stop()
		return d.states(), p.first.values(), d.used, len(p.shadow.values())
	}
	states, values, _, _ := ran(always, newBook(), settings)
	shadowed := settings
	shadowed.Shadows = []Source{shadowSource(nil)}
	for name, c := range map[string]struct {
		answer func(context.Context, int, []model.Ask) ([]Answer, error)
		change func(*Source)
		book   func(*book)
	}{
		"answers":         {answer: always},
		"hangs":           {answer: hang},
		"fails":           {answer: func(context.Context, int, []model.Ask) ([]Answer, error) { return nil, errors.New("it ended") }},
		"says too little": {answer: func(context.Context, int, []model.Ask) ([]Answer, error) { return nil, nil }},
		"floods": {answer: func(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			all := known(asks)
			for i := range all {
				all[i].Answers[0].Details = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
			}
			return all, nil
		}},
		"is limited":     {answer: always, change: func(s *Source) { s.PerDay = 3 }},
		"no patience":    {answer: hang, change: func(s *Source) { s.Patience = 0 }},
		"the book fails": {answer: always, book: func(b *book) { b.err = errDisk }},
		"the book hangs": {answer: always, book: func(b *book) { b.hangs = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := newBook(), shadowed
			s.Shadows = []Source{shadowSource(c.change)}
			if c.book != nil {
				c.book(b)
			}
			gotStates, gotValues, used, asked := ran(c.answer, b, s)
			if diff := cmp.Diff(states, gotStates); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(values, gotValues); diff != "" {
				t.Error(diff)
			}
			if len(used) > 1 || len(used) == 1 && used[other].Day == 0 {
				t.Errorf("limits used: %+v", used)
			}
			if asked == 0 {
				t.Error("the shadow was never asked")
			}
		})
	}
}

// TestAShadowIsAskedTheSame: what the cache of the first knows too; it is counted and
// both halves are kept.
func TestAShadowIsAskedTheSame(t *testing.T) {
	const n = 40
	d, b := newDesk(), newBook()
	p := pair{&vendor{answer: someFail}, &vendor{answer: always}}
	g := beginShadowed(t, d, b, p, Settings{Sources: []Source{source(nil)}, Shadows: []Source{shadowSource(nil)}})
	d.ask(feed, addresses(n)...)
	g.Wake()
	both := func() bool {
		whole := 0
		b.with(func() {
			for _, p := range b.pairs {
				if p.First != nil && p.Shadow != nil {
					whole++
				}
			}
		})
		return whole == n
	}
	until(t, "pairs", both)
	calls := p.shadow.asked()
	d.ask(feed, addresses(n)[:4]...) // from both caches now
	d.with(func() { d.pending[len(d.pending)-1].Ask.Observable.Kind = sdk.Domain })
	g.Wake()
	until(t, "the rest", func() bool {
		done := false
		b.with(func() { done = b.sum.Questions == n+n/2+4 && b.sum.Shadow.Cached >= 3 })
		return done
	})
	g.stop()
	if p.shadow.asked() != calls {
		t.Errorf("the shadow was asked %d times, and %d times again what its cache has", calls, p.shadow.asked()-calls)
	}
	if b.sum.NotTaken != 1 || b.sum.NoRoom+b.sum.Own+b.sum.Unkept != 0 || b.sum.Asked() != n+n/2+3 {
		t.Errorf("%+v", b.sum)
	}
	if b.sum.First.Calls == 0 || b.sum.Shadow.Calls == 0 || b.sum.First.Took.Quantile(0.5) == 0 || b.sum.Shadow.Took.Quantile(1) == 0 {
		t.Errorf("first %+v, shadow %+v", b.sum.First, b.sum.Shadow)
	}
	failed := b.pairs["198.51.0.7"]
	if failed.First.State != model.Failed || failed.First.Reason != "denied" || failed.Shadow.State != model.Known || len(failed.Shadow.Answers) != 1 {
		t.Errorf("first %+v, shadow %+v", failed.First, failed.Shadow)
	}
}

// TestOwnNamesStayInside although the first was asked about them.
func TestOwnNamesStayInside(t *testing.T) {
	for internal, want := range map[bool][]string{false: {"198.51.0.1"}, true: {"10.0.0.1", "198.51.0.1"}} {
		d, b := newDesk(), newBook()
		p := pair{&vendor{answer: always}, &vendor{answer: always}}
		d.ask(feed, "10.0.0.1", "198.51.0.1")
		g := beginShadowed(t, d, b, p, Settings{
			Sources: []Source{source(func(s *Source) { s.Internal = true })}, Shadows: []Source{shadowSource(func(s *Source) { s.Internal = internal })},
			Own: func(o sdk.Observable) bool { return strings.HasPrefix(o.Value, "10.") },
		})
		until(t, "pairs", func() bool {
			whole := 0
			b.with(func() {
				for _, p := range b.pairs {
					if p.First != nil && p.Shadow != nil {
						whole++
					}
				}
			})
			return whole == len(want)
		})
		g.stop()
		if got := p.shadow.values(); !slices.Equal(got, want) {
			t.Errorf("internal %v: the shadow was asked about %v", internal, got)
		}
		if !internal && (b.sum.Own != 1 || len(b.pairs) != 1) {
			t.Errorf("%+v, %v", b.sum, slices.Collect(maps.Keys(b.pairs)))
		}
	}
}

// TestShadowsComeAndGo while a call of the first is under way, which goes on.
func TestShadowsComeAndGo(t *testing.T) {
	d, b := newDesk(), newBook()
	answer, cut := make(chan struct{}), false
	p := pair{&vendor{answer: func(ctx context.Context, _ int, asks []model.Ask) ([]Answer, error) {
		select {
		case <-answer:
		case <-ctx.Done():
			cut = true
		}
		return known(asks), nil
	}}, &vendor{answer: always}}
	first := source(nil)
	g := beginShadowed(t, d, b, p, Settings{Sources: []Source{first}})
	d.ask(feed, "198.51.0.1")
	g.Wake()
	until(t, "a call", func() bool { return p.first.count() == 1 })
	sources := []Source{first}
	for _, shadows := range [][]Source{{shadowSource(nil)}, {shadowSource(func(s *Source) { s.PerDay = 7 })}, nil, {shadowSource(nil)}} {
		if err := g.Apply(t.Context(), Settings{Sources: sources, Shadows: shadows}); err != nil {
			t.Fatal(err)
		}
		if st := g.Stats(); len(st) != 1+len(shadows) || len(shadows) > 0 && st[1].Shadow != feed {
			t.Errorf("stats %+v", st)
		}
	}
	close(answer)
	until(t, "the answer", func() bool { return len(d.of("a-0")) == 1 })
	d.ask(feed, "198.51.0.2")
	g.Wake()
	until(t, "a call of the shadow", func() bool { return p.shadow.count() == 1 })
	g.stop()
	if cut || p.first.count() != 2 {
		t.Errorf("the first was called %d times, a call cut: %v", p.first.count(), cut)
	}
}

// TestAShadowThatIsFullDropsAndCounts: what is not asked is neither kept nor waited for.
func TestAShadowThatIsFullDropsAndCounts(t *testing.T) {
	d, b := newDesk(), newBook()
	e := &Enricher{Asker: pair{}, Shelf: d, Book: b, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	m, err := newMemory(asideBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	s := newShadow(e, shadowSource(nil), nil, m) // which nobody runs
	now := time.Now()
	for i := range maxOffered + 10 {
		if i%maxPace == 0 {
			now = now.Add(time.Second)
		}
		s.offer(model.Ask{ID: fmt.Sprint(i), Observable: sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(i)}}, now)
	}
	for i := range maxUnkept + 5 {
		s.given.add(sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(i)})
		r := model.Reply{State: model.Known, AnsweredAt: time.Now()}
		s.hear(false, sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(i)}, &r, 0, false)
	}
	b.err = errDisk
	s.keep(t.Context())
	b.err = nil
	s.keep(t.Context())
	if b.sum.NoRoom != 10 || b.sum.Unkept != 5 || len(b.pairs) != maxUnkept || s.asks.len() != maxOffered {
		t.Errorf("%+v; %d pairs, %d asks", b.sum, len(b.pairs), s.asks.len())
	}
}

// TestAShadowMayLinger until it has answered what it was asked, and no longer than that.
func TestAShadowMayLinger(t *testing.T) {
	for linger, want := range map[time.Duration]model.AnswerState{0: "", 10 * time.Second: model.Known} {
		d, b := newDesk(), newBook()
		answer := make(chan struct{})
		p := pair{&vendor{answer: always}, &vendor{answer: func(ctx context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			select {
			case <-answer:
				return known(asks), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}}
		e := &Enricher{
			Settings: Settings{Sources: []Source{source(nil)}, Shadows: []Source{shadowSource(nil)}}, Linger: linger,
			Backlog: d, Asker: p, Reporter: d, Shelf: d, Book: b, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		}
		d.ask(feed, "198.51.0.1")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- e.Run(ctx) }()
		until(t, "both calls", func() bool { return p.first.count() == 1 && p.shadow.count() == 1 && len(d.of("a-0")) == 1 })
		stop()
		if linger > 0 {
			close(answer)
		}
		began := time.Now()
		if err := <-ended; err != nil || time.Since(began) > linger/2+time.Second {
			t.Errorf("linger %v: %v after %v", linger, err, time.Since(began))
		}
		got := model.AnswerState("")
		if said := b.pairs["198.51.0.1"].Shadow; said != nil {
			got = said.State
		}
		if got != want {
			t.Errorf("linger %v: the shadow said %q, want %q", linger, got, want)
		}
	}
}

// TestAShadowsPace: more questions than it is given in a second are counted as not asked,
// and nothing that is said about them is kept.
func TestAShadowsPace(t *testing.T) {
	e := &Enricher{Asker: pair{}, Shelf: newDesk(), Book: newBook(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	m, err := newMemory(asideBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	s := newShadow(e, shadowSource(nil), nil, m) // which nobody runs
	now := time.Now()
	o := sdk.Observable{Kind: sdk.IP, Value: "198.51.0.1"}
	given := 0
	for i := range 3 * maxPace {
		if s.offer(model.Ask{ID: fmt.Sprint(i), Observable: o}, now.Add(time.Duration(i/(2*maxPace))*time.Second)) {
			given++
		}
	}
	late := model.Reply{State: model.Known, AnsweredAt: now}
	s.hear(true, sdk.Observable{Kind: sdk.IP, Value: "198.51.0.2"}, &late, 0, false)
	r, _, _ := s.take()
	if given != 2*maxPace || r.Tally.NoRoom != maxPace || r.Tally.Questions != 3*maxPace || len(r.Pairs) != 0 {
		t.Errorf("%d given, %+v, %d pairs", given, r.Tally, len(r.Pairs))
	}
}

// TestGiven: of very many observables those of before are forgotten first.
func TestGiven(t *testing.T) {
	var g given
	o := func(i int) sdk.Observable { return sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(i)} }
	for i := range 2*maxGiven + 1 {
		g.add(o(i))
	}
	if g.of(o(0)) != nil || g.of(o(maxGiven)) == nil || g.of(o(2*maxGiven)) == nil || len(g.now)+len(g.before) > 2*maxGiven {
		t.Errorf("%d and %d are remembered", len(g.now), len(g.before))
	}
}

func TestTimes(t *testing.T) {
	var none Times
	if q := none.Quantile(0.5); q != 0 {
		t.Errorf("of nothing %v", q)
	}
	for _, d := range []time.Duration{0, 1, 127 * time.Microsecond, 128 * time.Microsecond, time.Millisecond, 17 * time.Millisecond, time.Second, 90 * time.Second, 24 * time.Hour} {
		var one Times
		one.add(d)
		q := one.Quantile(0.5)
		if q < min(d, 100*time.Second) || d >= firstTime && q > d+d/4+1 {
			t.Errorf("%v is counted as %v", d, q)
		}
	}
	var all Times
	for i := range 100 {
		all.add(time.Duration(i+1) * time.Millisecond)
	}
	if half, most := all.Quantile(0.5), all.Quantile(0.99); half < 50*time.Millisecond || half > 65*time.Millisecond || most < 99*time.Millisecond || most > 125*time.Millisecond {
		t.Errorf("half within %v, 99 of 100 within %v", half, most)
	}
}
