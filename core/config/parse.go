package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/sdk/table"
)

// parser makes a Config of a Source. It goes on after a complaint, so that an
// operator sees them all at once.
type parser struct {
	src   *Source
	world world

	bodies     []*hclsyntax.Body
	blockCount int // at the top of all files
	diags      hcl.Diagnostics
	notBuilt   hcl.Diagnostics

	variables, locals, inputs map[string]expr.Value
	variableNames, localNames []string
	constantsUsed             map[string]bool // "var.x", "local.x"

	sections []*section          // at the top, in the order of the files
	named    map[string]*section // by address
	missing  map[string]bool     // addresses of blocks that are not there by a mistake elsewhere

	reporters []reporter // rules, and pipelines with alerts, in the order of the files

	identities map[string]string // of blocks that were renamed, by their addresses

	confinements map[string]host.Confinement // by the plugin's name

	tested map[string]Tested // of rules, by their addresses

	ruleIgnores map[*section][]ruleIgnore
	// rehearsal is what tests are run by; nil: they are checked only.
	rehearsal *rehearsed

	tableRows map[string]expr.Table   // by name
	tableOf   map[string]*table.Table // likewise
	joined

	alone bool // the blocks of other plugins are left out

	shapes map[place]map[string]*expr.Shape
	index  *expr.Index
	config *Config

	conditions expr.Conditions // nil: nobody asks why one is not true
}

func newParser(src *Source, w world) *parser {
	return &parser{
		src: src, world: w,
		constantsUsed: map[string]bool{}, named: map[string]*section{}, missing: map[string]bool{},
		tested: map[string]Tested{}, ruleIgnores: map[*section][]ruleIgnore{},
		shapes: map[place]map[string]*expr.Shape{}, index: match.NewIndex(),
		config: &Config{Source: src},
	}
}

// Parse makes a configuration of a source. It does no I/O, never panics, and gives
// the same for the same source. The configuration is nil if there are errors. What
// is read and not built yet is in Config.NotBuilt, and what production rules are missing
// in Config.Unproven: neither is among the diagnostics.
func Parse(src *Source) (*Config, hcl.Diagnostics) {
	return newParser(src, src).parse()
}

func (p *parser) parse() (*Config, hcl.Diagnostics) {
	if p.files(); p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	if !p.join() {
		return nil, sorted(p.diags)
	}
	p.constants()
	p.blocks()
	p.build()
	if !p.diags.HasErrors() { // or else what is used is not known
		p.unused()
	}
	if p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	hash, err := p.src.Hash()
	if err != nil {
		return nil, reading(err)
	}
	p.config.finish(hash)
	p.config.NotBuilt, p.config.Tested = sorted(p.notBuilt), p.tested
	p.config.Rules = p.rules()
	p.config.Unproven = p.unproven(p.config.Rules)
	p.config.Names = p.names()
	p.config.Decide.Names, p.config.movable = p.config.Names, p.places()
	p.config.kelpie = p.first("kelpie")
	if p.rehearsal == nil { // what is only tested is never compared with another
		p.config.parts = p.parts()
	}
	return p.config, sorted(p.diags)
}

// files parses the syntax.
func (p *parser) files() {
	if len(p.src.Files) == 0 {
		p.diags = append(p.diags, reading(errors.New("there is no file"))...)
	}
	if p.rehearsal != nil && p.src.Syntax != nil {
		p.bodies = p.src.Syntax
		return
	}
	for _, f := range p.src.Files {
		if f.Unit == "" {
			p.bodies = append(p.bodies, p.file(f)...)
		}
	}
}

