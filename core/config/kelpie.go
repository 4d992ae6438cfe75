package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// kelpie reads the kelpie block; all of it has defaults.
func (p *parser) kelpie() {
	k := Kelpie{DataDir: DefaultDataDir, PluginDir: DefaultPluginDir, SecretsDir: DefaultSecretsDir, Signatures: DefaultSignatures, Actions: DefaultActions, Sync: DefaultSync, SyncInterval: DefaultSyncInterval}
	if s := p.first("kelpie"); s != nil {
		k.DataDir = s.text("data_dir", k.DataDir)
		k.PluginDir = s.text("plugin_dir", k.PluginDir)
		k.SecretsDir = s.text("secrets_dir", k.SecretsDir)
		k.Signatures = s.text("signatures", k.Signatures)
		k.Actions = plan.Mode(s.text("actions", string(k.Actions)))
		k.Sync = s.text("sync", k.Sync)
		k.SyncInterval = s.duration("sync_interval", k.SyncInterval)
		if s.has("sync_interval") && k.Sync != "interval" {
			p.errorf(s.place("sync_interval"), "Without effect", "\"sync_interval\" goes with sync = \"interval\".")
		}
		if k.SyncInterval <= 0 {
			p.errorf(s.place("sync_interval"), "Out of range", "Write a time above 0, such as \"2s\", or sync = \"always\".")
		}
		k.Reserve = p.size(s, "reserve")
		k.Keep = s.duration("keep", 0)
		for _, stream := range s.of("stream") {
			p.stream(stream, &k)
		}
		p.listener(s)
		p.organisation(s.one("organisation"))
		p.memory(s.one("memory"))
	}
	p.config.Kelpie = k
	p.config.Decide.Plan.Mode = k.Actions
}

func (p *parser) stream(s *section, k *Kelpie) {
	sizes := map[string]*int64{"events": &k.EventsBytes, "inputs": &k.InputsBytes, "rejected": &k.RejectedBytes}
	size, ok := sizes[s.name()]
	if !ok {
		p.errorf(s.header(), "Unknown stream", "The log has no %q. %s", s.name(), suggest(s.name(), []string{"events", "inputs", "rejected"}))
		return
	}
	*size = p.size(s, "size")
	if s.has("per_source") && s.name() != "rejected" {
		p.errorf(s.place("per_source"), "Without effect", "\"per_source\" goes with the stream \"rejected\".")
		return
	}
	if s.has("per_source") {
		k.RejectedQuota = p.size(s, "per_source")
	}
}

// memory reads what decide may keep at hand; what is absent has decide's own defaults.
func (p *parser) memory(s *section) {
	if s == nil {
		return
	}
	m := &p.config.Decide.Memory
	m.Signals = p.within(s, "signals", decide.MinSignals, decide.MaxSignals)
	m.Values = p.within(s, "values", decide.MinValues, decide.MaxValues)
	m.Intents = p.within(s, "steps", decide.MinIntents, decide.MaxIntents)
	m.Answers = int(p.size(s, "answers"))
	if s.has("answers") && m.Answers != 0 && (m.Answers < decide.MinAnswers || m.Answers > decide.MaxAnswers) {
		p.errorf(s.place("answers"), "Out of range", "Write %dMiB to %dGiB, or remove \"answers\".", decide.MinAnswers>>20, decide.MaxAnswers>>30)
	}
}

// within reads a number between two; 0 where it is absent.
func (p *parser) within(s *section, name string, least, most int) int {
	if !s.has(name) {
		return 0
	}
	n := s.integer(name, least)
	if n < least || n > most {
		p.errorf(s.place(name), "Out of range", "Write %d to %d, or remove %q.", least, most, name)
	}
	return n
}

func (p *parser) organisation(s *section) {
	if s == nil {
		return
	}
	for i, text := range s.texts("networks") {
		if prefix, ok := p.network(s, "networks", i, text); ok {
			p.config.Decide.Networks = append(p.config.Decide.Networks, prefix)
		}
	}
	for i, text := range s.texts("domains") {
		o, err := sdk.Canonical(sdk.Domain, text)
		if err != nil {
			p.errorf(s.item("domains", i), "Not a domain", "Write it as \"example.org\"; all below it is meant too.")
			continue
		}
		p.config.Decide.Domains = append(p.config.Decide.Domains, o.Value)
	}
}

func (p *parser) network(s *section, name string, i int, text string) (netip.Prefix, bool) {
	at := s.item(name, i)
	if !strings.Contains(text, "/") {
		if addr, err := netip.ParseAddr(text); err == nil {
			p.errorf(at, "Not a network", "For one address write \"%s/%d\".", addr, addr.BitLen())
			return netip.Prefix{}, false
		}
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		p.errorf(at, "Not a network", "Write it as \"10.0.0.0/8\" or \"fd00::/8\".")
		return prefix, false
	}
	if masked := prefix.Masked(); masked != prefix {
		p.errorf(at, "Not a network", "%s has bits set behind its length. Write \"%s\".", prefix, masked)
		return prefix, false
	}
	return prefix, true
}

// limits reads the limits by verb, once all verbs are known.
func (p *parser) limits(offered []string) {
	s := p.first("kelpie")
	if s == nil {
		return
	}
	for _, limit := range s.of("limit") {
		verb := limit.name()
		if !slices.Contains(offered, verb) && !slices.Contains(verbs(), verb) {
			p.errorf(limit.header(), "Unknown verb", "There is no verb %q. %s", verb, suggest(verb, append(verbs(), offered...)))
			continue
		}
		n := limit.integer("per_hour", 0)
		if n < 1 && limit.has("per_hour") {
			p.errorf(limit.place("per_hour"), "Out of range", "Write 1 or more; to forbid a verb, write a protect block.")
			continue
		}
		p.config.Decide.Plan.Limits = append(p.config.Decide.Plan.Limits, plan.Limit{Verb: verb, PerHour: n})
	}
}
