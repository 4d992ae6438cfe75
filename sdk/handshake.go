package sdk

import "github.com/hashicorp/go-plugin"

// What the core's side of a connection and the plugin's side must agree on.
const (
	// ProtocolVersion is the version of kelpie.plugin.v1 in go-plugin's negotiation.
	ProtocolVersion = 1
	// PluginName is the one entry in go-plugin's set of plugins.
	PluginName = "kelpie"
	// MaxMessage is the largest message either side sends or takes, in bytes. go-plugin
	// leaves the plugin's side at 4 MiB and the core's without a limit.
	MaxMessage = 16 << 20
	// DetectPulse is the capability of giving signs of life in a detector's session.
	DetectPulse = "detect.pulse"
	// LogLevelEnv names the variable with the least level that the core wants to have
	// logged: trace, debug, info, warn or error. Without it: info.
	LogLevelEnv = "KELPIE_LOG_LEVEL"
)

// Handshake is go-plugin's configuration for both sides. The cookie tells a person
// who starts a plugin by hand what it is; it protects nothing.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "KELPIE_PLUGIN",
		MagicCookieValue: "c5d1f0a27e7b4f0f9d2f1b6f5b7a3e64",
	}
}
