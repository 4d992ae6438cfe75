package eventlog

import (
	"errors"
	"fmt"
)

var (
	// ErrFull says that there is no room: the stream is at its limit, or less
	// is free on the file system than the reserve. Nothing was written; the
	// same call may succeed once room was made.
	ErrFull = errors.New("log is full")
	// ErrFenced says that another session has written for this instance, or
	// that the batch does not follow the last one in the log. The session must
	// end; a new one starts from the log's cursor.
	ErrFenced = errors.New("session is fenced")
	// ErrSick says that the server did not answer, as after a write error of
	// the disk. Whether the message was written is unknown. Nothing is
	// published until Log.Reopen has succeeded.
	ErrSick = errors.New("log is sick")
	// ErrTooLarge says that a message does not fit into a log message.
	ErrTooLarge = errors.New("message is too large")
	// ErrShort says that the log ends before the position asked for: its tail
	// was lost.
	ErrShort = errors.New("log is shorter than the position")
	// ErrGap says that messages are missing at the position asked for.
	ErrGap = errors.New("messages are missing")
	// ErrDamaged says that a message cannot be taken apart.
	ErrDamaged = errors.New("message is damaged")
	// ErrNotFound says that no message has this sequence.
	ErrNotFound = errors.New("message not found")
	// ErrClosed says that the log, consumer, reader or joiner was closed.
	ErrClosed = errors.New("log is closed")
	// ErrLocked says that another process has the log's folder open.
	ErrLocked = errors.New("log is open in another process")
)

// PositionError tells where a stream does not hold what a reader counts on. It
// matches ErrShort or ErrGap.
type PositionError struct {
	Stream string
	Want   uint64 // the sequence asked for
	Have   uint64 // the next sequence there is; for ErrShort, the last
	err    error
}

func (e *PositionError) Error() string {
	return fmt.Sprintf("%s: %v: want %d, have %d", e.Stream, e.err, e.Want, e.Have)
}

func (e *PositionError) Unwrap() error { return e.err }
