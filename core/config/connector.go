package config

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/sdk"
)

// instance is one detector, enrichment or action block.
type instance struct {
	section    *section
	plugin     *model.Plugin
	connector  *model.Connector
	connection *section // nil: none
	shadow     *section // what it is the shadow of; nil: it counts itself
	enabled    bool
	assumed    bool // its plugin has no schema
	// config and link are the bodies of the block and of its connection: maps, lists,
	// JSON texts, and secretName where a secret belongs.
	config, link map[string]any
	settings     host.Instance // without Config, Connection and Secrets
}

func isConnector(kind string) bool {
	switch kind {
	case "connection", "detector", "enrichment", "action":
		return true
	}
	return false
}

// pluginName is the plugin in a block's first label: "aws" in "aws" and in
// "aws/guardduty", where a plugin has several connectors of a kind.
func pluginName(label string) string {
	name, _, _ := strings.Cut(label, "/")
	return name
}

// connectorSection checks a connector's block by its plugin's schema.
func (p *parser) connectorSection(block *hclsyntax.Block) {
	kind := block.Type
	free := connectorBlock(kind, "", nil)
	if len(block.Labels) != 2 {
		p.register(p.section(block, free))
		return
	}
	if p.dotted(block) {
		s := p.section(block, free)
		s.broken, s.used = true, true
		p.register(s)
		return
	}
	plugin := p.src.plugin(pluginName(block.Labels[0]))
	assumed := plugin == nil && p.rehearsal != nil
	if assumed {
		plugin = p.assumed(block)
	}
	if plugin == nil {
		p.unknownPlugin(block)
		s := p.section(block, free)
		s.broken, s.used = true, true
		p.register(s)
		return
	}
	schema, connector := p.schemaOf(block, plugin)
	if schema == nil {
		for _, other := range []string{"detector", "enrichment", "action"} {
			p.missing[other+"."+block.Labels[1]] = true
		}
		s := p.section(block, free)
		s.broken = true
		p.register(s)
		return
	}
	p.clash(block, schema)
	typ := connectorBlock(kind, connector.Summary, schema)
	typ.body.open = assumed
	s := p.section(block, typ)
	p.register(s)
	if kind != "connection" {
		p.config.instances = append(p.config.instances, &instance{section: s, plugin: plugin, connector: connector, assumed: assumed, config: p.tree(s, *schema)})
	}
}

// dotted complains about a label that names a connector as an address would.
func (p *parser) dotted(block *hclsyntax.Block) bool {
	label := block.Labels[0]
	if !strings.Contains(label, ".") {
		return false
	}
	p.errorf(block.LabelRanges[0], "Not a label", "One of several connectors of a plugin is written with \"/\": write %s %q %q.", block.Type, strings.ReplaceAll(label, ".", "/"), block.Labels[1])
	return true
}

// clash complains about a plugin that wants names that are the core's own.
func (p *parser) clash(block *hclsyntax.Block, schema *model.Schema) {
	attributes, blocks := coreAttributes(block.Type).names()
	core := append(attributes, blocks...)
	for _, a := range schema.Attributes {
		if slices.Contains(core, a.Name) {
			p.errorf(block.LabelRanges[0], "Plugin breaks the contract", "It wants an attribute %q, which is Kelpie's own in every connector's block. Tell the plugin's author.", a.Name)
		}
	}
	for _, b := range schema.Blocks {
		if slices.Contains(core, b.Name) {
			p.errorf(block.LabelRanges[0], "Plugin breaks the contract", "It wants a block %q, which is Kelpie's own in every connector's block. Tell the plugin's author.", b.Name)
		}
	}
}

func (p *parser) unknownPlugin(block *hclsyntax.Block) {
	name := pluginName(block.Labels[0])
	at := block.LabelRanges[0]
	known := p.src.Known
	if near := nearest(name, known); near != "" && !p.sourced(name) {
		p.errorf(at, "Unknown plugin", "There is no schema of a plugin %q. Did you mean %q?", name, near)
		return
	}
	if p.sourced(name) {
		p.errorf(at, "Unknown plugin", "There is no schema of the plugin %q in %s: it is not here yet. Run \"kelpie init\".", name, SchemaDir)
		return
	}
	p.errorf(at, "Unknown plugin", "There is no schema of a plugin %q in %s. If its executable is in the plugin folder, run \"kelpie plugin lock\".", name, SchemaDir)
}

