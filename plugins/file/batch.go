package main

import (
	"bytes"
	"context"

	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// chunkSize is what is allocated at once for small reads.
	chunkSize = 256 << 10
	// around is what the SDK counts of an event beside its texts, in bytes.
	around = 64
)

// batch gathers events until they fill a batch of the SDK's, so that each is sent with
// the cursor that stands right after it, and owns the memory that they lie in.
type batch struct {
	out    sdk.Sender
	cursor func() []byte

	events  []sdk.Event
	bytes   int
	partial sdk.Receipt // of the last batch, if it was not full
	sent    []byte      // the last cursor

	free []byte // of the memory that blocks are read into
	skim []byte
}

// room returns n bytes to read into. What of them keep does not keep is given out
// again.
func (b *batch) room(n int) []byte {
	if len(b.free) < n {
		b.free = make([]byte, max(n, chunkSize))
	}
	return b.free[:n:n]
}

// keep keeps the first n bytes that room gave last.
func (b *batch) keep(n int) { b.free = b.free[n:] }

// scratch returns memory that no event may keep.
func (b *batch) scratch() []byte {
	if b.skim == nil {
		b.skim = make([]byte, chunkSize)
	}
	return b.skim
}

func size(e *sdk.Event) int { return len(e.Raw) + len(e.ID) + len(e.Problem) + around }

// fits tells whether an event goes into the same batch.
func (b *batch) fits(e *sdk.Event) bool {
	return len(b.events) == 0 || len(b.events) < sdk.MaxBatchEvents && b.bytes+size(e) <= sdk.MaxBatchBytes
}

// add puts an event into the batch.
func (b *batch) add(e sdk.Event) {
	if b.events == nil {
		b.events = make([]sdk.Event, 0, sdk.MaxBatchEvents)
	}
	b.events = append(b.events, e)
	b.bytes += size(&e)
}

// addNext adds an event, after sending the others if it does not fit.
func (b *batch) addNext(ctx context.Context, e sdk.Event) error {
	if !b.fits(&e) {
		if err := b.send(ctx, true); err != nil {
			return err
		}
	}
	b.add(e)
	return nil
}

// flush sends what there is; without events the cursor alone, if it is due and has moved.
func (b *batch) flush(ctx context.Context, due bool) error {
	if len(b.events) == 0 && !due {
		return nil
	}
	return b.send(ctx, false)
}

// send sends the events with the cursor; full says that the next one does not fit.
func (b *batch) send(ctx context.Context, full bool) error {
	cursor := b.cursor()
	if len(b.events) == 0 && bytes.Equal(cursor, b.sent) {
		return nil
	}
	// The SDK would fill up a batch that has room and has not gone out, and the events
	// in it would not have their cursor.
	if b.partial != nil {
		if err := b.partial.Wait(ctx); err != nil {
			return err
		}
	}
	receipt, err := b.out.Send(ctx, b.events, cursor)
	if err != nil {
		return err
	}
	b.sent, b.partial = cursor, receipt
	if full {
		b.partial = nil
	}
	b.events, b.bytes = nil, 0
	return nil
}
