// Package detect keeps one session per detector instance: batches from the plugin
// go into the log as they are, with the cursor that stands after them, and the
// plugin gets its acknowledgement when the log has answered. So a source that can
// wait loses nothing when anything dies.
package detect

import (
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/core/eventlog"
)

// Settings is what the configuration says about detectors.
type Settings struct {
	Instances []Instance
	// Once: every source is read to its end, and then the session ends.
	Once bool
	// Rewind: each source is read from its beginning again.
	Rewind bool
}

// Instance is one detector block.
type Instance struct {
	Address string // "detector.eve"
	// Finite: the source can end, so that --once can wait for it.
	Finite bool
	// Maker is the connector, and the version of its cursors.
	Maker eventlog.Maker
}

// Start is where a session begins after what the log has last of the instance. A cursor
// is for the connector alone that made it: with that of another one the source is read
// from its beginning, and why is told. It is an error, a *CursorError, if a later build
// made the cursor than the one that would have to read it.
func (in Instance) Start(last eventlog.Header) (cursor []byte, why string, err error) {
	switch made := last.Maker; {
	case made == (eventlog.Maker{}): // the log is of a time when this was not noted
		return last.Cursor, "", nil
	case !made.Same(in.Maker):
		return nil, "starts from the beginning: the cursor is plugin " + made.Name() + "'s", nil
	case made.CursorVersion > in.Maker.CursorVersion:
		return nil, "", &CursorError{Made: made, Reads: in.Maker.CursorVersion}
	}
	return last.Cursor, "", nil
}

// CursorError means that the build of a connector is older than the cursor that it would
// begin with.
type CursorError struct {
	Made  eventlog.Maker
	Reads int
}

func (e *CursorError) Error() string {
	return fmt.Sprintf("the cursor is of a newer build of plugin %s: it has version %d, and this build knows up to %d. Put the newer build back; or give the block another name, and its source is read from the beginning",
		e.Made.Name(), e.Made.CursorVersion, e.Reads)
}

const (
	// credit is how many batches a plugin may send ahead of our reading.
	credit = 4
	// firstRetry and lastRetry bound the wait between sessions, which doubles and is
	// jittered. A session that lasted longer than calm starts over.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	calm       = time.Minute
	// giveUp is how many sessions in a row may fail without a batch before a source
	// counts as not readable, with Once.
	giveUp = 5
	// stopLimit is how long a session that is stopped has for what is on its way.
	stopLimit = 3 * time.Second
	// roomRetry is how often a full log is tried again.
	roomRetry = time.Second
)