// schemaOf is what a block of a plugin holds. The connector is empty for a
// connection.
func (p *parser) schemaOf(block *hclsyntax.Block, plugin *model.Plugin) (*model.Schema, *model.Connector) {
	kind, at := block.Type, block.LabelRanges[0]
	if kind == "connection" {
		if plugin.Connection == nil {
			p.errorf(at, "No connection", "The plugin %q takes no connection block: its connectors have all attributes themselves.", plugin.Name)
			return nil, nil
		}
		if block.Labels[0] != plugin.Name {
			p.errorf(at, "Not a label", "A connection is for all connectors of its plugin: write connection %q %q.", plugin.Name, block.Labels[1])
			return nil, nil
		}
		return plugin.Connection, &model.Connector{}
	}
	var names, kinds []string
	for i := range plugin.Connectors {
		c := &plugin.Connectors[i]
		kinds = append(kinds, string(c.Kind))
		if string(c.Kind) != kind {
			continue
		}
		label := model.Label(plugin.Name, c.Name)
		if label == block.Labels[0] {
			return &c.Schema, c
		}
		names = append(names, label)
	}
	if len(names) == 0 {
		slices.Sort(kinds)
		p.errorf(at, "Not offered", "The plugin %q has no %s. It has: %s.%s", plugin.Name, kind, strings.Join(slices.Compact(kinds), ", "), leftOut(plugin))
		return nil, nil
	}
	p.errorf(at, "Unknown connector", "Write which %s of the plugin is meant. %s%s", kind, suggest(block.Labels[0], names), leftOut(plugin))
	return nil, nil
}

// leftOut says what there is of a plugin that this Kelpie can't use.
func leftOut(plugin *model.Plugin) string {
	if len(plugin.LeftOut) == 0 {
		return ""
	}
	return " Left out of it is: " + strings.Join(plugin.LeftOut, "; ") + "."
}

// tree is the body of a block as the plugin gets it, defaults filled in, secrets by
// name.
func (p *parser) tree(s *section, schema model.Schema) map[string]any {
	out := map[string]any{}
	for _, a := range schema.Attributes {
		switch {
		case a.Secret && s.attrs[a.Name] != nil:
			if v, ok := secretTree(s.attrs[a.Name].Expr); ok {
				out[a.Name] = v
			}
		case s.attrs[a.Name] != nil:
			out[a.Name] = p.leaf(s, a)
		case len(a.Default) > 0:
			out[a.Name] = a.Default
		}
	}
	for _, b := range schema.Blocks {
		inner := s.of(b.Name)
		switch b.Nesting {
		case "list":
			list := []any{}
			for _, i := range inner {
				list = append(list, p.tree(i, b.Schema))
			}
			if len(list) > 0 {
				out[b.Name] = list
			}
		case "map":
			fields := map[string]any{}
			for _, i := range inner {
				fields[i.name()] = p.tree(i, b.Schema)
			}
			if len(fields) > 0 {
				out[b.Name] = fields
			}
		default:
			if len(inner) > 0 {
				out[b.Name] = p.tree(inner[0], b.Schema)
			}
		}
	}
	return out
}

func (p *parser) leaf(s *section, a model.Attribute) json.RawMessage {
	text, _ := p.absolute(s.values[a.Name], a.Type).MarshalJSON()
	return text
}

// absolute makes relative paths absolute, from the configuration's folder: a plugin
// runs in a folder of its own.
func (p *parser) absolute(v expr.Value, t model.Type) expr.Value {
	switch t.Kind {
	case "path":
		if path, ok := v.Str(); ok && path != "" && !filepath.IsAbs(path) {
			return expr.String(filepath.Join(p.src.Dir, path))
		}
	case "list":
		if t.Element != nil && v.Kind() == expr.ListKind {
			var out []expr.Value
			for item := range v.Items() {
				out = append(out, p.absolute(item, *t.Element))
			}
			return expr.List(out)
		}
	case "map":
		if t.Element != nil && v.Kind() == expr.ObjectKind {
			out := map[string]expr.Value{}
			for name, field := range v.Fields() {
				out[name] = p.absolute(field, *t.Element)
			}
			return expr.Object(out)
		}
	}
	return v
}

