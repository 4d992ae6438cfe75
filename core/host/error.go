package host

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// What an *Error may wrap, besides context.Canceled and context.DeadlineExceeded.
var (
	// ErrCrashed: the process ended during the call.
	ErrCrashed = errors.New("plugin crashed")
	// ErrFailed: the plugin is not started again until Host.Restart, or its instance
	// was refused its configuration.
	ErrFailed = errors.New("plugin has failed")
	// ErrStopped: the host stops, or has.
	ErrStopped = errors.New("host is stopped")
	// ErrUnsupported: the plugin does not offer this.
	ErrUnsupported = errors.New("not offered by the plugin")
	// ErrContract: the plugin's answer breaks the contract, and was dropped.
	ErrContract = errors.New("plugin breaks the contract")
	// ErrTooLarge: the request or its answer is larger than a message may be.
	ErrTooLarge = errors.New("message is too large")
	// ErrSilent: a session has given no sign of life, though its plugin said it would.
	ErrSilent = errors.New("plugin is silent")
	// ErrUnknown: there is no such instance or plugin.
	ErrUnknown = errors.New("not configured")
)

// Error is why a call to an instance brought no answer. Message is for people and
// holds no secret.
type Error struct {
	Instance string
	Reason   sdk.Reason
	Fault    sdk.Fault // empty: nobody's, such as a cancelled call
	// RetryAfter, with sdk.Retry: 0 if the plugin named no time.
	RetryAfter time.Duration
	Message    string
	// NotSent: the plugin never got the request, or does not do such a thing: nothing
	// can have happened.
	NotSent bool
	// Tail, with ErrCrashed, is what the process last said on its standard error.
	Tail []string
	Err  error
}

func (e *Error) Error() string { return e.Instance + ": " + e.Message }

func (e *Error) Unwrap() error { return e.Err }

// StartError is why an executable is not running as a plugin. It holds no secret.
type StartError struct {
	Plugin string // empty: it was not asked for by a name
	Path   string
	// Line is the first line that it printed to its standard output, if any.
	Line string
	// Tail is what it last said on its standard error.
	Tail []string
	Err  error
	// Permanent: another attempt with the same file comes to the same.
	Permanent bool
}

func (e *StartError) Error() string {
	var b strings.Builder
	if e.Plugin != "" {
		fmt.Fprintf(&b, "plugin %q (%s): %v", e.Plugin, e.Path, e.Err)
	} else {
		fmt.Fprintf(&b, "%s: %v", e.Path, e.Err)
	}
	if e.Line != "" {
		fmt.Fprintf(&b, "; its first line of output was %q", e.Line)
	}
	if len(e.Tail) > 0 {
		fmt.Fprintf(&b, "; it said: %s", strings.Join(e.Tail, " | "))
	}
	return b.String()
}

func (e *StartError) Unwrap() error { return e.Err }

// Diagnostic is a complaint about an instance, to be shown at its place: at Path
// within its block, or within its connection's block. It holds no secret.
type Diagnostic struct {
	Instance string
	// Path from the block inwards: names, list indexes as decimal numbers, map keys.
	// Empty for the whole block.
	Path       []string
	Connection bool
	Summary    string
	Detail     string
	Warning    bool
}

func (d Diagnostic) String() string {
	text := d.Instance
	if len(d.Path) > 0 {
		text += " (" + strings.Join(d.Path, ".") + ")"
	}
	text += ": " + d.Summary
	if d.Detail != "" {
		text += ": " + d.Detail
	}
	return text
}