// file parses the syntax of one file; nothing of one that is no HCL at all.
func (p *parser) file(f File) []*hclsyntax.Body {
	name, text := p.src.shown(f.Name), []byte(f.Text)
	start := hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
	if err := usable(text); err != nil {
		p.errorf(start, "File cannot be read", "%s.", sentence(err.Error()))
		return nil
	}
	if tooDeep(text) {
		p.errorf(start, "Nested too deep", "Blocks, brackets and conditions may be nested %d deep.", maxNesting)
		return nil
	}
	file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	p.diags = append(p.diags, syntax(diags)...)
	if file == nil {
		return nil
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil
	}
	before := p.blockCount
	if p.blockCount += len(body.Blocks); before <= maxBlocks && p.blockCount > maxBlocks {
		p.diags = append(p.diags, reading(fmt.Errorf("it has more than %d blocks", maxBlocks))...)
	}
	return []*hclsyntax.Body{body}
}

// maxBlocks bounds the blocks at the top of all files.
const maxBlocks = 20_000

// syntax makes ours of what HCL's parser says. After a text that does not end it
// takes everything for a mistake.
func syntax(diags hcl.Diagnostics) hcl.Diagnostics {
	const most = 5
	words := strings.NewReplacer("argument", "attribute", "Argument", "Attribute")
	for i, d := range diags {
		d.EvalContext, d.Expression = nil, nil
		d.Summary, d.Detail = words.Replace(d.Summary), words.Replace(d.Detail)
		if d.Summary == "Invalid multi-line string" {
			d.Summary = "Text does not end"
			d.Detail = "Close it with \" on this line. For a text of several lines write <<EOT, the lines, and EOT on a line of its own."
			return diags[:i+1]
		}
	}
	return diags[:min(len(diags), most)]
}

// maxNesting bounds the recursion of HCL's parser.
const maxNesting = 150

// tooDeep tells whether parsing text would recurse deeply.
func tooDeep(text []byte) bool {
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	depth, signs, conditions := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			depth--
		case hclsyntax.TokenQuestion, hclsyntax.TokenTemplateControl:
			conditions++
		case hclsyntax.TokenEqual:
			conditions = 0
		}
		if t.Type == hclsyntax.TokenBang || t.Type == hclsyntax.TokenMinus {
			signs++
		} else {
			signs = 0
		}
		if t.Type == hclsyntax.TokenTemplateControl {
			depth++
		}
		if max(depth, signs, conditions) > maxNesting {
			return true
		}
	}
	return false
}

// blocks checks every block at the top against its type, and gives each its address.
func (p *parser) blocks() {
	lang := language()
	_, known := lang.names()
	for _, body := range p.bodies {
		for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
			attr := body.Attributes[name]
			p.errorf(attr.NameRange, "Attribute outside of a block", "At the top of a file stand blocks. %s", inBlock(name, known)).Extra = hidden{part: attr.Expr.Range()}
		}
		for _, block := range body.Blocks {
			if p.full() {
				return
			}
			typ, ok := lang.block(block.Type)
			switch {
			case !ok:
				p.errorf(block.TypeRange, "Unknown block", "There is no block %q. %s", block.Type, suggest(block.Type, known))
				if len(block.Labels) > 0 {
					p.missing[nearest(block.Type, known)+"."+block.Labels[len(block.Labels)-1]] = true
				}
			case typ.name == "variable" || typ.name == "locals":
			case typ.name == "input" && p.unitOf[body] == nil:
				p.errorf(block.DefRange(), "Not in a pack", "An input says what a pack must be given; it stands in the pack's files.")
			case typ.name == "input":
				p.section(block, typ) // which several packs may have
			case isConnector(typ.name):
				p.connectorSection(block)
			default:
				p.top(block, typ)
			}
		}
	}
	for _, kind := range []string{"kelpie", "case", "score"} {
		p.once(kind)
	}
}

func inBlock(name string, blocks []string) string {
	if slices.Contains(blocks, name) {
		return fmt.Sprintf("Write %s { … } without \"=\".", name)
	}
	if _, ok := kelpieBlock().body.attribute(name); ok {
		return fmt.Sprintf("Write %q inside of kelpie { … }.", name)
	}
	return "For a value that others read, write locals { " + name + " = … }."
}

// top checks a block that others may name.
func (p *parser) top(block *hclsyntax.Block, typ blockType) *section {
	s := p.section(block, typ)
	p.register(s)
	return s
}

