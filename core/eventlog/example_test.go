package eventlog_test

import (
	"context"
	"fmt"
	"os"

	"github.com/kelpie-sec/kelpie/core/eventlog"
)

// One batch on its way: from a detector's session through match into INPUTS, and
// from there to decide.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "eventlog")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	log, err := eventlog.Open(ctx, eventlog.Settings{Dir: dir, Reserve: 1 << 20})
	if err != nil {
		panic(err)
	}
	defer log.Close()

	// detect: a session goes on from the log's cursor.
	source, err := log.Source(ctx, "detector.eve")
	if err != nil {
		panic(err)
	}
	last := source.Last()
	_, err = source.Publish(ctx, eventlog.Header{
		BatchID: "7f2c", Cursor: []byte("offset 4711"), Total: last.Total + 2, Count: 2,
	}, []byte("two events"))
	if err != nil {
		panic(err)
	}

	// match: answer in INPUTS first, then acknowledge.
	batches, err := log.Events(ctx)
	if err != nil {
		panic(err)
	}
	defer batches.Close()
	results, err := log.Joiner(ctx, "match-1")
	if err != nil {
		panic(err)
	}
	batch, err := batches.Next(ctx)
	if err != nil {
		panic(err)
	}
	err = results.Add(ctx, fmt.Appendf(nil, "%d: one of %d matched", batch.Seq, batch.Count), func(_ uint64, err error) {
		if err != nil {
			batch.Nak()
			return
		}
		batch.Ack()
	})
	if err != nil {
		panic(err)
	}

	// decide: read on from the store's position.
	reader, err := log.Inputs(ctx, 1)
	if err != nil {
		panic(err)
	}
	defer reader.Close()
	input, err := reader.Next(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Printf("input %d: %s\n", input.Seq, input.Parts)
	if err := results.Close(ctx); err != nil {
		panic(err)
	}
	// Output: input 1: [1: one of 2 matched]
}
