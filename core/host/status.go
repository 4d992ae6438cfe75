package host

import "time"

// State of a plugin's process, or of an instance.
type State string

// The states.
const (
	Starting   State = "starting"
	Running    State = "running"
	Restarting State = "restarting" // it ended, and waits for its next start
	Failed     State = "failed"     // until Host.Restart
	Stopped    State = "stopped"
)

// Status is how one plugin process is.
type Status struct {
	Plugin  string
	Version string // as it described itself
	Path    string
	SHA256  string
	PID     int // 0: none runs
	State   State
	Since   time.Time
	// Restarts counts the starts after the first.
	Restarts int
	// LastError, for people, is why it last ended or could not start, with all that it
	// said where it did not start. Why is the reason alone, Line the first line that it
	// printed where that was no handshake, and Tail what it last said on its standard
	// error, at most 20 lines.
	LastError string
	ErrorAt   time.Time
	Why       string
	Line      string
	Tail      []string
	// DroppedLogs counts lines that were too many to be logged.
	DroppedLogs int64
	// Behind is since when the process comes after everything else on the machine, since it
	// wanted all processors for too many threads at once, until somebody starts it again;
	// zero: it does not.
	Behind    time.Time
	Confined  Confined
	Instances []InstanceStatus
	// Attached: somebody else has started it, from a file that nobody has verified. Path
	// is its socket, and PID the one that was told of, until another serves that.
	Attached bool
}

// InstanceStatus is how one instance is. Failed: it was refused its configuration.
type InstanceStatus struct {
	Address string
	State   State
	Since   time.Time
	// Trouble is what the instance says is wrong, or why it has failed; empty: nothing.
	Trouble string
	// Leaving: it is not in force any more, and stays until its work is done.
	Leaving bool

	// Of its address since the Host began, whatever process or configuration served it:
	// its calls and why one last failed, how many times its process was started again and
	// why it last ended by itself, and the quota as the vendor told it last (nil: never).
	Calls    []Calls
	Restarts int
	Ending   *Ending
	Failure  *Failure
	Quota    *Quota
	// InFlight are calls that are with the plugin, and sessions. Waiting are calls that
	// wait for the process to be up.
	InFlight, Waiting int
}
