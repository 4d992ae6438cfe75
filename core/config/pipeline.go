package config

import (
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones do not depend on the machine

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// road is a pipeline with what its templates lend it.
type road struct {
	section *section
	from    []*section
	when    []*expr.Program
	// rules of map, by name, with the block they are written in.
	rules    map[string]*expr.Program
	written  map[string]*hclsyntax.Attribute
	mapped   bool // there is a map block
	zone     *time.Location
	alerts   bool
	ignores  []match.Ignore
	matchers []match.Rule
	feeds    []match.Feed
}

// pipelines reads templates, pipelines, ignores and rules.
func (p *parser) pipelines() {
	p.templateCycles()
	var roads []*road
	for _, s := range p.each("template") {
		p.halfRoad(s) // for complaints about templates, whoever uses them
	}
	for _, s := range p.each("pipeline") {
		roads = append(roads, p.road(s))
	}
	for _, s := range p.each("ignore") {
		p.ignore(s, roads)
	}
	for _, s := range p.each("rule") {
		p.rule(s, roads)
	}
	p.ruleCycles()
	p.sources(roads)
}

// ruleCycles complains about rules that read one another.
func (p *parser) ruleCycles() {
	needs := map[string][]string{}
	var names []string
	for _, s := range p.each("rule") {
		names = append(names, s.name())
		for _, attr := range termAttributes {
			for _, item := range items(s.expr(attr)) {
				if name, ok := strings.CutPrefix(fieldPath(item), "rule."); ok && p.named["rule."+name] != nil {
					needs[s.name()] = append(needs[s.name()], name)
				}
			}
		}
	}
	if _, cycle := sortByNeed(names, needs); len(cycle) > 0 {
		p.errorf(p.named["rule."+cycle[0]].header(), "Cycle", "These rules read one another: %s.", chain("rule.", cycle))
	}
}

// templateCycles complains about templates that use one another.
func (p *parser) templateCycles() {
	needs := map[string][]string{}
	var names []string
	for _, s := range p.each("template") {
		names = append(names, s.name())
		if e := s.expr("use"); e != nil {
			if a, diags := hcl.AbsTraversalForExpr(e); !diags.HasErrors() && len(a) == 2 && a.RootName() == "template" {
				if name, _ := stepName(a[1]); p.named["template."+name] != nil {
					needs[s.name()] = append(needs[s.name()], name)
				}
			}
		}
	}
	order, cycle := sortByNeed(names, needs)
	if len(cycle) > 0 {
		s := p.named["template."+cycle[0]]
		p.errorf(s.place("use"), "Cycle", "These templates use one another: %s.", chain("template.", cycle))
	}
	for _, s := range p.each("template") {
		if !slices.Contains(order, s.name()) {
			s.broken = true
			s.used = true
			delete(s.attrs, "use")
		}
	}
}

// halfRoad compiles what one block says itself.
func (p *parser) halfRoad(s *section) *road {
	r := &road{section: s, rules: map[string]*expr.Program{}, written: map[string]*hclsyntax.Attribute{}}
	p.negation(s, false)
	if when := p.condition(s, "when", inPipeline, expr.Env{}); when != nil {
		r.when = append(r.when, when)
	}
	if m := s.one("map"); m != nil {
		r.mapped = true
		p.mapRules(m, r)
	}
	if name := s.text("timezone", ""); name != "" {
		zone, err := time.LoadLocation(name)
		if err != nil || name == "Local" {
			p.errorf(s.place("timezone"), "Unknown time zone", "Write a name of the IANA list, such as \"UTC\" or \"Europe/Berlin\".")
		}
		r.zone = zone
	}
	return r
}

// mapRules compiles the attributes of a map block.
func (p *parser) mapRules(m *section, r *road) {
	for _, a := range m.typ.body.attributes {
		e := m.expr(a.Name)
		if e == nil {
			continue
		}
		env := expr.Env{}
		switch a.Name {
		case "title", "link":
			env.Want = expr.StringKind
		case "severity":
			env.Want = expr.NumberKind
		case "stopped":
			env.Want = expr.BoolKind
		case "subjects", "indicators", "observables":
			env.Want = expr.ObjectKind
			p.observableKinds(e, a.Name)
		}
		r.rules[a.Name] = p.program(m, a.Name, inPipeline, env)
		r.written[a.Name] = m.attrs[a.Name]
	}
}

// observableKinds complains about keys that are no kinds of observables.
func (p *parser) observableKinds(e hclsyntax.Expression, name string) {
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return
	}
	for _, item := range object.Items {
		key, ok := literalKey(item.KeyExpr)
		if ok && !slices.Contains(sdk.Kinds(), key) {
			p.errorf(item.KeyExpr.Range(), "Unknown kind", "There is no kind of observable %q. %s", key, suggest(key, sdk.Kinds()))
		}
	}
}

// road joins a pipeline with its templates: what the nearer says counts more, and
// all conditions must hold.
func (p *parser) road(s *section) *road {
	r := p.halfRoad(s)
	r.alerts = s.flag("alerts", false)
	respond := s.expr("respond")
	hasAlerts := s.has("alerts")
	for t := p.used(s); t != nil; t = p.used(t) {
		half := p.quiet(func() *road { return p.halfRoad(t) })
		r.when = append(half.when, r.when...)
		p.rehearsal.through(half.when, s)
		r.mapped = r.mapped || half.mapped
		for name, rule := range half.rules {
			if _, own := r.written[name]; !own {
				r.rules[name], r.written[name] = rule, half.written[name]
			}
		}
		if r.zone == nil {
			r.zone = half.zone
		}
		if !hasAlerts && t.has("alerts") {
			hasAlerts, r.alerts = true, t.flag("alerts", false)
		}
		if respond == nil {
			respond = t.expr("respond")
		}
		s.broken = s.broken || t.broken
	}
	if from := s.expr("from"); from != nil {
		r.from = p.references(from, "detector")
		p.fromShadow(s, r.from)
	}
	if !s.broken && emptyList(s.expr("from")) {
		p.errorf(s.place("from"), "Without a source", "Name at least one detector: from = [detector.NAME].")
	}
	p.respond(s, respond, r.alerts)
	p.tests(s, r.alerts)
	p.rigour(s)
	s.used = s.used || r.alerts
	return r
}

