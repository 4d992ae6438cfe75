// Package host runs plugin processes: it finds, verifies, launches, supervises,
// restarts and stops them, and gives each configured connector as an instance.
//
// The life of a Host: New, then Start once, then calls of the instances that
// Detector, Enricher and Action return, then Stop once. Everything a Host gives may
// be used concurrently.
//
// A process serves all instances with the same executable, environment and confinement,
// unless one wants a process of its own; one that a change adds, and that needs what the
// process may not touch, gets another. It may touch what its instances' configurations
// name, of what the plugin declares, and nothing else. A process that ends, or answers no more, is
// started again and gets its instances' configurations before any call; calls made
// meanwhile wait. What a plugin says is bounded, checked, and scrubbed of secrets
// before anybody else sees it.
package host

import (
	"encoding/json"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Settings is what the configuration says about plugins.
type Settings struct {
	// PluginDir holds the executables; LockFile names the file that pins them, for
	// messages, and Lock is what it says.
	PluginDir string
	LockFile  string
	Lock      Lock
	// StateDir is where instances keep theirs, each in a folder named by its address and
	// its plugin.
	// RunDir is where the sockets of running plugins are; empty, or too long for a
	// socket's path: a folder below the system's temporary one.
	StateDir string
	RunDir   string
	// Private are further folders that are not for plugins: none that holds one of them
	// is granted as a whole.
	Private   []string
	Instances []Instance
	Timing    Timing
	// Attached are plugins by name that are not to be started, since they are there.
	Attached map[string]Attached
}

// Instance is one detector, enrichment or action block.
type Instance struct {
	Address string // "detector.eve"
	Kind    model.ConnectorKind
	Plugin  string // name, the first label
	// Path of the executable; empty: it is in PluginDir, and has the plugin's name.
	Path      string
	Connector string // within the plugin; empty: the only one of its kind
	// CursorVersion is a detector's, by its schema.
	CursorVersion int
	// Key names what it is: its plugin, connector and configuration, with secrets by name.
	Key string
	// Config and Connection are JSON objects by the plugin's schemas. They hold
	// secrets in clear: never logged, printed or stored.
	Config     json.RawMessage
	Connection json.RawMessage
	// Secrets are the values in them that must be scrubbed from whatever the plugin
	// says.
	Secrets []string
	// Env is the whole environment of the process, "KEY=value".
	Env []string
	// Own: a process of its own.
	Own bool
	// Confinement of the process.
	Confinement Confinement
	// Timeout of one call; 0: Timing.Call.
	Timeout time.Duration
}

// DefaultLimits are those of a process of which the operator says nothing.
func DefaultLimits() Limits { return Limits{Memory: 1 << 30, Processes: 512, Files: 4096} }

// Timing is how long the host waits for what. A field that is 0 is its default.
type Timing struct {
	// Start bounds the time from exec to the handshake; Configure that of one
	// instance.
	Start     time.Duration // 10 s
	Configure time.Duration // 10 s
	// Call bounds a call of an instance that has no Timeout.
	Call time.Duration // 30 s
	// Each HealthEvery the process and each instance are asked how they are; no
	// answer within HealthTimeout, HealthMisses times in a row, and the process is
	// started again.
	HealthEvery   time.Duration // 10 s
	HealthTimeout time.Duration // 1 s
	HealthMisses  int           // 3
	// A process that ended is started again after a random time, from BackoffMin to a
	// limit that doubles up to BackoffMax, and that begins anew after HealthyAfter
	// without trouble.
	BackoffMin   time.Duration // 500 ms
	BackoffMax   time.Duration // 30 s
	HealthyAfter time.Duration // 60 s
	// Crashes within CrashWindow: the plugin has failed, until Host.Restart.
	Crashes     int           // 5
	CrashWindow time.Duration // 2 min
	// Pulse is how often a detector's session is to give a sign of life, where its plugin
	// can; after three that are missing the session is cut.
	Pulse time.Duration // 10 s
	// Stop bounds the end of a process, where the caller's context does not.
	Stop time.Duration // 10 s
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		field    *time.Duration
		standard time.Duration
	}{
		{&t.Start, 10 * time.Second},
		{&t.Configure, 10 * time.Second},
		{&t.Call, 30 * time.Second},
		{&t.HealthEvery, 10 * time.Second},
		{&t.HealthTimeout, time.Second},
		{&t.BackoffMin, 500 * time.Millisecond},
		{&t.BackoffMax, 30 * time.Second},
		{&t.HealthyAfter, time.Minute},
		{&t.CrashWindow, 2 * time.Minute},
		{&t.Pulse, 10 * time.Second},
		{&t.Stop, 10 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.standard
		}
	}
	if t.HealthMisses <= 0 {
		t.HealthMisses = 3
	}
	if t.Crashes <= 0 {
		t.Crashes = 5
	}
	return t
}
