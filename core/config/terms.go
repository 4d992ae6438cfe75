package config

import (
	"slices"
)

// termAttributes name the sources of a rule.
var termAttributes = [...]string{"on", "sequence", "all", "absent", "unless"}

// maxTerms of a sequence.
const maxTerms = 16

// ruleSource is a pipeline or a rule that another rule reads.
type ruleSource struct {
	section *section
	road    *road // of a pipeline
	// signals: it reports signals itself, which are what the rule reads of it. Of others
	// it reads the events.
	signals bool
}

// ruleTerms are what a rule reads, by the terms that an event can be of.
type ruleTerms struct {
	all     [][]ruleSource
	unless  bool // the last one must not come
	signals int  // how many sources report signals themselves
	rules   int  // how many of them are rules
	events  int  // how many do not
}

// roads are the pipelines of a rule over single events.
func (t ruleTerms) roads() []*road {
	var all []*road
	for _, source := range t.all[0] {
		if source.road != nil {
			all = append(all, source.road)
		}
	}
	return all
}

// ruleTerms reads the sources of a rule, and complains if there are none, or of two ways.
func (p *parser) ruleTerms(s *section, roads []*road) (t ruleTerms, ok bool) {
	var ways []string
	for _, name := range []string{"on", "sequence", "all"} {
		if s.has(name) {
			ways = append(ways, name)
		}
	}
	switch {
	case len(ways) == 0 && !s.broken:
		p.errorf(s.header(), "Missing attribute", "%s reads nothing: write on = [pipeline.NAME].", sentence(s.title()))
	case len(ways) > 1:
		p.errorf(s.place(ways[1]), "Two kinds of rule", "A rule has %q or %q, and not both.", ways[0], ways[1])
	}
	for _, name := range termAttributes {
		e := s.expr(name)
		if e == nil {
			continue
		}
		sources := p.ruleSources(s, name, roads)
		if name == "sequence" || name == "all" {
			for _, source := range sources {
				t.all = append(t.all, []ruleSource{source})
			}
			continue
		}
		t.all = append(t.all, sources)
		t.unless = t.unless || name == "unless"
	}
	for _, term := range t.all {
		for _, source := range term {
			if source.signals && experimental(source.section) && experimental(s) && !s.broken { // for production see unproven
				p.errorf(s.header(), "Nothing comes of it", "%s is experimental: its signals are kept, and feed nothing. \"kelpie rule promote %s\" says what it lacks.", sentence(source.section.title()), source.section.name())
				s.broken = true
			}
			switch {
			case source.road == nil:
				t.rules++
				t.signals++
			case source.signals:
				t.signals++
			default:
				t.events++
			}
		}
	}
	return t, len(ways) == 1 && len(t.all) > 0
}

func (p *parser) ruleSources(s *section, name string, roads []*road) []ruleSource {
	e := s.expr(name)
	if emptyList(e) && !s.broken {
		p.errorf(e.Range(), "Without a source", "Name at least one pipeline: %s = [pipeline.NAME].", name)
	}
	if n := len(items(e)); n == 1 && (name == "sequence" || name == "all") {
		p.errorf(e.Range(), "Only one", "%q takes at least two. For one write on = [%s].", name, fieldPath(items(e)[0]))
	}
	if n := len(items(e)); n > maxTerms && (name == "sequence" || name == "all") {
		p.errorf(e.Range(), "Too many", "%q takes at most %d, and these are %d.", name, maxTerms, n)
	}
	var all []ruleSource
	for _, found := range p.references(e, "pipeline", "rule") {
		source := ruleSource{section: found, signals: true}
		if i := slices.IndexFunc(roads, func(r *road) bool { return r.section == found }); i >= 0 {
			source.road, source.signals = roads[i], roads[i].alerts
		}
		all = append(all, source)
	}
	return all
}
