package conformance

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// cursorHonest reads everything, and again from each cursor on the way, in new processes.
func cursorHonest(ctx context.Context, t *trial) error {
	first, err := t.read(ctx, t.instance.samples(6), 2)
	if err != nil {
		return err
	}
	all := ids(first)
	toEnd := t.instance.fed() || len(all) < enough
	standings := cursors(first)
	for _, at := range standings {
		t.end()
		p, err := t.configured(ctx)
		if err != nil {
			return err
		}
		rest, err := t.gather(ctx, p, gathering{cursor: at.cursor, want: -1})
		if err != nil {
			return err
		}
		if toEnd {
			err = tail(all, ids(rest), at.after)
		} else {
			err = overlap(all, ids(rest), at.after)
		}
		if err != nil {
			return err
		}
	}
	if err := t.grown(ctx, all); err != nil {
		return err
	}
	if len(standings) == 0 {
		return skipf("its batches carry no cursor: who sends the events waits for the ack, which the check \"ack\" looks at")
	}
	return nil
}

// standing is a cursor and how many events were before it.
type standing struct {
	cursor []byte
	after  int
}

// cursors are a few of those that batches carried, with the first and the last.
func cursors(batches []*pluginv1.Batch) []standing {
	const most = 6
	var all []standing
	seen := 0
	for _, b := range batches {
		seen += len(b.GetEvents())
		last := len(all) - 1
		switch {
		case len(b.GetCursor()) == 0:
		case last >= 0 && bytes.Equal(all[last].cursor, b.GetCursor()):
			// An older cursor may be carried on, while a page of the source is cut up.
		default:
			all = append(all, standing{b.GetCursor(), seen})
		}
	}
	for len(all) > most {
		thinned := all[:0:0]
		for n, s := range all {
			if n%2 == 0 || n == len(all)-1 {
				thinned = append(thinned, s)
			}
		}
		all = thinned
	}
	return all
}

// grown goes on from a cursor in a source that has got more since.
func (t *trial) grown(ctx context.Context, all []string) error {
	if t.instance.Fill == nil {
		return nil
	}
	cursor, err := t.cursorAfter(ctx, len(all)/2)
	if err != nil || len(cursor) == 0 {
		return err
	}
	rest, err := t.from(ctx, cursor, len(all))
	if err != nil {
		return err
	}
	return tail(all, rest, len(all)/2)
}

// cursorAfter is where a source of so many samples has been read to its end.
func (t *trial) cursorAfter(ctx context.Context, n int) ([]byte, error) {
	t.end()
	got, err := t.read(ctx, t.instance.samples(n), 0)
	if err != nil {
		return nil, err
	}
	return got[len(got)-1].GetCursor(), nil
}

// from are the ids that a source of so many samples gives from a cursor on.
func (t *trial) from(ctx context.Context, cursor []byte, samples int) ([]string, error) {
	t.end()
	p, err := t.configured(ctx)
	if err != nil {
		return nil, err
	}
	withdraw, err := t.offer(ctx, t.instance.samples(samples))
	if err != nil {
		return nil, err
	}
	defer withdraw()
	got, err := t.gather(ctx, p, gathering{cursor: cursor, want: -1})
	return ids(got), err
}

// tail holds what came from a cursor that stood after so many events: the rest, and before
// it perhaps some of the others again.
func tail(all, again []string, after int) error {
	const do = "A cursor stands right after its batch, and the same event has the same id whenever it is read."
	missing := len(all) - after
	if len(again) < missing {
		return fail(do, "from the cursor after %d of %d events come %d, and %d are lost", after, len(all), len(again), missing-len(again))
	}
	if after == len(all) && len(again) > 0 {
		return fail(do, "from the cursor after the last of %d events %d come again, the first with the id %q", len(all), len(again), clip(again[0]))
	}
	if len(again) > len(all) || !slices.Equal(again, all[len(all)-len(again):]) {
		return fail(do, "from the cursor after %d events come the ids %s, and before they were %s", after, list(again), list(all))
	}
	return nil
}

// overlap is tail for a source that was not read to its end: what was read both times is
// the same.
func overlap(all, again []string, after int) error {
	const do = "A cursor stands right after its batch, and the same event has the same id whenever it is read."
	if after >= len(all) || len(again) == 0 {
		return nil
	}
	at := slices.Index(all, again[0])
	if at < 0 || at > after {
		return fail(do, "from the cursor after %d events comes %q first, and before it was %q", after, clip(again[0]), clip(all[after]))
	}
	n := min(len(again), len(all)-at)
	if !slices.Equal(again[:n], all[at:at+n]) {
		return fail(do, "from the cursor after %d events come the ids %s, and before they were %s", after, list(again[:n]), list(all[at:at+n]))
	}
	return nil
}

func list(ids []string) string { return clip(strings.Join(ids, ", ")) }