// used is the template that a block uses, or nil.
func (p *parser) used(s *section) *section {
	if e := s.expr("use"); e != nil {
		return p.reference(e, "template")
	}
	return nil
}

// quiet does something whose complaints have been made before.
func (p *parser) quiet(do func() *road) *road {
	before := len(p.diags)
	r := do()
	p.diags = p.diags[:before]
	return r
}

// respond notes which responses the signals of a pipeline or rule ask for. A pipeline that
// reports must have some, unless it is experimental; whether a rule has is for unproven.
func (p *parser) respond(s *section, e hclsyntax.Expression, reports bool) {
	r := reporter{section: s}
	if e != nil {
		r.responses = p.references(e, "response")
	}
	if reports {
		p.reporters = append(p.reporters, r)
	}
	switch {
	case s.broken:
	case reports && e == nil && s.typ.name == "pipeline" && !experimental(s):
		p.errorf(s.header(), "No response", "%s reports signals, and nothing would come of them. Write respond = [response.NAME].", sentence(s.title()))
	case reports && emptyList(e):
		p.errorf(e.Range(), "No response", "Name at least one: respond = [response.NAME].")
	case !reports && e != nil:
		p.errorf(e.Range(), "Without effect", "This pipeline reports nothing itself, so nothing asks for a response. Write alerts = true, or move \"respond\" to its rules.")
	}
	if !reports || experimental(s) && p.rehearsal == nil || len(r.responses) == 0 {
		return
	}
	if p.config.Decide.Plan.Rules == nil {
		p.config.Decide.Plan.Rules = map[string][]string{}
	}
	for _, response := range r.responses {
		rule := p.identity(s)
		p.config.Decide.Plan.Rules[rule] = append(p.config.Decide.Plan.Rules[rule], p.identity(response))
	}
}

// sources puts the pipelines under their detectors, with the connector's own mapping
// where a pipeline has none.
func (p *parser) sources(roads []*road) {
	defaults := map[string]map[string]*expr.Program{}
	for _, s := range p.each("detector") {
		i := p.instanceAt(s)
		if i == nil {
			continue
		}
		src := match.Source{Detector: p.identity(s), Name: s.address()}
		if i.shadow != nil {
			src.Shadow, src.Mapping = p.identity(i.shadow), mapping(p.ownMapping(i, defaults), nil)
			src.Alike = i.shadow.labels[0] == s.labels[0]
		}
		for _, r := range roads {
			if !slices.Contains(r.from, s) {
				continue
			}
			rules := r.rules
			if own := p.ownMapping(i, defaults); !r.mapped && own != nil {
				rules = own
			}
			src.Pipelines = append(src.Pipelines, match.Pipeline{
				Address: p.identity(r.section), When: r.when, Map: mapping(rules, r.zone),
				Alerts: r.alerts, Experimental: experimental(r.section), Ignores: r.ignores, Rules: r.matchers, Feeds: r.feeds,
			})
		}
		p.config.Match.Sources = append(p.config.Match.Sources, src)
	}
}

// ownMapping is the mapping that an instance's connector brings, if it does.
func (p *parser) ownMapping(i *instance, known map[string]map[string]*expr.Program) map[string]*expr.Program {
	if i.connector.DefaultMapping == "" {
		return nil
	}
	key := model.Label(i.plugin.Name, i.connector.Name)
	if known[key] == nil {
		known[key] = p.defaultMapping(i)
	}
	return known[key]
}

func mapping(rules map[string]*expr.Program, zone *time.Location) match.Mapping {
	return match.Mapping{
		Title: rules["title"], Severity: rules["severity"], Time: rules["time"], Stopped: rules["stopped"],
		Techniques: rules["techniques"], Link: rules["link"],
		Subjects: rules["subjects"], Indicators: rules["indicators"], Observables: rules["observables"],
		TimeZone: zone,
	}
}

// defaultMapping compiles the mapping that a connector brings.
func (p *parser) defaultMapping(i *instance) map[string]*expr.Program {
	text := []byte(i.connector.DefaultMapping)
	name := "default mapping of " + i.plugin.Name
	before := len(p.diags)
	r := &road{rules: map[string]*expr.Program{}, written: map[string]*hclsyntax.Attribute{}}
	if tooDeep(text) {
		p.errorf(hcl.Range{}, "Wrong default mapping", "")
	} else if file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos); diags.HasErrors() {
		p.diags = append(p.diags, diags...)
	} else if body, ok := file.Body.(*hclsyntax.Body); ok {
		block := &hclsyntax.Block{Type: "map", Body: body, TypeRange: body.SrcRange, OpenBraceRange: body.SrcRange}
		p.mapRules(p.section(block, mapBlock()), r)
	}
	if said := p.diags[before:]; said.HasErrors() {
		first := said[0]
		p.diags = p.diags[:before]
		p.errorf(i.section.header(), "Wrong default mapping", "The plugin %q brings a mapping that is wrong (line %d: %s: %s). Write a map of your own in the pipeline, and tell the plugin's author.", i.plugin.Name, first.Subject.Start.Line, first.Summary, first.Detail)
	}
	return r.rules
}
