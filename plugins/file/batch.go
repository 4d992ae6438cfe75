package main

import (
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
	receipt sdk.Receipt // of a batch that was not full

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

// addOrFlush adds an event, after sending the others if it does not fit.
func (b *batch) addOrFlush(ctx context.Context, e sdk.Event) error {
	if !b.fits(&e) {
		if err := b.flush(ctx, true); err != nil {
			return err
		}
	}
	b.add(e)
	return nil
}

// flush sends the events with the cursor; without any the cursor alone, if it is due.
func (b *batch) flush(ctx context.Context, due bool) error {
	if len(b.events) == 0 && !due {
		return nil
	}
	// The SDK would fill a batch that was not full and has not gone out with some of
	// these, and only the rest would carry the cursor.
	if b.receipt != nil {
		if err := b.receipt.Wait(ctx); err != nil {
			return err
		}
		b.receipt = nil
	}
	receipt, err := b.out.Send(ctx, b.events, b.cursor())
	if err != nil {
		return err
	}
	b.receipt = receipt
	b.events, b.bytes = nil, 0
	return nil
}
