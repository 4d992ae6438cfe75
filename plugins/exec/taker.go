package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// maxOutput bounds what one run of a poll prints and one line of a stream, in bytes.
	maxOutput = 64 << 20
	// maxHeld and maxHeldBytes bound what a poll prints without a cursor line.
	maxHeld      = 50_000
	maxHeldBytes = 16 << 20
	// sendAt is how many events of a stream are sent at once, if so many are there.
	sendAt = 256
)

// taker takes what one run of a detector's program prints. Of a poll it holds events
// back until a cursor line, or a good end, says that they count. A stream's are sent as
// they come: it has no end at which it could tell.
type taker struct {
	d      *detector
	out    sdk.Sender
	cursor []byte
	places *places
	more   bool
	later  time.Duration

	held    []sdk.Event
	bytes   int
	number  int64 // of the line
	tail    *line // the last line, if the output ended in the middle of it
	receipt sdk.Receipt
	lost    error // what ended the session
	well    bool  // something could be read
}

func newTaker(d *detector, cursor []byte, out sdk.Sender) *taker {
	t := &taker{d: d, out: out, cursor: cursor, places: newPlaces(cursor, !d.streams())}
	if len(cursor) == 0 && d.streams() {
		// What a stream without cursors prints, it never prints again: a line like an
		// earlier one is another event.
		t.places.under = []byte(rand.Text())
	}
	return t
}

// take reads the output to its end. The error is for who wrote the program.
func (t *taker) take(ctx context.Context, output io.Reader) error {
	in := newLines(output, sdk.MaxEvent, sdk.OversizeHead, maxOutput)
	for {
		l, err := in.next()
		switch {
		case errors.Is(err, errEndless):
			return fmt.Errorf("line %d of its output has more than %d MiB and no end, and it was ended: let it print one event a line", t.number+1, maxOutput>>20)
		case err != nil:
			return nil
		case !t.d.streams() && in.read > maxOutput:
			return fmt.Errorf("it printed more than %d MiB in one run and was ended: let it print less, and then {\"cursor\": …, \"more\": true}", maxOutput>>20)
		}
		t.number++
		if !l.ended {
			t.tail = &l
			return nil
		}
		if err := t.line(ctx, l); err != nil {
			return err
		}
		if t.d.streams() && (len(t.held) >= sendAt || !in.ready()) {
			if err := t.send(ctx, nil); err != nil {
				return err
			}
		}
	}
}

// line takes one line.
func (t *taker) line(ctx context.Context, l line) error {
	if l.length > sdk.MaxEvent {
		return t.hold(sdk.Event{ID: t.places.id(l.sum[:]), Raw: l.text, Oversize: &sdk.Oversize{
			Place: "line " + strconv.FormatInt(t.number, 10) + " of a run's output", Length: l.length, SHA256: l.sum,
		}})
	}
	text := bytes.Trim(l.text, " \t\r")
	if len(text) == 0 {
		return nil
	}
	control, event, err := t.d.reader.read(text)
	switch {
	case err != nil:
		return err
	case control == nil:
		if event.ID == "" {
			event.ID = t.places.id(text)
		}
		return t.hold(event)
	}
	t.more, t.later = control.More, min(time.Duration(control.RetryAfter), maxLater)
	if control.Cursor == nil {
		return nil
	}
	return t.send(ctx, control.Cursor)
}

func (t *taker) hold(e sdk.Event) error {
	t.held = append(t.held, e)
	t.bytes += len(e.Raw)
	if len(t.held) > maxHeld || t.bytes > maxHeldBytes {
		return fmt.Errorf("it printed more than %d events or %d MiB without a cursor line and was ended: let it print {\"cursor\": …} in between, or fewer events a run", maxHeld, maxHeldBytes>>20)
	}
	return nil
}

// send hands over what is held, and the cursor that stands after it if there is a new
// one.
func (t *taker) send(ctx context.Context, cursor []byte) error {
	if !t.well && t.d.streams() {
		t.well = true
		t.out.Status(nil, 0, "")
	}
	if len(t.held) == 0 && cursor == nil {
		return nil
	}
	receipt, err := t.out.Send(ctx, t.held, cursor)
	if err != nil {
		t.lost = err
		return err
	}
	t.receipt = receipt
	t.held, t.bytes = nil, 0
	if cursor != nil {
		t.cursor = cursor
		t.places = newPlaces(cursor, !t.d.streams())
	}
	return nil
}

// finish takes what is left when the program has ended. Of a poll that failed it counts
// nothing, since it is printed again; of a stream the beginning of a line is kept, since
// it may not be.
func (t *taker) finish(ctx context.Context, good bool) error {
	if !good && !t.d.streams() || t.lost != nil || ctx.Err() != nil {
		return nil
	}
	if t.tail != nil && good {
		if err := t.line(ctx, *t.tail); err != nil {
			return err
		}
	} else if t.tail != nil && len(bytes.TrimSpace(t.tail.text)) > 0 {
		if err := t.hold(sdk.Event{ID: t.places.id(t.tail.text), Raw: t.tail.text, Problem: "the program ended in the middle of this line"}); err != nil {
			return err
		}
	}
	if err := t.send(ctx, nil); err != nil {
		return err
	}
	if good {
		t.out.Status(nil, 0, "")
	}
	return nil
}

// settle waits until all that was sent is durable, so that a cursor that the program is
// given again tells it what it need not keep any more.
func (t *taker) settle(ctx context.Context) error {
	if t.lost != nil {
		return t.lost
	}
	if t.receipt == nil {
		return nil
	}
	return t.receipt.Wait(ctx)
}
