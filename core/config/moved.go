package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// movable are the kinds of blocks of which something durable hangs on the name: where a
// source was read to, its counts, signals, answers, steps and what is held.
var movable = [...]string{"detector", "enrichment", "action", "pipeline", "rule", "response"}

func movedBlock() blockType {
	return blockType{name: "moved", many: true, doc: "A block that got another name, and goes on as what it was: nothing is read, counted or done again. It stays in the configuration for as long as that is wanted.", body: bodyType{attributes: []attribute{
		reference("from", "The address that it had.").must(),
		reference("to", "The address that it has.").must(),
	}}}
}

// move is one moved block.
type move struct {
	from, to address
}

// moves finds out under which addresses the blocks are known that were renamed: that is
// the first of a chain of moves, for good.
func (p *parser) moves() {
	byTo, byFrom := map[string]move{}, map[string]move{}
	for _, s := range p.each("moved") {
		m, ok := p.move(s)
		if !ok {
			continue
		}
		if other, twice := byTo[m.to.String()]; twice {
			p.errorf(m.to.at, "Moved twice", "%s has another moved block, on line %d of %s: one block goes on as one.", m.to, other.to.at.Start.Line, other.to.at.Filename)
			continue
		}
		if other, twice := byFrom[m.from.String()]; twice {
			p.errorf(m.from.at, "Moved twice", "%s has another moved block, on line %d of %s: what it was can only be one.", m.from, other.from.at.Start.Line, other.from.at.Filename)
			continue
		}
		byTo[m.to.String()], byFrom[m.from.String()] = m, m
	}
	p.identities = map[string]string{}
	for _, to := range slices.Sorted(maps.Keys(byTo)) {
		p.follow(byTo[to], byTo, byFrom)
	}
}

// move reads a block, and complains about what makes no sense for itself.
func (p *parser) move(s *section) (m move, ok bool) {
	if s.broken {
		return m, false
	}
	var read [2]bool
	m.from, read[0] = p.address(s.expr("from"), "detector.OLD")
	m.to, read[1] = p.address(s.expr("to"), "detector.NEW")
	if !read[0] || !read[1] {
		return m, false
	}
	for _, a := range []address{m.from, m.to} {
		switch {
		case len(a.names) != 2:
			p.errorf(a.at, "Not a reference", "The address of a block has two parts: %s.NAME.", a.names[0])
			return m, false
		case !slices.Contains(movable[:], a.names[0]) && p.kindExists(a.names[0]):
			p.errorf(a.at, "Nothing to move", "Nothing that is kept hangs on the name of %s: rename it, and remove this block.", article(a.names[0]))
			return m, false
		case !slices.Contains(movable[:], a.names[0]):
			p.errorf(a.at, "Unknown reference", "Here stands the address of a block that got another name. There are: %s.", strings.Join(movable[:], ", "))
			return m, false
		}
	}
	switch {
	case m.from.names[0] != m.to.names[0]:
		p.errorf(m.to.at, "Another kind of block", "%s can't go on as %s.", sentence(article(m.from.names[0])), article(m.to.names[0]))
		return m, false
	case m.from.String() == m.to.String():
		p.errorf(m.to.at, "Moved in a circle", "%s is what it was. Remove this block.", m.to)
		return m, false
	case p.named[m.from.String()] != nil:
		at := p.named[m.from.String()].header()
		p.errorf(m.from.at, "Not moved", "%s is still there, on line %d of %s. Give that block the new name, or remove this one.", m.from, at.Start.Line, at.Filename)
		return m, false
	}
	return m, true
}

// follow goes to the ends of the chain that a move is in.
func (p *parser) follow(m move, byTo, byFrom map[string]move) {
	to := m.to.String()
	if p.named[to] == nil {
		next, chained := byFrom[to]
		if !chained {
			if !p.missing[to] && !p.full() {
				p.errorf(m.to.at, "Unknown "+m.to.names[0], "There is no %s %q. %s", m.to.names[0], m.to.names[1], suggest(m.to.names[1], p.namesOf(m.to.names[0])))
			}
			return
		}
		seen := map[string]bool{to: true}
		for ; chained; next, chained = byFrom[next.to.String()] {
			if seen[next.to.String()] {
				p.errorf(m.to.at, "Moved in a circle", "From %s one comes back to it. Write where it was first, and where it is now.", to)
				return
			}
			seen[next.to.String()] = true
		}
		return // the last of the chain tells
	}
	first := m.from.String()
	for before, ok := byTo[first]; ok; before, ok = byTo[first] {
		first = before.from.String()
	}
	p.identities[to] = first
}

