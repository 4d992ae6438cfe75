package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// onceRounds bounds how often the files are looked at under once: again only if one of
// them was replaced meanwhile.
const onceRounds = 8

// maxInterval bounds how much later than asked for files are looked at.
const maxInterval = 5 * time.Second

// file reads one block's files.
type file struct {
	config config
	reader *reader
	log    *slog.Logger
}

// Config is filled from the block.
func (f *file) Config() any { return &f.config }

// Open compiles the patterns.
func (f *file) Open(_ context.Context, env sdk.Env) error {
	f.log = env.Log
	var err error
	if f.reader, err = newReader(&f.config); err != nil {
		return fmt.Errorf("the block cannot be used: %w", err)
	}
	return nil
}

// Detect reads the files from where the cursor says.
func (f *file) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	w, err := f.watch(start.Cursor, out)
	if err != nil {
		return err
	}
	defer w.close()
	if start.Once {
		return w.once(ctx)
	}
	if !f.config.Follow {
		if err := w.once(ctx); err != nil {
			return err
		}
		w.close()
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		if _, err := w.round(ctx); err != nil {
			return err
		}
		// Where there is much to look at, it is done less often.
		wait := max(f.config.Interval, min(10*w.looking, maxInterval))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch begins a session.
func (f *file) watch(cursor []byte, out sdk.Sender) (*watch, error) {
	positions, err := parseCursor(cursor)
	if err != nil {
		return nil, err
	}
	w := &watch{
		config: &f.config,
		log:    f.log,
		now:    time.Now,
		copies: map[string]copied{},
		atEnd:  len(cursor) == 0 && f.config.Start == startAtEnd,
		reader: f.reader,
		batch:  &batch{out: out},
	}
	w.batch.cursor = func() []byte { return encodeCursor(w.files) }
	for _, p := range positions {
		w.files = append(w.files, &tracked{path: p.Path, offset: p.Offset, saved: &p})
	}
	return w, nil
}

// once reads everything there is to its end. Where something could not be read that is
// an error: who waits for the end must not take this for it. Then last lines without a
// newline are left for the next time, which comes.
func (w *watch) once(ctx context.Context) error {
	for range onceRounds {
		again, err := w.round(ctx)
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	unread := w.trouble()
	if unread == nil {
		for _, t := range w.files {
			if err := w.finish(ctx, t, false); err != nil {
				return err
			}
		}
		unread = w.trouble()
	}
	if err := w.batch.flush(ctx, true); err != nil {
		return err
	}
	if unread != nil {
		return &sdk.Error{Reason: sdk.Invalid, Fault: sdk.FaultInput, Err: unread}
	}
	return nil
}
