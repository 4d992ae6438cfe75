package sdk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// fetchLimit bounds one Fetch.
	fetchLimit = 5 * time.Minute
	// stuckAfter is how long after its end a Fetch may go on, that does not heed it,
	// before its session gives no more signs of life.
	stuckAfter = 10 * time.Second
	// pollDefault is the interval of a Fetcher that names none.
	pollDefault = time.Minute
	// The wait after an error doubles from the first to the last of these.
	backoffFirst = time.Second
	backoffLast  = 5 * time.Minute
	// onceTries is how often in a row Fetch may fail when there is no next session,
	// and onceWait for how long a vendor may ask to be left alone.
	onceTries = 5
	onceWait  = 10 * time.Minute
)

// poller makes a Detector of a Fetcher.
type poller struct {
	fetcher Fetcher
	log     *slog.Logger
	// livesUntil is told by when the poller will have called it again.
	livesUntil func(time.Time)
}

// Detect implements Detector.
func (p *poller) Detect(ctx context.Context, start Start, out Sender) error {
	cursor, failures := start.Cursor, 0
	var behind int64
	var unit string
	for {
		page, err := p.fetch(ctx, cursor)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failures++
			wait := afterError(err, failures)
			if start.Once && (failures >= onceTries || wait > onceWait || !passing(err)) {
				return err
			}
			out.Status(err, behind, unit)
			if !sleep(ctx, wait) {
				return ctx.Err()
			}
			continue
		}
		failures, behind, unit = 0, page.Behind, page.Unit
		out.Status(nil, behind, unit)
		stuck := page.More && len(page.Events) == 0 && bytes.Equal(page.Cursor, cursor)
		if len(page.Events) > 0 || page.Cursor != nil && !bytes.Equal(page.Cursor, cursor) {
			if _, err := out.Send(ctx, page.Events, page.Cursor); err != nil {
				return err
			}
		}
		if page.Cursor != nil {
			cursor = page.Cursor
		}
		if stuck {
			p.log.Warn("the source says that there is more, and gives nothing")
		} else if page.More {
			continue
		}
		if start.Once {
			return nil
		}
		if !sleep(ctx, p.interval()) {
			return ctx.Err()
		}
	}
}

func (p *poller) fetch(ctx context.Context, cursor []byte) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	p.livesUntil(time.Now().Add(fetchLimit + stuckAfter))
	defer p.livesUntil(time.Time{}) // sending may wait for the core, as long as that likes
	return p.fetcher.Fetch(ctx, cursor)
}

// interval varies by a tenth, so that many instances do not ask in step.
func (p *poller) interval() time.Duration {
	d := p.fetcher.Interval()
	if d <= 0 {
		d = pollDefault
	}
	return d - d/20 + time.Duration(rand.Int64N(int64(d/10)+1))
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	var told *Error
	return !errors.As(err, &told) || told.Reason != Denied && told.Reason != Invalid
}

// afterError is how long to wait after so many failures in a row: what the vendor
// asked for, or else a random part, at least half, of a time that doubles.
func afterError(err error, failures int) time.Duration {
	var told *Error
	if errors.As(err, &told) && told.RetryAfter > 0 {
		return told.RetryAfter + time.Duration(rand.Int64N(int64(told.RetryAfter/10)+1))
	}
	d := min(backoffFirst<<min(failures-1, 20), backoffLast)
	return d/2 + time.Duration(rand.Int64N(int64(d/2)))
}

// sleep reports whether the time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
