package sdk

import "time"

// Fault says whose fault an error is.
type Fault string

// The faults.
const (
	FaultPlugin Fault = "PLUGIN"
	FaultVendor Fault = "VENDOR"
	FaultInput  Fault = "INPUT"
)

// Reason says what the core should make of an error.
type Reason int

// The reasons.
const (
	// Failed is anything else: asked again with patience. What an action did is not
	// known then.
	Failed Reason = iota
	// Retry: asked again, not before RetryAfter. What an action did is not known
	// either; return OutcomeFailed where it is known that nothing happened.
	Retry
	// Denied: credentials or rights are wrong; an operator has to act.
	Denied
	// Invalid: this input will never be answered.
	Invalid
)

// Error is an error that tells the core what to make of it. Err must hold no
// secret. A connector's other errors count as {Fault: FaultPlugin}.
type Error struct {
	Reason     Reason
	Fault      Fault
	RetryAfter time.Duration
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }
