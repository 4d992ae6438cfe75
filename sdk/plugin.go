// Package sdk is what the author of a Kelpie plugin imports.
//
// A plugin is one executable for one product. It calls Serve with a Plugin that
// lists its connectors: detectors, enrichments and actions. The core configures
// a connector once per HCL block; each configured connector is an instance, made
// by Connector.New. What an instance can do is found by the small interfaces that
// it implements: Detector or Fetcher, Enricher, Actor, and the optional
// Validator, Opener, Undoer, Checker, Answerer, HealthChecker and io.Closer.
//
// The life of an instance:
//
//  1. New makes it, empty.
//  2. Config is called; the pointer that it returns is filled from the operator's
//     block by the schema that Schema derives from the same struct, so that the
//     two cannot drift. ConfigConnection likewise, if the block names a connection.
//  3. Validate, if there is one, may complain, at attributes of the block.
//  4. Open, if there is one, makes what the instance needs.
//  5. Its calls come, concurrently unless an interface says otherwise; each but
//     Detect and Answers has a context with a deadline.
//  6. Close, if it is an io.Closer, after the last call has returned. It is called
//     once, and also when Open has failed.
//
// A panic ends one call and is reported to the core; the process goes on. The
// process exits when the core is gone. Nothing may be written to the standard
// output; Env.Log and slog's default logger go to the core's log.
package sdk

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Plugin describes an executable.
type Plugin struct {
	// Name is the first label of the plugin's blocks: lower-case letters, digits, "_".
	Name string
	// Version is a semantic version without a leading "v".
	Version  string
	Homepage string
	// Connection returns a pointer to a fresh config struct of the connection
	// block that the connectors share; nil if there is none.
	Connection  func() any
	Connectors  []Connector
	Permissions Permissions
}

// Permissions is what the process needs from the machine: on Linux it gets nothing else,
// besides its StateDir, its working folder, and what programs need to run at all. An
// attribute's name in braces stands for its value, or each of its values; where it has
// none, nothing is asked for.
type Permissions struct {
	// Read and Write are files and folders, by absolute paths. A right to a file is to that
	// file alone: if another one takes its name, the plugin is started again to have it.
	// "{path}/.." is the folder of a file, for who follows rotation or replaces what it
	// writes. A name that is read may be a pattern, as filepath.Match has them. What may be
	// written may be read; a file to write that is not there is made.
	Read  []string
	Write []string
	// Network has TCP ports: "tcp:443", "tcp:{server}", "listen:{address}". An address is
	// host:port or a URL, which needs no port if its scheme is a well-known one. "tcp:*" is
	// for plugins that can't know.
	Network []string
}

// Kind says which of the three kinds a connector is.
type Kind int

// The kinds of connectors.
const (
	KindDetector Kind = iota + 1
	KindEnrichment
	KindAction
)

// Connector is one thing that a plugin offers.
type Connector struct {
	Kind Kind
	// Name is empty for a plugin's only connector of its kind.
	Name    string
	Summary string
	// New makes an empty instance. It must not do I/O: Describe calls it too.
	New func() Instance

	// CursorVersion (detectors) is the version of the cursor's format.
	CursorVersion int
	// Finite (detectors): the source can end.
	Finite bool
	// DefaultMapping (detectors) is the HCL text of a pipeline's map attributes.
	DefaultMapping string

	// Takes (enrichments) lists kinds of observables.
	Takes []string
	// BatchLimit (enrichments) is the most questions of one call; 0 is 1.
	BatchLimit int
	// DefaultTTL (enrichments) is how long an answer is good.
	DefaultTTL time.Duration
	// Local (enrichments): the answer comes from the organisation's own data.
	Local bool

	// Verbs (actions) that it offers.
	Verbs []Verb

	// Needs names capabilities of the core (DetectPulse, …) without which the connector
	// would not do what it says: a core that lacks one does not use it.
	Needs []string
}

// Verb is one thing an action can do.
type Verb struct {
	Name    string
	Targets []string
	Summary string
	// Parameters returns a pointer to a fresh struct of the step's parameters, from
	// which their schema is derived; nil if there are none.
	Parameters func() any
	// Undo and Check: the connector, which implements Undoer and Checker, can do it
	// for this verb.
	Undo, Check bool
	// Idempotent: one key twice takes effect once, at the vendor; an undo's too.
	Idempotent bool
	// Settle is the longest time after which a request on its way may still take
	// effect.
	Settle time.Duration
	// Needs is as Connector.Needs, for this verb alone.
	Needs []string
}

// Instance is a connector configured by one block.
type Instance interface {
	// Config returns a pointer to the struct that the block is decoded into. See
	// Schema for the tags.
	Config() any
}

// Connected is implemented by instances that use a connection block.
type Connected interface {
	// ConfigConnection returns a pointer to the struct, of the type that
	// Plugin.Connection returns.
	ConfigConnection() any
}

// Validator complains about a configuration, beyond its types, before Open.
type Validator interface {
	Validate() []Diagnostic
}

// Opener makes what the instance needs. An error that is a Diagnostic, or several of
// them joined, is shown at its place in the operator's file. The context is Open's
// alone: what runs on has one of its own, which Close ends. When a block has been
// changed the instance of the older one is still open, and stays so if this one does
// not open: what only one can have, such as a port, is taken in Detect.
type Opener interface {
	Open(ctx context.Context, env Env) error
}

// HealthChecker says whether the instance can do its work now. It must answer
// within a second and call no vendor.
type HealthChecker interface {
	Health(ctx context.Context) error
}

// Env is what the SDK gives an instance.
type Env struct {
	// Instance names the instance, for people: the address of the block, followed by "~"
	// and a number where its block was changed since the core began.
	Instance string
	Log      *slog.Logger
	// StateDir may be written and is kept between starts. While a block is changed, its
	// older and its newer instance have it side by side for a moment.
	StateDir string
	// HTTP has time-outs, verifies TLS and identifies the plugin; a connector
	// with a CA of its own uses NewHTTPClient.
	HTTP *http.Client
}

// Diagnostic is a complaint about a configuration. It is an error too.
type Diagnostic struct {
	// Path from the block inwards: names, list indexes as decimal numbers, map
	// keys. Empty for the whole block.
	Path    []string
	Summary string
	Detail  string
	Warning bool
	// Connection: the path is within the connection block.
	Connection bool
}

func (d Diagnostic) Error() string {
	if d.Detail == "" {
		return d.Summary
	}
	return d.Summary + ": " + d.Detail
}
