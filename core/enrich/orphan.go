package enrich

import (
	"context"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// answerOrphans tells the askers of enrichments that are not configured any more that
// they wait for nothing.
func (e *Enricher) answerOrphans(ctx context.Context) {
	t := time.NewTicker(rescan)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := e.orphans(ctx); err != nil && ctx.Err() == nil {
			e.Log.Error("questions to enrichments that are gone can't be answered; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

func (e *Enricher) orphans(ctx context.Context) error {
	asked, err := e.Backlog.PendingEnrichments(ctx)
	if err != nil {
		return err
	}
	for _, enrichment := range asked {
		if e.configured(enrichment) {
			continue
		}
		if err := e.failAll(ctx, enrichment); err != nil {
			return err
		}
	}
	return nil
}

func (e *Enricher) configured(enrichment string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wakes[enrichment] != nil
}

func (e *Enricher) failAll(ctx context.Context, enrichment string) error {
	var after Place
	for {
		asks, err := e.Backlog.PendingAsks(ctx, enrichment, after, maxWaiting)
		if err != nil || len(asks) == 0 {
			return err
		}
		now := e.Now()
		replies := make([]model.Reply, len(asks))
		for i := range asks {
			replies[i] = failedReply(asks[i].Ask.ID, enrichment+" is not configured any more", now)
			after = asks[i].place()
		}
		if err := e.Reporter.Report(ctx, replies); err != nil {
			return err
		}
	}
}
