package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// sessionStop is how long a detector may take to end its session once it is asked to.
const sessionStop = 5 * time.Second

// calledEvent is an event as the connector gave it.
type calledEvent struct {
	ID          string           `json:"id"`
	Revision    string           `json:"revision,omitempty"`
	Time        time.Time        `json:"time,omitzero"`
	Title       string           `json:"title,omitempty"`
	Severity    *int             `json:"severity,omitempty"`
	Observables []sdk.Observable `json:"observables,omitempty"`
	Techniques  []string         `json:"techniques,omitempty"`
	Stopped     *bool            `json:"stopped,omitempty"`
	Link        string           `json:"link,omitempty"`
	// Raw is the payload, if it is JSON; Bytes is it otherwise.
	Raw      json.RawMessage `json:"raw,omitempty"`
	Bytes    []byte          `json:"bytes,omitempty"`
	Problem  string          `json:"problem,omitempty"`
	Oversize *sdk.Oversize   `json:"oversize,omitempty"`
}

// calledBatch ends the events of one batch.
type calledBatch struct {
	Batch  int64  `json:"batch"`
	Events int    `json:"events"` // in all
	Shown  int    `json:"shown"`
	Cursor []byte `json:"cursor"`
}

// calledStatus is how the source is.
type calledStatus struct {
	Status  host.SessionState `json:"status"`
	Message string            `json:"message,omitempty"`
	Behind  int64             `json:"behind,omitempty"`
	Unit    string            `json:"behind_unit,omitempty"`
}

func (k *calling) detect() (func(context.Context) error, error) {
	if len(k.args) > 0 {
		return nil, usage("detect takes no %q", k.args[0])
	}
	if k.flags.limit < 0 {
		return nil, usage("--limit is 0 or more")
	}
	cursor, err := base64.StdEncoding.DecodeString(k.flags.cursor)
	if err != nil {
		return nil, usage("--cursor is not one that was shown")
	}
	l := &listening{calling: k, cursor: cursor, began: cursor}
	return l.run, nil
}

// listening is a session of a detector that is driven by hand.
type listening struct {
	*calling
	session *host.Session
	cursor  []byte // behind what was shown
	began   []byte
	events  int // shown
	ended   bool
}

type heard struct {
	message host.SessionMessage
	err     error
}

func (l *listening) run(ctx context.Context) error {
	d, err := l.host.Detector(l.address)
	if err != nil {
		return err
	}
	start := host.SessionStart{Cursor: l.cursor, Once: l.connector.Finite && !l.flags.follow}
	if l.flags.limit > 0 {
		start.MaxEvents = min(l.flags.limit, model.MaxBatchEvents)
	}
	// The session outlives an interrupt: it is asked to end.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if l.session, err = d.Open(life, start); err != nil {
		return err
	}
	messages := make(chan heard)
	var receiving sync.WaitGroup
	receiving.Go(func() { l.receive(life, messages) })
	defer receiving.Wait()
	defer l.session.Close()
	defer cancel()
	err = l.listen(ctx, messages)
	if err == nil {
		err = l.leave(messages)
	}
	if !l.o.json {
		l.farewell()
	}
	return err
}

