package decide

import (
	"fmt"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// BenchmarkFlood gives signals one by one that all end in one case with responses.
func BenchmarkFlood(b *testing.B) {
	const n = 20_000
	for name, observables := range map[string]func(i int) []string{
		"same values": func(int) []string { return []string{"subject host:ws-1", "indicator ip:203.0.113.1"} },
		"always another": func(i int) []string {
			return []string{"subject host:ws-1", fmt.Sprintf("indicator ip:203.0.%d.%d", i/256, i%256)}
		},
		"many subjects": func(i int) []string {
			return []string{fmt.Sprintf("subject host:ws-%d", i%(n/4)), "indicator ip:203.0.113.1"}
		},
	} {
		b.Run(name, func(b *testing.B) {
			before := cpu()
			for range b.N {
				m := New(testCompiler)
				give := func(in model.Input) {
					if err := m.Apply(m.Position().Seq+1, 0, in); err != nil {
						b.Fatal(err)
					}
				}
				give(model.Input{At: start, Config: &model.Config{Hash: "x", Text: []byte(`"base"`)}})
				for i := range n {
					at := start.Add(time.Duration(i) * 10 * time.Millisecond)
					s := sig(fmt.Sprintf("s-%d", i), at, 90, observables(i)...)
					s.Position = model.Position{Seq: uint64(i + 1)}
					give(model.Input{At: at, Match: &model.MatchResult{Seq: uint64(i + 1), Source: "detector.ids", Total: uint64(i + 1), Signals: []model.Signal{s}}})
					for _, ask := range m.changed.asks {
						give(model.Input{At: at, Reply: &model.Reply{Ask: ask.ID, State: model.Unknown, AnsweredAt: at, Expires: at.Add(time.Hour)}})
					}
					m.changed.asks = nil
					if m.Signals() >= MaxGroupSignals {
						m.Changes()
					}
				}
				m.Changes()
			}
			b.ReportMetric(n*float64(b.N)/(cpu()-before).Seconds(), "signals/cpu-s")
		})
	}
}
