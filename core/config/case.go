package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// caseRepeats are the presets of case.repeat.
func caseRepeats() []string { return plan.Repeats() }

// cases reads the case block.
func (p *parser) cases() {
	c := correlate.Settings{
		Window: correlate.DefaultWindow, Lateness: correlate.DefaultLateness,
		Lease: correlate.DefaultLease, Common: correlate.DefaultCommon,
	}
	if s := p.first("case"); s != nil {
		c.Window = s.duration("window", c.Window)
		c.Lateness = s.duration("lateness", c.Lateness)
		c.Lease = s.duration("lease", c.Lease)
		if c.Window <= 0 {
			p.errorf(s.place("window"), "Out of range", "Without a window no two signals are one case. Write window = \"24h\".")
		}
		if c.Lease <= 0 {
			p.errorf(s.place("lease"), "Out of range", "No address would be anybody's. Write a time above 0, such as \"24h\".")
		}
		c.Most = p.within(s, "most", correlate.LeastMost, correlate.MostMost)
		if n := p.within(s, "common", 2, correlate.MostMost); n != 0 {
			c.Common = n
		}
		p.config.Decide.Plan.Repeat = plan.RepeatOf(s.text("repeat", ""))
		for i, text := range s.texts("never_join") {
			p.neverJoin(&c, s, i, text)
		}
	}
	p.config.Decide.Correlate = c
}

// neverJoin reads one of the values that never join: a value, a network, or a value
// with "*" in it.
func (p *parser) neverJoin(c *correlate.Settings, s *section, i int, text string) {
	kind, value, _ := strings.Cut(text, ":")
	switch {
	case kind == sdk.IP && strings.Contains(value, "/"):
		if network, ok := p.network(s, "never_join", i, value); ok {
			c.NeverLike = append(c.NeverLike, correlate.Pattern{Kind: kind, Network: network})
		}
	case strings.Contains(value, "*") && slices.Contains(sdk.Kinds(), kind):
		if kind == sdk.IP && value != "*" {
			p.errorf(s.item("never_join", i), "Not a network", "Addresses are matched as a network: \"ip:10.0.0.0/24\", or \"ip:*\" for all.")
			return
		}
		c.NeverLike = append(c.NeverLike, correlate.Pattern{Kind: kind, Like: canonicalLike(kind, value)})
	default:
		o, err := sdk.ParseKey(text)
		if err != nil {
			why := err.Error()
			if wrong := (*sdk.ObservableError)(nil); errors.As(err, &wrong) {
				why = "It " + wrong.Reason
			}
			p.errorf(s.item("never_join", i), "Not an observable", "%s. Kinds are: %s.", why, strings.Join(sdk.Kinds(), ", "))
			return
		}
		c.NeverJoin = append(c.NeverJoin, o)
	}
}

// canonicalLike brings a pattern into the case that canonical values of its kind have.
func canonicalLike(kind, value string) string {
	switch kind {
	case sdk.URL, sdk.Process, sdk.File, sdk.Resource:
		return value
	case sdk.User, sdk.Account:
		if len(value) > 2 && strings.EqualFold(value[:2], "s-") {
			return strings.ToUpper(value)
		}
	}
	return strings.ToLower(value)
}
