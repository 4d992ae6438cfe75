package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// payload is an event's JSON in the source's own form.
func (i *Instance) payload(id, text string) []byte {
	if i.Payload != nil {
		return i.Payload(id, text)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(struct {
		ID   string `json:"id"`
		Text string `json:"text"`
	}{id, text}) // texts cannot fail
	return bytes.TrimSpace(out.Bytes())
}

// samples are so many events, always the same ones.
func (i *Instance) samples(n int) [][]byte {
	var all [][]byte
	for k := range n {
		all = append(all, i.payload(fmt.Sprintf("sample-%d", k), fmt.Sprintf("the %d. event of the suite", k)))
	}
	return all
}

// fed tells whether the suite knows what is in the source.
func (i *Instance) fed() bool { return i.Fill != nil || i.Push != nil }

// offer puts events into the source: at once, or, where the source sends, while a session
// runs. The caller must withdraw it.
func (t *trial) offer(ctx context.Context, payloads [][]byte) (withdraw func(), err error) {
	i := t.instance
	switch {
	case i.Fill != nil:
		if err := i.Fill(payloads); err != nil {
			return nil, fmt.Errorf("filling the source of %s: %w", i.Name, err)
		}
	case i.Push != nil:
		ctx, cancel := context.WithCancel(ctx)
		var sending sync.WaitGroup
		sending.Go(func() { _ = i.Push(ctx, payloads) }) // what does not arrive is missed by who reads
		return func() { cancel(); sending.Wait() }, nil
	}
	return func() {}, nil
}

// gathering is how a source is read.
type gathering struct {
	cursor    []byte
	maxEvents int
	// want is how many events there are; negative: it is not known, and the source is read
	// until it is quiet, or has given enough.
	want int
}

// enough is how many events are read of a source whose size is not known.
const enough = 1000

// wanted is gathering.want for a source that was given so many events.
func (t *trial) wanted(n int) int {
	if t.instance.fed() {
		return n
	}
	return -1
}

// gather reads the source in a session of its own, acknowledges all, and stops.
func (t *trial) gather(ctx context.Context, p *process, g gathering) ([]*pluginv1.Batch, error) {
	const credit = 8
	s, err := p.open(ctx, t.instance.Name, sessionStart{cursor: g.cursor, once: t.connector().GetFinite(), maxEvents: g.maxEvents, credit: credit})
	if err != nil {
		return nil, err
	}
	defer s.end()
	var all []*pluginv1.Batch
	trouble := ""
	for g.want < 0 && events(all) < enough || events(all) < g.want {
		limit := t.settings.Patience
		if g.want < 0 && !t.connector().GetFinite() && (len(all) > 0 || len(g.cursor) > 0) {
			limit = min(limit, quiet)
		}
		m, err := s.next(limit)
		switch {
		case errors.Is(err, errNothing) && g.want < 0:
			return all, nil
		case errors.Is(err, errNothing):
			return all, p.told(fail("Look why the source's events are not read.", "%d of %d events came within %s%s", events(all), g.want, limit, trouble))
		case errors.Is(err, io.EOF):
			return all, p.told(fail("A session goes on until the core stops it.", "the session ended by itself after %d events", events(all)))
		case err != nil:
			return all, p.told(fail("A session goes on until the core stops it.", "the session failed after %d events: %s", events(all), text(err)))
		}
		if b := m.GetBatch(); b != nil {
			all = append(all, b)
			s.ack(b.GetNumber())
			s.credit(1)
			continue
		}
		switch st := m.GetStatus(); st.GetState() {
		case pluginv1.DetectorState_DETECTOR_STATE_ENDED:
			if g.want < 0 {
				return all, nil
			}
			return all, p.told(fail("Look why the source's events are not read.", "it says that it has read all, and %d of %d events came", events(all), g.want))
		case pluginv1.DetectorState_DETECTOR_STATE_TROUBLED:
			trouble = "; it says: " + clip(st.GetMessage())
		}
	}
	s.stop()
	s.endsWithin(cancelLimit)
	return all, nil
}

func events(batches []*pluginv1.Batch) int {
	n := 0
	for _, b := range batches {
		n += len(b.GetEvents())
	}
	return n
}

// ids of all events in their order.
func ids(batches []*pluginv1.Batch) []string {
	all := []string{}
	for _, b := range batches {
		for _, e := range b.GetEvents() {
			all = append(all, e.GetId())
		}
	}
	return all
}

// read offers events and reads them in a process of their own.
func (t *trial) read(ctx context.Context, payloads [][]byte, maxEvents int) ([]*pluginv1.Batch, error) {
	p, err := t.configured(ctx)
	if err != nil {
		return nil, err
	}
	withdraw, err := t.offer(ctx, payloads)
	if err != nil {
		return nil, err
	}
	defer withdraw()
	got, err := t.gather(ctx, p, gathering{maxEvents: maxEvents, want: t.wanted(len(payloads))})
	if err == nil && events(got) == 0 {
		err = skipf("the source gave no event within %s; give the suite one that does", t.settings.Patience)
	}
	return got, err
}
