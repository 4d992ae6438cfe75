// Package eve makes event logs as Suricata writes them (eve.json of version 7), of any size and from a seed, for
// tests, benchmarks and trying things out. No packet was ever seen: each line carries "host":"generated", which is
// where Suricata puts the name of its sensor.
//
// Addresses are from ranges for documentation, benchmarks and private use. Signatures are invented, with identifiers
// from the range for local rules (1000000 to 1999999) and the metadata that published rules carry.
package eve

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a value of event_type.
type Kind uint8

// The kinds that a Generator makes.
const (
	Alert Kind = iota
	DNS
	HTTP
	TLS
	FileInfo
	Flow
	kinds // how many there are
)

var kindNames = [kinds]string{"alert", "dns", "http", "tls", "fileinfo", "flow"}

// String is the value of event_type.
func (k Kind) String() string {
	if k >= kinds {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// ParseKind is the inverse of String.
func ParseKind(name string) (Kind, error) {
	for k, known := range kindNames {
		if known == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("event type %q is not one of %v", name, kindNames)
}

// weights is how often a kind comes, of 100: roughly what a sensor at the edge of an office sees.
var weights = [kinds]int{Alert: 5, DNS: 35, HTTP: 12, TLS: 15, FileInfo: 5, Flow: 28}

// Options say what to generate. The zero value of a field stands for the default that it names.
type Options struct {
	// Seed decides everything: equal options give equal bytes.
	Seed uint64
	// AlertRatio: of each AlertRatio events in a row exactly one is an alert of interest. Those, and no others, have
	// alert.severity 1. Default 1000.
	AlertRatio int
	// Hosts is how many hosts of our own there are, each fourth of them with IPv6. Some are much busier than others.
	// Default 1000, at most 1<<20.
	Hosts int
	// Signatures is how many different rules raise alerts, a tenth of them (at least one) of interest. Default 500,
	// between 2 and 100000.
	Signatures int
	// Kinds, if any, leaves out all other kinds. The alerts of interest always come.
	Kinds []Kind
	// Start is the time of the first event. Default 2026-01-01T00:00:00Z.
	Start time.Time
	// Step is the average time between two events. Default one millisecond.
	Step time.Duration
}

// Counts says what a Generator has made.
type Counts struct {
	Events     int
	OfInterest int        // alerts with severity 1
	Kinds      [kinds]int // by Kind
}

// Generator makes events one after the other. It must not be used by two goroutines at once; generators with
// different seeds have different flows and run side by side.
type Generator struct {
	options    Options
	random     *rand.Rand
	now        time.Time
	clock      clock
	signatures signatures
	flows      [protocols][ring]flow
	wheel      [100]Kind // a kind by chance
	interest   int       // the place of the alert of interest within the present block of AlertRatio events
	counts     Counts
}

// New checks the options.
func New(options Options) (*Generator, error) {
	fallback(&options.AlertRatio, 1000)
	fallback(&options.Hosts, 1000)
	fallback(&options.Signatures, 500)
	fallback(&options.Step, time.Millisecond)
	if options.Start.IsZero() {
		options.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	switch {
	case options.AlertRatio < 1:
		return nil, errors.New("alert ratio: must be at least 1")
	case options.Hosts < 1 || options.Hosts > 1<<20:
		return nil, errors.New("hosts: must be between 1 and 1048576")
	case options.Signatures < 2 || options.Signatures > 100000:
		return nil, errors.New("signatures: must be between 2 and 100000")
	case options.Step < 0:
		return nil, errors.New("step: must not be negative")
	}

	g := &Generator{
		options:    options,
		random:     rand.New(rand.NewPCG(options.Seed, 0x6b656c706965)),
		now:        options.Start.UTC(),
		signatures: newSignatures(options.Signatures),
	}
	if err := g.turn(options.Kinds); err != nil {
		return nil, err
	}
	g.clock.set(g.now)
	for p := range g.flows {
		for i := range g.flows[p] {
			g.renew(&g.flows[p][i], protocol(p), insideOut)
		}
	}
	return g, nil
}

func fallback[T int | time.Duration](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

// turn fills the wheel with the wanted kinds in proportion to their weights.
func (g *Generator) turn(wanted []Kind) error {
	if len(wanted) == 0 {
		wanted = []Kind{Alert, DNS, HTTP, TLS, FileInfo, Flow}
	}
	total := 0
	for _, k := range wanted {
		if k >= kinds {
			return fmt.Errorf("kinds: %v is none", k)
		}
		total += weights[k]
	}
	for i := range g.wheel {
		at := i * total / len(g.wheel)
		for _, k := range wanted {
			if at -= weights[k]; at < 0 {
				g.wheel[i] = k
				break
			}
		}
	}
	return nil
}

// Append appends the next event, a line of JSON with its newline.
func (g *Generator) Append(line []byte) []byte {
	line = g.AppendAt(line, g.now)
	g.now = g.now.Add(time.Duration(g.random.Int64N(2*int64(g.options.Step) + 1)))
	return line
}

// AppendAt is Append with a time of the caller's, for events that are to look as if they happened now.
func (g *Generator) AppendAt(line []byte, at time.Time) []byte {
	g.clock.set(at)
	place := g.counts.Events % g.options.AlertRatio
	if place == 0 {
		g.interest = g.random.IntN(g.options.AlertRatio)
	}
	g.counts.Events++
	if place == g.interest {
		g.counts.OfInterest++
		return g.alert(line, g.signatures.interesting(g.random))
	}
	switch kind := g.wheel[g.random.IntN(len(g.wheel))]; kind {
	case Alert:
		return g.alert(line, g.signatures.ordinary(g.random))
	case DNS:
		return g.dns(line)
	case HTTP:
		return g.http(line)
	case TLS:
		return g.tls(line)
	case FileInfo:
		return g.fileinfo(line)
	default:
		return g.flow(line)
	}
}

// Counts says what has been made so far. A benchmark is void unless its sink counts the same.
func (g *Generator) Counts() Counts { return g.counts }