func (l *listening) receive(life context.Context, messages chan<- heard) {
	for {
		m, err := l.session.Recv()
		select {
		case messages <- heard{m, err}:
		case <-life.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// listen shows what comes until there is enough, the source has ended, or somebody
// interrupts.
func (l *listening) listen(ctx context.Context, messages <-chan heard) error {
	if err := l.session.Credit(1); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-messages:
			switch {
			case errors.Is(h.err, io.EOF):
				return errors.New("the detector has ended the session by itself")
			case h.err != nil:
				return h.err
			}
			if enough, err := l.take(h.message); enough || err != nil {
				return err
			}
		}
	}
}

// take shows a message, and tells whether that was all.
func (l *listening) take(m host.SessionMessage) (enough bool, err error) {
	if s := m.Status; s != nil {
		l.ended = s.State == host.SessionEnded
		return l.ended, l.showStatus(s)
	}
	b := m.Batch
	if b == nil {
		return false, nil
	}
	whole, err := l.showBatch(b)
	if err != nil || !whole {
		return !whole, err
	}
	if !l.flags.noAck {
		if err := l.session.Ack(b.Number); err != nil {
			return false, err
		}
	}
	if l.flags.limit > 0 && l.events >= l.flags.limit {
		return true, nil
	}
	return false, l.session.Credit(1)
}

// leave asks for the end of the session, and waits for it. What still comes is neither
// shown nor acknowledged.
func (l *listening) leave(messages <-chan heard) error {
	if err := l.session.Stop(); err != nil {
		return err
	}
	timer := time.NewTimer(sessionStop)
	defer timer.Stop()
	for {
		select {
		case h := <-messages:
			if errors.Is(h.err, io.EOF) {
				return nil
			}
			if h.err != nil {
				return fmt.Errorf("it was asked to end the session: %w", h.err)
			}
		case <-timer.C:
			return fmt.Errorf("it did not end the session within %s after it was asked to", sessionStop)
		}
	}
}

// showBatch tells whether all of the batch was shown.
func (l *listening) showBatch(b *host.SessionBatch) (whole bool, err error) {
	shown := len(b.Events)
	if l.flags.limit > 0 {
		shown = min(shown, l.flags.limit-l.events)
	}
	for _, e := range b.Events[:shown] {
		l.events++
		if err := l.showEvent(e); err != nil {
			return false, err
		}
	}
	if whole = shown == len(b.Events); whole {
		l.cursor = b.Cursor
	}
	if l.o.json {
		return whole, l.line(calledBatch{Batch: b.Number, Events: len(b.Events), Shown: shown, Cursor: l.cursor})
	}
	text := fmt.Sprintf("batch %d: %s", b.Number, plural(len(b.Events), "event"))
	if !whole {
		text += fmt.Sprintf(", of which %d are shown; the cursor is still that of the batch before", shown)
	}
	indented(l.out, "", text)
	if len(l.cursor) > 0 {
		fmt.Fprintf(l.out, "  --cursor %s\n", base64.StdEncoding.EncodeToString(l.cursor)) // whole, to be pasted
	}
	return whole, nil
}

func (l *listening) showEvent(e model.Event) error {
	if !l.o.json {
		l.printEvent(e)
		return nil
	}
	out := calledEvent{
		ID: e.ID, Revision: e.Revision, Time: e.Time, Title: e.Title, Severity: e.Severity,
		Observables: e.Observables, Techniques: e.Techniques, Stopped: e.Stopped, Link: e.Link,
		Problem: e.Problem, Oversize: e.Oversize,
	}
	if json.Valid(e.Raw) {
		out.Raw = e.Raw
	} else {
		out.Bytes = e.Raw
	}
	return l.line(map[string]calledEvent{"event": out})
}

func (l *listening) printEvent(e model.Event) {
	const indent = "      "
	severity := "-"
	if e.Severity != nil {
		severity = strconv.Itoa(*e.Severity)
	}
	first := fmt.Sprintf("%4d  %-19s  %3s  %s", l.events, stamp(e.Time), severity, line(e.Title, width-32))
	fmt.Fprintln(l.out, strings.TrimRight(first, " "))
	about := "id " + e.ID
	if e.Revision != "" {
		about += ", revision " + e.Revision
	}
	if e.Stopped != nil {
		about += fmt.Sprintf(", stopped %v", *e.Stopped)
	}
	if len(e.Techniques) > 0 {
		about += ", " + strings.Join(e.Techniques, " ")
	}
	indented(l.out, indent, about)
	for _, o := range e.Observables {
		indented(l.out, indent, strings.TrimSpace(string(o.Role)+" "+o.Kind+" "+o.Value))
	}
	if e.Problem != "" {
		indented(l.out, indent+"problem: ", e.Problem)
	}
	if e.Oversize != nil {
		indented(l.out, indent, fmt.Sprintf("the head of %d bytes at %s", e.Oversize.Length, e.Oversize.Place))
	}
	if len(e.Raw) > 0 {
		fmt.Fprintln(l.out, indent+line(string(e.Raw), width-len(indent)))
	}
}

func (l *listening) showStatus(s *host.SessionStatus) error {
	if l.o.json {
		return l.line(calledStatus{s.State, s.Message, s.Behind, s.BehindUnit})
	}
	switch {
	case s.State == host.SessionTroubled:
		indented(l.err, "trouble: ", s.Message)
	case s.Behind > 0:
		indented(l.err, "", fmt.Sprintf("the source is %d %s ahead", s.Behind, s.BehindUnit))
	}
	return nil
}

// farewell says how it came to its end.
func (l *listening) farewell() {
	text := plural(l.events, "event") + "."
	if l.ended {
		text += " The source has no more."
	}
	if l.events > 0 && string(l.cursor) == string(l.began) {
		text += " The cursor has not moved: the source gives one behind more events than these, and going on begins with them again. A higher --limit gets there."
	}
	indented(l.out, "", text)
}