// connectors makes the settings of all instances.
func (p *parser) connectors() {
	for _, i := range p.config.instances {
		p.instance(i)
		if i.section.broken || !i.enabled {
			continue
		}
		switch i.connector.Kind {
		case model.Detector:
			p.detector(i)
		case model.Enrichment:
			p.enrichment(i)
		case model.Action:
			p.action(i)
		}
	}
	p.config.instances = slices.DeleteFunc(p.config.instances, func(i *instance) bool { return !i.enabled })
	p.config.Enrich.Own = p.config.Decide.Own
	p.shadows()
}

func (p *parser) instance(i *instance) {
	s := i.section
	i.enabled = s.flag("enabled", true)
	i.settings = host.Instance{
		Address:   p.identity(s),
		Kind:      i.connector.Kind,
		Plugin:    i.plugin.Name,
		Connector: i.connector.Name, CursorVersion: i.connector.CursorVersion,
		Own:     s.text("isolation", "") == "own",
		Timeout: s.duration("timeout", 0),

		Confinement: p.confine(i.plugin),
	}
	for name, v := range s.values["env"].Fields() {
		text, _ := v.Str()
		if strings.ContainsAny(name, "=\x00") || name == "" || strings.Contains(text, "\x00") {
			p.errorf(s.place("env"), "Not an environment", "Names in env hold no \"=\", and neither names nor values a null byte.")
			continue
		}
		i.settings.Env = append(i.settings.Env, name+"="+text)
	}
	if s.has("timeout") && i.settings.Timeout <= 0 {
		p.errorf(s.place("timeout"), "Out of range", "Nothing can be done in no time. Write timeout = \"10s\".")
	}
	if s.typ.name == "detector" && (!i.enabled || s.has("shadow")) {
		s.used = true
	}
	p.connect(i)
	i.settings.Key = i.maker()
	if i.shadow = p.shadow(i); i.shadow != nil {
		i.settings.Own = true // what becomes of its process is no matter of what counts
	}
}

// connect finds the connection that a block names.
func (p *parser) connect(i *instance) {
	s := i.section
	if !s.has("connection") {
		if i.plugin.Connection != nil && needsConnection(i.plugin.Connection) && !s.broken {
			p.errorf(s.header(), "Missing attribute", "%s needs a connection: write connection \"%s\" \"NAME\" { … } and here connection = connection.NAME.", sentence(s.title()), i.plugin.Name)
		}
		return
	}
	c := p.reference(s.expr("connection"), "connection")
	switch {
	case c == nil || c.broken:
	case pluginName(c.labels[0]) != i.plugin.Name:
		p.errorf(s.place("connection"), "Wrong connection", "connection.%s is of the plugin %q, and this block of %q.", c.name(), c.labels[0], i.plugin.Name)
	default:
		i.connection = c
		i.link = p.tree(c, *i.plugin.Connection)
	}
}

func needsConnection(s *model.Schema) bool {
	return slices.ContainsFunc(s.Attributes, func(a model.Attribute) bool { return a.Required })
}

func (p *parser) detector(i *instance) {
	d := Detector{Address: p.identity(i.section), Plugin: i.plugin.Name, Connector: i.connector.Name, Finite: i.connector.Finite, CursorVersion: i.connector.CursorVersion}
	if i.shadow != nil {
		d.Shadow = p.identity(i.shadow)
	}
	if h := i.section.one("health"); h != nil {
		d.Health = Health{Silence: h.duration("silence", 0), Fields: h.texts("fields"), Runbook: h.text("runbook", "")}
	}
	p.config.Detectors = append(p.config.Detectors, d)
}

