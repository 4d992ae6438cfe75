package enrich

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// stream asks without end, about so many values, and counts the answers.
type stream struct {
	*desk
	values  int
	asked   atomic.Int64
	replies atomic.Int64
}

func (s *stream) PendingAsks(_ context.Context, _ string, after Place, limit int) ([]Pending, error) {
	all := make([]Pending, limit)
	for i := range all {
		n := int(after.Number) + i + 1
		all[i] = Pending{Number: int64(n), Ask: model.Ask{
			ID: fmt.Sprint("a-", n), Observable: sdk.Observable{Kind: sdk.IP, Value: fmt.Sprintf("%d.%d.%d.%d", n%s.values>>24, n%s.values>>16&255, n%s.values>>8&255, n%s.values&255)},
			AskedAt: time.Now(),
		}}
	}
	s.asked.Add(int64(limit))
	return all, nil
}

func (s *stream) UrgentAsks(context.Context, string, int) ([]Pending, error) { return nil, nil }

func (s *stream) Report(_ context.Context, replies []model.Reply) error {
	s.replies.Add(int64(len(replies)))
	return nil
}

func (s *stream) CachedReply(context.Context, string, sdk.Observable, time.Time) (model.Reply, bool, error) {
	return model.Reply{}, false, nil
}

func (s *stream) CacheReplies(context.Context, string, map[sdk.Observable]model.Reply, time.Time) error {
	return nil
}

// quick answers at once.
type quick struct{}

func (quick) Enrich(_ context.Context, _ string, asks []model.Ask) ([]Answer, error) {
	return known(asks), nil
}

// BenchmarkShadow is how many answers a second the askers of a source have, without a
// shadow and with one, in turn: where each value is new, and where the cache has most.
func BenchmarkShadow(b *testing.B) {
	for name, values := range map[string]int{"new": 1 << 31, "cached": 1000} {
		b.Run(name, func(b *testing.B) {
			var took [2]time.Duration
			var answers [2]int64
			for range b.N {
				for shadows := range took {
					s := &stream{desk: newDesk(), values: values}
					e := &Enricher{
						Settings: Settings{Sources: []Source{source(func(s *Source) { s.BatchLimit = 64 })}},
						Backlog:  s, Asker: quick{}, Reporter: s, Shelf: s, Book: newBook(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
					}
					if shadows > 0 {
						e.Settings.Shadows = []Source{shadowSource(func(s *Source) { s.BatchLimit = 64 })}
					}
					ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
					began := time.Now()
					if err := e.Run(ctx); err != nil {
						b.Fatal(err)
					}
					took[shadows] += time.Since(began)
					answers[shadows] += s.replies.Load()
					stop()
				}
			}
			without, with := float64(answers[0])/took[0].Seconds(), float64(answers[1])/took[1].Seconds()
			b.ReportMetric(without, "answers/s")
			b.ReportMetric(with, "answers/s-shadowed")
			b.ReportMetric(100*(1-with/without), "%-less")
		})
	}
}
