// Package detect keeps one session per detector instance: batches from the plugin
// go into the log as they are, with the cursor that stands after them, and the
// plugin gets its acknowledgement when the log has answered. So a source that can
// wait loses nothing when anything dies.
package detect

import "time"

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
