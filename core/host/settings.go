// Package host runs plugin processes: it finds, verifies, launches, supervises,
// restarts and stops them, and gives each configured connector as an instance.
package host

import (
	"encoding/json"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Settings is what the configuration says about plugins.
type Settings struct {
	// PluginDir holds the executables; LockFile pins them.
	PluginDir string
	LockFile  string
	// StateDir is where instances keep theirs; RunDir where processes are recorded.
	StateDir  string
	RunDir    string
	Instances []Instance
}

// Instance is one detector, enrichment or action block.
type Instance struct {
	Address   string // "detector.eve"
	Kind      model.ConnectorKind
	Plugin    string // name, the first label
	Connector string // within the plugin; empty: the only one of its kind
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
	// Timeout of one call.
	Timeout time.Duration
}
