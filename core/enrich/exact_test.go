package enrich

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Outside is asked once for each different value, exactly: cold, when the same values
// come together and while their call is under way; and hot, when the cache in memory
// has dropped most of a burst, and after a restart.
func TestLookupsAreTheDistinctKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const distinct, repeats = 20_000, 3
		r := rand.New(rand.NewPCG(1, 1))
		var values []string
		for i := range distinct * repeats {
			values = append(values, fmt.Sprintf("10.%d.%d.%d", i%distinct>>16, i%distinct>>8&255, i%distinct&255))
		}
		r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		d := newDesk()
		v := &vendor{answer: func(_ context.Context, _ int, asks []model.Ask) ([]Answer, error) {
			time.Sleep(time.Millisecond)
			return known(asks), nil
		}}
		batched := func(s *Source) { s.BatchLimit = 256; s.Patience = time.Hour }
		g := begin(t, d, v, source(batched))
		for len(values) > 0 { // in parts, most of which come during a call
			n := min(len(values), 1+r.IntN(5000))
			d.ask(feed, values[:n]...)
			values = values[n:]
			g.Wake()
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
		}
		all := func(what string, asks int) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := len(d.states()); n != asks {
				t.Fatalf("%s: %d of %d asks have an answer", what, n, asks)
			}
			if n := v.asked(); n != distinct {
				t.Errorf("%s: %d values were asked outside, want %d", what, n, distinct)
			}
		}
		all("cold", distinct*repeats)
		if n := len(v.values()); n != distinct {
			t.Errorf("%d different values were asked, want %d", n, distinct)
		}
		for i := range distinct {
			d.ask(feed, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		}
		g.Wake()
		all("hot", distinct*(repeats+1))
		if s := g.Stats()[0]; s.Hits < distinct {
			t.Errorf("%d hits, want at least %d", s.Hits, distinct)
		}
		g.stop()
		g = begin(t, d, v, source(batched))
		for i := range distinct / 10 {
			d.ask(feed, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		}
		g.Wake()
		all("after a restart", distinct*(repeats+1)+distinct/10)
		g.stop()
	})
}
