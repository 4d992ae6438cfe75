package sdk

import (
	"context"
	"time"
)

// Detector reports events in a session that it drives itself: something that is
// pushed to it, or that it follows. One session of an instance runs at a time.
// Connectors that ask for what is new implement Fetcher instead.
type Detector interface {
	// Detect reads from start.Cursor on and sends what it finds until ctx ends or,
	// with start.Once, until everything there was has been sent; then it returns
	// nil. With another error the session is started again later, from the last
	// durable cursor.
	Detect(ctx context.Context, start Start, out Sender) error
}

// Start is where a session begins.
type Start struct {
	// Cursor of the last durable batch; nil the first time.
	Cursor []byte
	// Once: read what there is and return.
	Once bool
}

// Sender takes what a detector finds. It is safe for concurrent use.
type Sender interface {
	// Send hands over events and the cursor that stands after them; nil leaves the
	// cursor as it was, and a cursor may come without events. It blocks while the
	// core has no room. Small sends are joined for up to 2 ms; those that are
	// larger than a batch (512 events, 1 MiB) are split, and the cursor moves with the
	// last part: if the session ends before that, the parts that went come twice. The returned
	// Receipt is done when the events are durable. The payloads must not be changed
	// afterwards. An error means that the session is over, or ctx; events may have
	// been sent none the less.
	Send(ctx context.Context, events []Event, cursor []byte) (Receipt, error)
	// Status tells the operator how the source is; a nil error clears an earlier
	// trouble.
	Status(trouble error, behind int64, unit string)
}

// Receipt tells when events are durable.
type Receipt interface {
	// Wait returns nil when the events are in the core's log, or an error when the
	// session ended or ctx did before it was known.
	Wait(ctx context.Context) error
}

// Fetcher is a source that is asked. The SDK's poller calls Fetch with the cursor
// that the last page returned, at once while there is more and else after the
// instance's interval, waits out retry-after, backs off from other errors, and
// acknowledges nothing itself: a cursor that was not made durable is asked again.
// A page's Cursor may be nil where it has not moved. Where the core wants all there is
// once, five failures in a row, a Denied or an Invalid end the session.
type Fetcher interface {
	Fetch(ctx context.Context, cursor []byte) (Page, error)
	// Interval between polls when there is no more.
	Interval() time.Duration
}

// Page is one answer of a Fetcher.
type Page struct {
	Events []Event
	Cursor []byte
	More   bool
	// Behind and Unit tell how far the source's newest event is away, if known.
	Behind int64
	Unit   string
}

// Acknowledged is implemented by detectors that want to be told when a cursor is
// durable, to mark or move what they read. Calls come one after the other, beside
// Detect or Fetch: first with the cursor that the session starts from, since what an
// earlier session was told may have been lost on the way, and then with later ones,
// of which some are skipped: a cursor stands for all before it. After the end of the
// session a call has a second. An error is logged.
type Acknowledged interface {
	Acknowledged(ctx context.Context, cursor []byte) error
}

// MaxEvent is the largest payload of an event, in bytes. Of a larger one a
// detector sends the first OversizeHead bytes with Oversize set.
const (
	MaxEvent     = 1 << 20
	OversizeHead = 64 << 10
)

// Event is what a detector reports. See the contract's Event for each field. The SDK
// sets Oversize where Raw is larger than MaxEvent, and Problem where there is no ID or
// the observables and techniques take more than 1 MiB: such an event is kept whole and
// set aside.
type Event struct {
	ID          string
	Revision    string
	Raw         []byte
	Time        time.Time // zero: not known
	Title       string
	Severity    *int // 0 to 100; nil: not known
	Observables []Observable
	Techniques  []string
	Stopped     *bool // nil: not known
	Link        string
	Problem     string
	Oversize    *Oversize
}

// Oversize tells where an event that was too large can be found.
type Oversize struct {
	Place  string
	Length int64
	SHA256 [32]byte
}
