package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// pause holds something back: all actions, or a rule, pipeline or response.
type pause struct {
	On      bool      `json:"on,omitempty"`
	By      string    `json:"by,omitempty"`
	Because string    `json:"because,omitempty"`
	At      time.Time `json:"at,omitzero"`
	// For is how long; 0: until a person ends it. Ends is when that is over, in the time
	// that decide has seen pass, 0: not begun; Until is that by the clock as it goes now.
	For   time.Duration `json:"for,omitempty"`
	Ends  time.Duration `json:"ends,omitempty"`
	Until time.Time     `json:"until,omitzero"`
}

func (m *Machine) newPause(c *model.Command) pause {
	p := pause{On: true, By: c.By, Because: c.Because, At: m.at, For: max(c.For, 0)}
	if p.For > 0 {
		p.Until = m.at.Add(p.For)
	}
	return p
}

// past tells whether a pause's time is over. Of one whose time has not begun it begins.
func (m *Machine) past(p *pause) bool {
	switch {
	case p.For == 0:
		return false
	case p.Ends == 0:
		p.Ends = m.clock.Elapsed + p.For
	case m.clock.Elapsed >= p.Ends:
		return true
	}
	if until := m.at.Add(p.Ends - m.clock.Elapsed); until.Sub(p.Until).Abs() > untilSlack {
		p.Until, m.changed.flags = until, true
	}
	return false
}

func (m *Machine) pauseActions(c *model.Command) {
	if m.pause.On && m.pause.For == max(c.For, 0) {
		return
	}
	m.pause = m.newPause(c)
	m.changed.flags, m.end.known = true, false
	m.recordPause(model.RecordPause, c, m.pause)
}

func (m *Machine) resumeActions(c *model.Command) {
	if !m.pause.On {
		return
	}
	m.pause = pause{}
	m.changed.flags, m.end.known = true, false
	m.recordPause(model.RecordResume, c, pause{})
}

// pauseOf holds back what a rule's or pipeline's signals ask for, or what a response
// does. Signals, cases and scores go on.
func (m *Machine) pauseOf(c *model.Command) {
	if m.settings == nil || !m.settings.Plan.Responding(c.Of) {
		return
	}
	m.pauses[c.Of] = m.newPause(c)
	m.changed.flags, m.end.known = true, false
	m.recordPause(model.RecordPause, c, m.pauses[c.Of])
	m.considerOf(c.Of)
}

func (m *Machine) resumeOf(c *model.Command) {
	if !m.pauses[c.Of].On {
		return
	}
	delete(m.pauses, c.Of)
	m.changed.flags, m.end.known = true, false
	m.recordPause(model.RecordResume, c, pause{})
	m.considerOf(c.Of)
}

func (m *Machine) recordPause(kind model.RecordKind, c *model.Command, p pause) {
	m.record(model.Record{Kind: kind, Subject: c.Of, By: c.By, Because: c.Because, Until: p.Until})
}

// considerOf has those cases planned that a pause of a rule or response may concern, and
// about which something is under way. The others are planned when something comes for them:
// they may have left memory, and what is decided does not depend on that.
func (m *Machine) considerOf(address string) {
	for _, cs := range m.cases {
		of := strings.HasPrefix(address, "response.") || slices.Contains(m.names(cs.sum.rules), address)
		if cs.paused || of && m.stays(cs) {
			m.consider(cs)
		}
	}
}

// endPauses ends those whose time is over.
func (m *Machine) endPauses() {
	why := func(p pause) string { return fmt.Sprintf("its time of %s is over", span(p.For)) }
	if p := m.pause; m.past(&m.pause) {
		m.resumeActions(&model.Command{Because: why(p)})
	}
	for _, of := range slices.Sorted(maps.Keys(m.pauses)) {
		p := m.pauses[of]
		if m.past(&p) {
			m.resumeOf(&model.Command{Of: of, Because: why(p)})
			continue
		}
		m.pauses[of] = p
	}
	m.end.known = false
}

// active are the rules of a case that are not paused, and what is to be said of those
// that are and ask for something.
func (m *Machine) active(rules []string) (active []string, notes []model.Note) {
	if len(m.pauses) == 0 {
		return rules, nil
	}
	for _, rule := range rules {
		p := m.pauses[rule]
		if !p.On {
			active = append(active, rule)
			continue
		}
		for _, response := range m.settings.Plan.Rules[rule] {
			notes = append(notes, model.Note{Response: response, Why: p.text(rule), At: m.at})
		}
	}
	return active, notes
}

// pausedNow says for plan whether a response is paused.
func (m *Machine) pausedNow(address string) (why string, ok bool) {
	p := m.pauses[address]
	return p.text(address), p.On
}

func (p pause) text(of string) string {
	text := of + " is paused by " + p.By
	if p.Because != "" {
		text += ": " + p.Because
	}
	return text
}