func (p *parser) register(s *section) {
	p.sections = append(p.sections, s)
	if len(s.typ.labels) == 0 || s.typ.later {
		return
	}
	address := s.address()
	other := p.named[address]
	if other == nil {
		switch s.typ.name { // these two share their names
		case "pipeline":
			other = p.named["rule."+s.name()]
		case "rule":
			other = p.named["pipeline."+s.name()]
		case "pack":
			other = p.named["module."+s.name()]
		case "module":
			other = p.named["pack."+s.name()]
		}
	}
	if other != nil {
		at := other.header()
		p.errorf(s.header(), "Name given twice", "There is another %s on line %d of %s. Give one of them another name.", titleOf(other.block), at.Start.Line, at.Filename)
		if p.named[address] != nil {
			return
		}
	}
	p.named[address] = s
}

// once complains about a second block of a kind that there is one of.
func (p *parser) once(kind string) {
	var first *section
	for _, s := range p.sections {
		switch {
		case s.typ.name != kind:
		case first == nil:
			first = s
		default:
			at := first.header()
			p.errorf(s.header(), "Block given twice", "There is another %s block on line %d of %s. Join them.", kind, at.Start.Line, at.Filename)
		}
	}
}

// each gives the sections of a kind, those with an address that is theirs.
func (p *parser) each(kind string) []*section {
	var out []*section
	for _, s := range p.sections {
		if s.typ.name == kind && (len(s.typ.labels) == 0 || p.named[s.address()] == s) {
			out = append(out, s)
		}
	}
	return out
}

// first is the only section of a kind, or an empty one.
func (p *parser) first(kind string) *section {
	if all := p.each(kind); len(all) > 0 {
		return all[0]
	}
	return nil
}

func (p *parser) build() {
	p.resolveBindings()
	p.moves()
	p.kelpie()
	p.tables()
	p.cases()
	p.pluginBlocks()
	p.connectors()
	p.vouched(p.usedPlugins())
	p.pipelines()
	p.score()
	p.responding()
	p.checkGrants()
	p.answering()
}

// unused complains about blocks that nothing names.
func (p *parser) unused() {
	for _, s := range p.sections {
		address := s.address()
		if s.used || s.broken || p.named[address] != s {
			continue
		}
		why := ""
		switch s.typ.name {
		case "connection":
			why = "write connection = %s in a connector's block"
		case "detector":
			why = "write from = [%s] in a pipeline"
		case "action":
			why = "write do = %s.VERB in a step of a response"
		case "template":
			why = "write use = %s in a pipeline"
		case "response":
			why = "write respond = [%s] in a pipeline or a rule"
		case "route":
			why = "write to = %s in a step"
		case "text":
			why = "write text = %s in a step"
		case "schedule":
			why = "read it in a route, as %s"
		case "pipeline":
			why = "write alerts = true in it, or on = [%s] in a rule"
		case "publisher":
			why = "write publisher = %s in a plugin block"
		case "table":
			why = "read it in an expression, as %s[KEY]"
		case "variable":
			if p.constantsUsed["var."+s.name()] {
				continue
			}
			why = "read it as var." + s.name()
		default:
			continue
		}
		if slices.Contains([]string{"connection", "detector", "action", "template", "response", "route", "schedule", "pipeline", "publisher", "table", "text"}, s.typ.name) {
			why = fmt.Sprintf(why, address)
		}
		p.errorf(s.header(), "Unused block", "Nothing uses this %s: %s, or remove the block.", s.typ.name, why)
	}
	for _, name := range p.localNames {
		if !p.constantsUsed["local."+name] {
			p.warnUnusedLocal(name)
		}
	}
}

func (p *parser) warnUnusedLocal(name string) {
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if attr := block.Body.Attributes[name]; attr != nil && block.Type == "locals" {
				p.warnf(attr.NameRange, "Unused local", "Nothing reads local.%s.", name)
			}
		}
	}
}
