package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/far"
	"github.com/kelpie-sec/kelpie/sdk"
)

// delay of a delivery that is delayed.
const delay = 150 * time.Millisecond

// player hands over the deliveries of one session.
type player struct {
	file string
	out  sdk.Sender
	at   int // behind the last delivery that was read
	// held is a delivery that is handed over behind the next one. The cursor stays
	// before it until then.
	held *far.Delivery
}

// play hands over one line of the script. What is not played plainly waits until the
// log has it, so that no two deliveries become one batch.
func (p *player) play(ctx context.Context, line []byte) error {
	d, err := read(line)
	if err != nil {
		return err
	}
	p.at += len(line)
	if p.held != nil {
		if err := deliver(ctx, d, p.out, "", true); err != nil {
			return err
		}
		if err := p.release(ctx); err != nil {
			return err
		}
		return p.note(far.Reordered)
	}
	switch d.Play {
	case far.Reordered:
		p.held = &d
		return nil
	case far.Duplicated:
		if err := deliver(ctx, d, p.out, "", true); err != nil {
			return err
		}
	case far.Delayed:
		if !pause(ctx, delay) {
			return ctx.Err()
		}
	}
	if err := deliver(ctx, d, p.out, p.cursor(), d.Play != ""); err != nil {
		return err
	}
	return p.note(d.Play)
}

// release hands over what is held back.
func (p *player) release(ctx context.Context) error {
	if p.held == nil {
		return nil
	}
	d := *p.held
	p.held = nil
	return deliver(ctx, d, p.out, p.cursor(), true)
}

func (p *player) cursor() string { return strconv.Itoa(p.at) }

func (p *player) note(play far.Play) error {
	if play == "" {
		return nil
	}
	f, err := os.OpenFile(p.file+".played", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, play); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func read(line []byte) (far.Delivery, error) {
	var d far.Delivery
	if err := json.Unmarshal(line, &d); err != nil {
		return d, fmt.Errorf("script: %w", err)
	}
	return d, nil
}

// deliver hands over a delivery, with the cursor behind it or with none.
func deliver(ctx context.Context, d far.Delivery, out sdk.Sender, cursor string, wait bool) error {
	events := make([]sdk.Event, len(d.Events))
	for i, e := range d.Events {
		events[i] = sdk.Event{ID: e.ID, Revision: e.Revision, Raw: e.Raw, Problem: e.Problem}
		if e.Large > 0 {
			events[i].Raw = bytes.Repeat([]byte{'x'}, e.Large)
		}
	}
	var at []byte
	if cursor != "" {
		at = []byte(cursor)
	}
	receipt, err := out.Send(ctx, events, at)
	if err != nil || !wait {
		return err
	}
	return receipt.Wait(ctx)
}