// identity is the address under which all that is durable knows a block.
func (p *parser) identity(s *section) string {
	if first := p.identities[s.address()]; first != "" {
		return first
	}
	return s.address()
}

func (p *parser) shown(identity string) string {
	for now, first := range p.identities {
		if first == identity {
			return now
		}
	}
	return identity
}

// names are the addresses of now by those of the identities, where they differ.
func (p *parser) names() map[string]string {
	if len(p.identities) == 0 {
		return nil
	}
	names := map[string]string{}
	for now, first := range p.identities {
		names[first] = now
	}
	return names
}

// places are where the blocks are that can be moved, by their addresses of now.
func (p *parser) places() map[string]hcl.Range {
	places := map[string]hcl.Range{}
	for _, kind := range movable {
		for _, s := range p.each(kind) {
			places[s.address()] = s.header()
		}
	}
	return places
}

// Shown is the address of now of a block that is known by an identity.
func (c *Config) Shown(identity string) string {
	if now := c.Names[identity]; now != "" {
		return now
	}
	return identity
}

// identityOf is its opposite.
func (c *Config) identityOf(address string) string {
	for identity, now := range c.Names {
		if now == address {
			return identity
		}
	}
	return address
}

// Moved complains about moves that can't be made from a configuration that was in force
// before, and warns of what begins anew since its moved block is gone or is about nothing.
func (c *Config) Moved(before *Config) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for shown, at := range c.movable {
		d := before.beginning(c.identityOf(shown), shown)
		if d != nil {
			d.Subject = &at
			diags = append(diags, d)
		}
	}
	was := map[string]*instance{}
	for _, i := range before.instances {
		was[i.settings.Address] = i
	}
	for _, i := range c.instances {
		identity := i.settings.Address
		old := was[identity]
		if identity != i.section.address() && old != nil && (old.plugin.Name != i.plugin.Name || old.connector.Name != i.connector.Name) {
			diags = append(diags, complaint(i.section.header(), "Moved to another plugin",
				"%s was of plugin %q, and what is renamed goes on as what it was. Swap the plugin under the old name first and rename it then; or remove the moved block, and it starts anew.",
				before.Shown(identity), old.plugin.Name))
		}
	}
	return sorted(diags)
}

// beginning says what is wrong with a block of the next configuration, which is known by
// an identity there and has an address; nil: nothing. What was known by another identity
// must not lose that by a move: it would do all again.
func (c *Config) beginning(identity, shown string) *hcl.Diagnostic {
	_, from := c.movable[identity]
	_, known := c.movable[c.Shown(identity)]
	_, had := c.movable[shown]
	known = known && c.identityOf(c.Shown(identity)) == identity
	var d *hcl.Diagnostic
	switch first, own := c.identityOf(identity), c.identityOf(shown); {
	case identity != shown && from && first == shown:
		return complaint(hcl.Range{}, "Moved back", "%s was %s before it was %s, and goes on as that without a moved block. Remove both.", shown, shown, identity)
	case identity != shown && from && first != identity:
		return complaint(hcl.Range{}, "Moved on", "%s was %s before, and goes on as that: its moves begin there. Write the moved block from %s to %s.", identity, first, first, shown)
	case own != shown && own != identity:
		d = complaint(hcl.Range{}, "Starts anew", "%s was %s, and went on as that: without its moved block it is another one. What it has read, counted and done before is not known to it.", shown, own)
	case identity == shown && c.Shown(identity) != shown:
		d = complaint(hcl.Range{}, "Goes on as another", "%s is what %s was, which goes on by this name: it takes over what that has read, counted and done. Give it another name if it is something new.", shown, c.Shown(identity))
	case identity != shown && had && own == shown:
		d = complaint(hcl.Range{}, "Goes on as another", "%s was itself until now, and by its moved block goes on as what %s was: what it has read, counted and done under its own name is not known to it.", shown, identity)
	case identity != shown && !known:
		d = complaint(hcl.Range{}, "Starts anew", "There was no %s before %s: nothing goes on, and all begins. Look whether its moved block says where it was.", identity, shown)
	default:
		return nil
	}
	d.Severity = hcl.DiagWarning
	return d
}