func (p *parser) enrichment(i *instance) {
	s, c := i.section, i.connector
	takes := c.Takes
	if s.has("takes") {
		takes = p.takes(s, c.Takes)
	}
	ttl := enrich.DefaultTTL
	if c.DefaultTTL > 0 {
		ttl = time.Duration(c.DefaultTTL) * time.Second
	}
	e := enrich.Source{
		Address:     p.identity(s),
		Takes:       takes,
		Internal:    s.flag("internal", false),
		TTL:         s.duration("ttl", ttl),
		NegativeTTL: enrich.DefaultNegativeTTL,
		Patience:    s.duration("patience", enrich.DefaultPatience),
		Timeout:     s.duration("timeout", enrich.DefaultTimeout),
		BatchLimit:  max(1, c.BatchLimit),
		Key:         i.key(),
	}
	e.NegativeTTL = min(e.NegativeTTL, e.TTL)
	if limit := s.one("limit"); limit != nil {
		e.PerMinute = p.positive(limit, "per_minute")
		e.PerDay = p.positive(limit, "per_day")
	}
	i.settings.Timeout = e.Timeout
	if i.shadow != nil {
		p.common(s, takes, i.shadow)
		e.Shadow = p.identity(i.shadow)
		p.config.Enrich.Shadows = append(p.config.Enrich.Shadows, e)
		return
	}
	p.config.Enrich.Sources = append(p.config.Enrich.Sources, e)
	p.config.Decide.Sources = append(p.config.Decide.Sources, decide.Source{Address: e.Address, Takes: e.Takes, Internal: e.Internal})
}

// positive reads a number of at least 1; 0 where it is absent.
func (p *parser) positive(s *section, name string) int {
	n := s.integer(name, 0)
	if s.has(name) && n < 1 {
		p.errorf(s.place(name), "Out of range", "Write 1 or more, or remove %q.", name)
	}
	return max(0, n)
}

func (p *parser) takes(s *section, offered []string) []string {
	var takes []string
	for n, kind := range s.texts("takes") {
		switch {
		case slices.Contains(takes, kind):
		case slices.Contains(offered, kind):
			takes = append(takes, kind)
		case slices.Contains(sdk.Kinds(), kind):
			p.errorf(s.item("takes", n), "Not taken", "This connector cannot be asked about %q. It takes: %s.", kind, strings.Join(offered, ", "))
		default:
			p.errorf(s.item("takes", n), "Unknown kind", "There is no kind of observable %q. %s", kind, suggest(kind, offered))
		}
	}
	if len(takes) == 0 && !s.broken {
		p.errorf(s.place("takes"), "Asked about nothing", "Name at least one kind, or write enabled = false.")
	}
	return takes
}

// key names what an instance's answers depend on. Secrets are in it by name.
func (i *instance) key() string {
	body, _ := json.Marshal(i.config)
	link, _ := json.Marshal(i.link)
	return model.ID("k", i.plugin.Name, i.plugin.Version, i.connector.Name, string(body), string(link))
}

// maker names who an instance is for what it does: another build is the same.
func (i *instance) maker() string {
	body, _ := json.Marshal(i.config)
	link, _ := json.Marshal(i.link)
	return model.ID("m", i.plugin.Name, i.connector.Name, string(body), string(link))
}

func (p *parser) action(i *instance) {
	a := respond.Action{Maker: respond.Maker{Instance: i.settings.Key}, Timeout: i.section.duration("timeout", respond.DefaultTimeout), Verbs: map[string]respond.Verb{}, Answers: i.connector.Answers}
	for _, v := range i.connector.Verbs {
		a.Verbs[v.Name] = respond.Verb{Check: v.Check, Idempotent: v.Idempotent, Settle: time.Duration(v.Settle) * time.Second}
	}
	i.settings.Timeout = a.Timeout
	if p.config.Respond.Actions == nil {
		p.config.Respond.Actions = map[string]respond.Action{}
	}
	p.config.Respond.Actions[p.identity(i.section)] = a
}

// offered are the verbs of all actions, sorted.
func (p *parser) offered() []string {
	names := map[string]bool{}
	for _, i := range p.config.instances {
		for _, v := range i.connector.Verbs {
			names[v.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// instanceAt is the instance of a block, or nil if it is not enabled.
func (p *parser) instanceAt(s *section) *instance {
	for _, i := range p.config.instances {
		if i.section == s {
			return i
		}
	}
	return nil
}
