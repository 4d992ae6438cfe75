package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// cursorVersion is the version of the cursor's format: the JSON value that the program
// printed.
const cursorVersion = 1

const (
	// The wait after an error doubles from the first to the last of these.
	backoffFirst = time.Second
	backoffLast  = 5 * time.Minute
	// steady is how long a stream must have lasted for its end to count as the first.
	steady = time.Minute
	// closedGrace is how long a stream may go on without its output.
	closedGrace = 5 * time.Second
	// onceTries is how often in a row the program may fail when there is no next time.
	onceTries = 3
)

// detector reports what a program prints.
type detector struct {
	config  detectorConfig
	guard   *guard
	program *program
	reader  reader
}

// Config is filled from the block.
func (d *detector) Config() any { return &d.config }

// Open runs nothing.
func (d *detector) Open(_ context.Context, env sdk.Env) error {
	d.program = newProgram(&d.config.programConfig, env, d.guard, 1)
	d.reader = newReader(&d.config)
	return nil
}

// Close is called when nothing of the instance runs any more.
func (d *detector) Close() error {
	d.program.close()
	return nil
}

// Health tells whether the program could be run.
func (d *detector) Health(context.Context) error { return checkProgram(string(d.config.Program)) }

// input is what the program is given.
type input struct {
	Cursor json.RawMessage `json:"cursor"` // null: the first time
	Once   bool            `json:"once"`
}

// Detect runs the program, again and again, each time from the cursor that is durable.
func (d *detector) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	cursor, failures := start.Cursor, 0
	if len(cursor) == 0 {
		cursor = nil
	} else if !json.Valid(cursor) {
		return &sdk.Error{Reason: sdk.Invalid, Fault: sdk.FaultInput, Err: errors.New("the cursor is none of this plugin's")}
	}
	for {
		began := time.Now()
		t := newTaker(d, cursor, out)
		err := d.run(ctx, t, input{Cursor: cursor, Once: start.Once})
		if lost := t.settle(ctx); lost != nil {
			return lost
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		moved := !bytes.Equal(cursor, t.cursor)
		cursor = t.cursor
		if err == nil && d.streams() && !start.Once {
			err = errors.New("it ended, and a stream goes on: let it run, or write mode = \"poll\"")
		}
		if moved || d.streams() && time.Since(began) >= steady {
			failures = 0
		}
		wait := d.config.Every
		switch {
		case err != nil:
			failures++
			if start.Once && (failures >= onceTries || !passing(err)) {
				return err
			}
			out.Status(err, 0, "")
			wait = afterError(err, failures)
		case t.more && moved:
			continue
		case start.Once:
			return nil
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (d *detector) streams() bool { return d.config.Mode == modeStream }

// run runs the program to its end. The error tells what was wrong with it.
func (d *detector) run(ctx context.Context, t *taker, in input) error {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if !d.streams() {
		limited, cancel = context.WithTimeout(ctx, d.config.TimeLimit)
	}
	defer cancel()
	running, err := d.program.start(limited, in, d.streams())
	if err != nil {
		return &sdk.Error{Reason: sdk.Denied, Fault: sdk.FaultInput, Err: err}
	}
	wrong := t.take(ctx, running)
	if wrong == nil && d.streams() && !running.endsWithin(ctx, closedGrace) {
		wrong = errors.New("it closed its output and went on, and was ended: a stream ends with its output")
	}
	if wrong != nil {
		running.kill()
	}
	end := running.wait()
	if wrong == nil {
		wrong = t.failure(ctx, end)
	}
	if err := t.finish(ctx, wrong == nil); err != nil {
		return err
	}
	return wrong
}

// failure is what is wrong with how the program ended.
func (t *taker) failure(ctx context.Context, end ending) error {
	switch {
	case end.told:
		return t.d.program.overdue(ctx)
	case end.code == 0:
		return nil
	case end.code == exitLater:
		return &sdk.Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, RetryAfter: t.later, Err: fmt.Errorf("it wants to be run later (%s)", end)}
	case end.code == exitRefused:
		return &sdk.Error{Reason: sdk.Denied, Fault: sdk.FaultVendor, Err: fmt.Errorf("it is not let in (%s)", end)}
	}
	return fmt.Errorf("it ended with %s", end)
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	var told *sdk.Error
	return !errors.As(err, &told) || told.Reason != sdk.Denied && told.Reason != sdk.Invalid
}

// afterError is how long to wait after so many failures in a row: what the program asked
// for, or else a random part, at least half, of a time that doubles.
func afterError(err error, failures int) time.Duration {
	var told *sdk.Error
	if errors.As(err, &told) && told.RetryAfter > 0 {
		return told.RetryAfter
	}
	wait := min(backoffFirst<<min(failures-1, 20), backoffLast)
	return wait/2 + rand.N(wait/2)
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
