package config

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/oncall"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/core/web"
)

// Diagnostics are complaints with their places.
type Diagnostics = hcl.Diagnostics

// Config is a configuration that has been checked. It is read-only and may be used
// concurrently. What the host is told is given by Resolve, since that takes secrets.
type Config struct {
	Source *Source
	Hash   string // of Source
	// Names are the addresses of now of what was renamed, by those under which all that
	// is durable knows it, and everybody but the operator.
	Names map[string]string

	Kelpie    Kelpie
	Web       web.Settings
	Detectors []Detector // that are enabled, by address
	Match     match.Settings
	Decide    decide.Settings
	Enrich    enrich.Settings
	Respond   respond.Settings
	// Origins of the plugins that have a block of their own.
	Origins []Origin
	// Ignores, for who watches their ends.
	Ignores []Ignore
	// Tested says of each rule, by its address of now, what its tests show.
	Tested map[string]Tested
	// Tables, for who watches their files, in the order of their blocks.
	Tables []Table
	// Schedules, for who reads them, in the order of their blocks.
	Schedules []oncall.Schedule
	// Known are the tables themselves, for who makes a configuration of the same ones.
	Known Known

	// NotBuilt lists what the configuration asks of a later version, as warnings. A
	// configuration with any of it must not be run.
	NotBuilt Diagnostics
	// Rules are those, and the pipelines that report signals themselves, by their places.
	Rules []Rule
	// Unproven says of these what is missing that production needs: as errors, and such a
	// configuration must not be run; as a warning, where a pipeline claims no state. A
	// version of the log is decided all the same, whatever was asked of rules in its time.
	Unproven Diagnostics

	instances []*instance
	kelpie    *section // nil: there is none
	parts     map[part][sha256.Size]byte
	movable   map[string]hcl.Range // where the blocks are that can be moved, by their addresses of now
}

// Refusals are the reasons not to run this configuration: NotBuilt, as errors, and the
// errors of Unproven.
func (c *Config) Refusals() Diagnostics {
	diags := c.unfit()
	for _, d := range c.NotBuilt {
		refusal := *d
		refusal.Severity = hcl.DiagError
		diags = append(diags, &refusal)
	}
	return diags
}

// unfit are the errors of Unproven.
func (c *Config) unfit() Diagnostics {
	return slices.DeleteFunc(slices.Clone(c.Unproven), func(d *hcl.Diagnostic) bool { return d.Severity != hcl.DiagError })
}

// Kelpie is what the kelpie block says.
type Kelpie struct {
	DataDir    string // as written: relative to the working folder
	PluginDir  string
	SecretsDir string
	Signatures string // Required or Optional
	Actions    plan.Mode
	// Sync is "always" or "interval"; SyncInterval goes with the latter.
	Sync         string
	SyncInterval time.Duration
	// Sizes in bytes; 0: the log's own defaults.
	Reserve, EventsBytes, InputsBytes, RejectedBytes, RejectedQuota int64
	Keep                                                            time.Duration // 0: the log's default
}

// Defaults of the kelpie block.
const (
	DefaultDataDir    = "data"
	DefaultPluginDir  = "bin/plugins"
	DefaultSecretsDir = "secrets"
	DefaultSignatures = Optional
	DefaultActions    = plan.DryRun
	DefaultSync       = "always"
	// DefaultSyncInterval is with sync = "interval".
	DefaultSyncInterval = 2 * time.Second
)

// Detector is one source of events.
type Detector struct {
	Address           string
	Plugin, Connector string
	// Finite: it can end.
	Finite        bool
	CursorVersion int
	Shadow        string // what it is the shadow of, "detector.edr"; empty: it counts itself
	Health        Health
}

// Health is when a detector's owner wants to be told.
type Health struct {
	Silence time.Duration // 0: never
	Fields  []string
	Runbook string
}

// Ignore is one ignore block.
type Ignore struct {
	Address string
	Owner   string
	Reason  string
	Expires time.Time
	place   hcl.Range
}

// expiresSoon is how long before its end an ignore is warned about.
const expiresSoon = 14 * 24 * time.Hour

// Expiring warns of ignores that have ended or soon will.
func (c *Config) Expiring(now time.Time) Diagnostics {
	var diags Diagnostics
	for _, i := range c.Ignores {
		day := i.Expires.Add(-time.Second).Format(time.DateOnly)
		var d *hcl.Diagnostic
		switch {
		case !now.Before(i.Expires):
			d = complaint(i.place, "Expired ignore", "Its last day was %s, and it ignores nothing any more. Ask %s whether it is still needed: give it a later day, or remove it.", day, i.Owner)
		case now.Add(expiresSoon).After(i.Expires):
			d = complaint(i.place, "Ignore expires soon", "Its last day is %s, and what it ignores will be reported from then on. Ask %s.", day, i.Owner)
		default:
			continue
		}
		d.Severity = hcl.DiagWarning
		diags = append(diags, d)
	}
	return diags
}

// finish fills in what needs the hash.
func (c *Config) finish(hash string) {
	c.Hash = hash
	c.Match.Version = hash
	c.Decide.Hash = hash
	for address, a := range c.Respond.Actions {
		a.Maker.Config = hash
		c.Respond.Actions[address] = a
	}
}

// Compile makes decide's settings of the text that INPUTS carries, of a configuration
// without tables. It is a decide.Compiler.
func Compile(version model.Config) (*decide.Settings, error) { return Compiler(Kept{})(version) }

// Compiler makes decide's settings of the text that INPUTS carries and the contents of
// the tables that it names.
func Compiler(tables Kept) decide.Compiler {
	return func(version model.Config) (*decide.Settings, error) {
		c, err := Read(version, tables)
		if err != nil {
			return nil, err
		}
		return &c.Decide, nil
	}
}

// Read makes a configuration of the text that INPUTS carries and of the tables that it
// names. Relative paths in it are relative still.
func Read(version model.Config, tables Kept) (*Config, error) {
	src, err := DecodeSource(version.Text)
	if err != nil {
		return nil, err
	}
	if err := src.fetch(tables); err != nil {
		return nil, err
	}
	c, diags := Parse(src)
	src.Tabled = nil
	if diags.HasErrors() {
		return nil, diags
	}
	return c, nil
}

var _ decide.Compiler = Compile
