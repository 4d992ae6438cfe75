package config

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// pluginBlock is what an operator says of a plugin itself, and not of an instance.
func pluginBlock() blockType {
	return blockType{name: "plugin", labels: []string{"name"}, many: true, doc: "Where a plugin comes from, and what its processes may do on this machine, besides what the plugin declares for the attributes of its blocks.", body: bodyType{attributes: append(originAttributes(), []attribute{
		boolean("confine", "With false its processes are not confined: they may do whatever Kelpie's account may.").standard("true"),
		paths("read", "Files and folders that they may read, and programs in them that they may run."),
		paths("write", "Files and folders that they may write."),
		texts("network", "TCP ports: \"tcp:8443\" to connect to, \"listen:514\" to listen on, and \"tcp:*\" or \"listen:*\" for all."),
		text("user", "Name or number of the user that they run as, if not Kelpie's. That takes a Kelpie of root's."),
		text("memory", "The most memory of one process, such as \"2GiB\".").standard(`"1GiB"`),
		integer("processes", "How many processes and threads there may be, with all that are started by it.").standard("512"),
		integer("files", "How many files and connections may be open at once in one process.").standard("4096"),
		duration("cpu", "CPU time after which a process is ended and started again. By default there is no end."),
	}...)}}
}

func paths(name, doc string) attribute {
	a := valueOf(name, "list", doc)
	a.Type.Element = &model.Type{Kind: "path"}
	return a
}

// The least that a process can be held to and still work.
const (
	minMemory    = 32 << 20
	minProcesses = 16
	minFiles     = 32
)

// pluginBlocks reads what the operator says of plugins, by their names.
func (p *parser) pluginBlocks() {
	p.confinements = map[string]host.Confinement{}
	p.publishers()
	for _, s := range p.each("plugin") {
		p.confinements[s.name()] = p.confinement(s)
		p.config.Origins = append(p.config.Origins, p.origin(s))
		if !p.takesPart(s.name()) {
			p.warnf(s.header(), "Without effect", "No block uses a plugin %q. %s", s.name(), p.unusedPlugin(s.name()))
		}
	}
}

func (p *parser) unusedPlugin(name string) string {
	if slices.Contains(p.src.Known, name) {
		return "Remove this one, or write a block of one of its connectors."
	}
	return suggest(name, p.src.Known)
}

// takesPart tells whether a connector's block names the plugin.
func (p *parser) takesPart(plugin string) bool {
	for _, body := range p.bodies {
		for _, b := range body.Blocks {
			if isConnector(b.Type) && b.Type != "connection" && len(b.Labels) == 2 && pluginName(b.Labels[0]) == plugin {
				return true
			}
		}
	}
	return false
}

func (p *parser) confinement(s *section) host.Confinement {
	c := host.Confinement{
		Off: !s.flag("confine", true), User: s.text("user", ""),
		Granted: host.Permissions{Read: p.granted(s, "read"), Write: p.granted(s, "write"), Network: s.texts("network")},
		Limits:  host.DefaultLimits(),
	}
	for i, text := range c.Granted.Network {
		if err := host.CheckNetwork(text); err != nil {
			p.errorf(s.item("network", i), "Not a port", "%s. Write it as \"tcp:8443\" or \"listen:514\".", sentence(err.Error()))
		}
	}
	if s.has("memory") {
		if c.Limits.Memory = p.size(s, "memory"); c.Limits.Memory > 0 && c.Limits.Memory < minMemory {
			p.errorf(s.place("memory"), "Out of range", "No plugin works with so little. Write %dMiB or more.", minMemory>>20)
		}
	}
	if s.has("processes") {
		c.Limits.Processes = p.within(s, "processes", minProcesses, 1<<22)
	}
	if s.has("files") {
		c.Limits.Files = p.within(s, "files", minFiles, 1<<20)
	}
	if c.Limits.CPU = s.duration("cpu", 0); s.has("cpu") && c.Limits.CPU.Seconds() < 1 {
		p.errorf(s.place("cpu"), "Out of range", "Write a second or more, or remove \"cpu\".")
	}
	if c.Off {
		for _, name := range []string{"read", "write", "network", "user", "memory", "processes", "files", "cpu"} {
			if s.has(name) {
				p.errorf(s.place(name), "Without effect", "With confine = false nothing is limited. Remove %q, or \"confine\".", name)
			}
		}
	}
	return c
}

// granted are the absolute paths of an attribute.
func (p *parser) granted(s *section, name string) []string {
	a, _ := s.typ.body.attribute(name)
	var out []string
	for item := range p.absolute(s.values[name], a.Type).Items() {
		if path, ok := item.Str(); ok && path != "" {
			out = append(out, path)
		}
	}
	return out
}

// confine says how the processes of a plugin are held.
func (p *parser) confine(plugin *model.Plugin) host.Confinement {
	c, ok := p.confinements[plugin.Name]
	if !ok {
		c.Limits = host.DefaultLimits()
	}
	c.Declared = host.Permissions{Read: plugin.Read, Write: plugin.Write, Network: plugin.Network}
	return c
}
