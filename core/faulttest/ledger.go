//go:build linux

package faulttest

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Books are what "kelpie ledger" and "kelpie audit verify" say when an operator asks.
type Books struct {
	// When they were asked.
	When   string
	Ledger api.Ledger
	Audit  api.AuditReport
	// LedgerErr and AuditErr hold what was printed, if the exit code was not 0.
	LedgerErr, AuditErr error
}

// books asks for the books. A head of the audit that was kept must come by again.
func (w *World) books(when string, kept ...string) Books {
	b := Books{When: when}
	b.LedgerErr = w.told(&b.Ledger, "--json", "ledger")
	verify := []string{"--json", "audit", "verify"}
	for _, head := range kept {
		verify = append(verify, "--head", head)
	}
	b.AuditErr = w.told(&b.Audit, verify...)
	return b
}

// told is decode for commands that print also when they do not exit with 0.
func (w *World) told(v any, args ...string) error {
	out, err := w.kelpie(args...)
	return errors.Join(err, json.Unmarshal([]byte(out), v))
}

// books are judged: they must hold by themselves, and say what the log, the model and
// the program's own lists say.
func (c *check) books(b Books, last bool) {
	before := len(c.problems)
	l := &b.Ledger
	if b.LedgerErr != nil {
		c.wrong("%s, the ledger: %v", b.When, b.LedgerErr)
	} else if !l.AddsUp || len(l.Faults)+len(l.Missing) > 0 {
		c.wrong("%s, the ledger exits with 0 and does not add up: %s", b.When, text(l))
	}
	names := map[string]bool{}
	for i := range l.Sources {
		names[strings.TrimPrefix(l.Sources[i].Source, "detector.")] = true
		c.account(b.When, &l.Sources[i], last)
	}
	for _, f := range c.w.Feeds {
		if !names[f.Name()] && f.Offered() > 0 {
			c.wrong("%s, the ledger knows nothing of %s", b.When, f.Name())
		}
	}
	if n := c.m.Alerts() + len(c.reported); l.Signals != (api.SignalLedger{Signals: n, Scored: n}) {
		c.wrong("%s, the ledger says %s of signals, there are %d alerts and reports of rules", b.When, text(l.Signals), n)
	}
	if n := l.Intents[model.IntentPending]; n > 0 {
		c.wrong("%s, the ledger says that %d steps are pending", b.When, n)
	}
	if last {
		c.steps(l.Intents)
	}
	if len(c.problems) == before {
		c.tally.LedgersRight++
	} else {
		c.tally.LedgersWrong++
	}
	if b.AuditErr != nil || !b.Audit.Holds {
		c.wrong("%s, the audit: %s, %v", b.When, text(b.Audit), b.AuditErr)
	} else {
		c.tally.Audits++
	}
}

// steps of the last ledger are those that the program lists.
func (c *check) steps(told map[model.IntentState]uint64) {
	listed := map[model.IntentState]uint64{}
	for _, in := range c.o.Intents {
		listed[in.State]++
	}
	maps.DeleteFunc(told, func(_ model.IntentState, n uint64) bool { return n == 0 })
	if !maps.Equal(listed, told) {
		c.wrong("the ledger says %s of steps, the list %s", text(told), text(listed))
	}
}

// account of one source: each event of the log that it has received has the class that
// it must have. At the last one, these are all.
func (c *check) account(when string, s *api.SourceLedger, last bool) {
	name := strings.TrimPrefix(s.Source, "detector.")
	at := slices.IndexFunc(c.w.Feeds, func(f Feed) bool { return f.Name() == name })
	if at < 0 {
		c.wrong("%s, the ledger knows a source %s", when, s.Source)
		return
	}
	f, log := c.w.Feeds[at], c.o.Log[name]
	if int(s.Received) > len(log) || int(s.Received) < f.Offered() || last && int(s.Received) != len(log) {
		c.wrong("%s, the ledger says %d received of %s, the log holds %d, and %d were offered", when, s.Received, name, len(log), f.Offered())
	}
	if s.Pending+s.Lost+s.Missing > 0 {
		c.wrong("%s, the ledger says %d pending, %d lost and %d missing of %s", when, s.Pending, s.Lost, s.Missing, name)
	}
	classes, ignored, rejected, alerts := map[Class]int{}, map[string]int{}, map[string]int{}, map[string]bool{}
	for _, line := range log[:min(int(s.Received), len(log))] {
		key := f.Key(line.ID, payload(line))
		e := c.m.Events[name][key]
		classes[e.Class]++
		switch e.Class {
		case Matched:
			alerts[key] = true
		case Ignored:
			ignored["ignore.noise"]++
		case Rejected:
			rejected[e.Reason]++
		}
	}
	if int(s.Matched+s.Repeat) != classes[Matched] || int(s.Passed) != classes[Passed] || int(s.Fact) != classes[Fact] ||
		!maps.Equal(s.Ignored, ignored) || !maps.Equal(s.Rejected, rejected) {
		c.wrong("%s, the ledger says %s of %s, the log holds %s: ignored %s, rejected %s",
			when, text(s.Tally), name, text(classes), text(ignored), text(rejected))
	}
	// Which of two revisions is decided first is open, and so whether the older one is
	// a repeat; but each alert was new once.
	if int(s.Matched) < len(alerts) {
		c.wrong("%s, the ledger says %d matched and %d repeated of %s, the log holds %d alerts", when, s.Matched, s.Repeat, name, len(alerts))
	}
}
