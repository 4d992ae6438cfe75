package sdk

import (
	"context"
	"time"
)

// Enricher answers questions about observables. Calls come concurrently.
type Enricher interface {
	// Enrich returns one Reply for each question, in order, or an error for the
	// whole call (see Error). At most Connector.BatchLimit questions come.
	Enrich(ctx context.Context, questions []Question) ([]Reply, error)
}

// Question asks about one observable as of a time.
type Question struct {
	Observable Observable
	At         time.Time
}

// Reply is what is known about one observable. With none of Answers, Found and
// Aliases, and no Err, the source was asked and has nothing.
type Reply struct {
	Answers []Answer
	// TTL is how long this is good; 0: the default.
	TTL     time.Duration
	Found   []Found
	Aliases []Observable
	// Err: no answer, and why. See Error.
	Err error
	// QuotaLeft, if the vendor tells; nil otherwise. The least of a call counts.
	QuotaLeft *int64
}

// Found is another value and when it was true.
type Found struct {
	Observable Observable
	At         time.Time
}

// Answer holds exactly one of Verdict, Asset, Identity, Network.
type Answer struct {
	Verdict  *Verdict
	Asset    *Asset
	Identity *Identity
	Network  *Network
	// Details is everything that has no field; it is encoded as JSON.
	Details map[string]any
	At      time.Time
}

// Disposition of a verdict.
type Disposition string

// The dispositions.
const (
	Unknown    Disposition = "unknown"
	Benign     Disposition = "benign"
	Suspicious Disposition = "suspicious"
	Malicious  Disposition = "malicious"
)

// Verdict is an opinion about an observable. Score and confidence are 0 to 100.
type Verdict struct {
	Disposition Disposition
	Score       int
	Confidence  int
	Labels      []string
	Link        string
}

// Asset is a thing that somebody owns.
type Asset struct {
	Name, FQDN    string
	IPs, MACs     []string
	OS, OSVersion string
	Roles         []string
	Owner, Team   string
	Criticality   *int // 0 to 100; nil: not rated
	Tags          []string
	Patches       map[string]int // missing, by severity
	Protection    *Protection
	Managed       *bool
	SeenAt        time.Time
}

// Protection is the state of the asset's own protection; nil: not known.
type Protection struct {
	Installed, Running, Current *bool
}

// Identity is a person or an account.
type Identity struct {
	Name, UPN, Mail, SID       string
	Title, Department, Manager string
	Groups                     []string
	Privileged                 *bool
	State                      string
	LastLogon, PasswordSet     time.Time
}

// Network is where an address belongs.
type Network struct {
	Country, City string
	ASN           int64
	Organisation  string
	Kind          string
}
