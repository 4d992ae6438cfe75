package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// exampleName is what blocks are called in examples.
const exampleName = "example"

// Example is a configuration that shows a connector: its block, with the connection if
// the plugin has one, and a use of it. It holds what the schema requires, by the
// plugin's own examples as far as they are of the attribute's type, and names what
// may be added in comments. What it says is checked by Parse without a complaint,
// save that an action's response waits for a pipeline.
func Example(p model.Plugin, c model.Connector) string {
	var w exampleWriter
	label := model.Label(p.Name, c.Name)
	if p.Connection != nil {
		w.open("connection %q %q", p.Name, exampleName)
		w.body(p.Name, *p.Connection, nil)
		w.close()
	}
	w.open("%s %q %q", c.Kind, label, exampleName)
	var own []setting
	if p.Connection != nil {
		own = append(own, setting{"connection", "connection." + exampleName})
	}
	if c.Kind == model.Enrichment && c.Local {
		own = append(own, setting{"internal", "true"})
	}
	w.body(p.Name, c.Schema, own)
	w.close()
	switch {
	case c.Kind == model.Detector:
		w.open("pipeline %q", exampleName)
		w.settings([]setting{{"from", "[detector." + exampleName + "]"}})
		w.close()
		w.open("rule %q", "everything")
		w.settings([]setting{{"state", `"experimental" # reaches nobody`}, {"on", "[pipeline." + exampleName + "]"}, {"when", "true"}})
		w.close()
	case c.Kind == model.Action && len(c.Verbs) > 0:
		w.open("response %q", exampleName)
		w.settings([]setting{{"when", "case.score.total >= 80"}})
		w.step(c.Verbs[0])
		w.close()
	}
	return w.String()
}

// ExampleStep is a step that shows a verb of the action that Example has.
func ExampleStep(v model.Verb) string {
	var w exampleWriter
	w.step(v)
	return w.String()
}

// setting is an attribute as it is written.
type setting struct{ name, value string }

// exampleWriter writes HCL, indented.
type exampleWriter struct {
	bytes.Buffer
	depth int
}

func (w *exampleWriter) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != "" {
		text = strings.Repeat("  ", w.depth) + text
	}
	w.WriteString(text + "\n")
}

// open begins a block, apart from what stands before it.
func (w *exampleWriter) open(format string, args ...any) {
	w.apart()
	w.line(format+" {", args...)
	w.depth++
}

func (w *exampleWriter) close() {
	w.depth--
	w.line("}")
}

// settings writes attributes below one another.
func (w *exampleWriter) settings(all []setting) {
	widest := 0
	for _, s := range all {
		widest = max(widest, len(s.name))
	}
	for _, s := range all {
		w.line("%-*s = %s", widest, s.name, s.value)
	}
}

// body writes what a block of a schema holds; own comes first.
func (w *exampleWriter) body(plugin string, s model.Schema, own []setting) {
	must, may := split(plugin, s.Attributes)
	w.settings(append(own, must...))
	var optional []model.Block
	for _, b := range s.Blocks {
		if !b.Required {
			optional = append(optional, b)
			continue
		}
		w.openBlock(b)
		w.body(plugin, b.Schema, nil)
		w.close()
	}
	w.mayAdd(plugin, may, optional)
}

// split tells what an example must have from what it may have.
func split(plugin string, all []model.Attribute) (must, may []setting) {
	for _, a := range all {
		switch value, given := exampleOf(plugin, a); {
		case a.Name == noticeParameter && plugin == "": // a step's, and the core's to fill
		case a.Required:
			must = append(must, setting{a.Name, value})
		case given && a.Deprecated == "":
			may = append(may, setting{a.Name, value})
		}
	}
	return must, may
}

func (w *exampleWriter) openBlock(b model.Block) {
	if b.Nesting == "map" {
		w.open("%s %q", b.Name, exampleName)
	} else {
		w.open("%s", b.Name)
	}
}

// apart leaves a line free, but for the first of a text or a block.
func (w *exampleWriter) apart() {
	if w.Len() > 0 && !bytes.HasSuffix(w.Bytes(), []byte("{\n")) {
		w.line("")
	}
}

// mayAdd writes attributes and blocks in comments.
func (w *exampleWriter) mayAdd(plugin string, may []setting, blocks []model.Block) {
	if len(may)+len(blocks) == 0 {
		return
	}
	w.apart()
	w.line("%s", mayAddLine)
	var inner exampleWriter
	inner.settings(may)
	for _, b := range blocks {
		inner.whole(plugin, b)
	}
	for text := range strings.Lines(inner.String()) {
		w.line("%s", strings.TrimSpace("# "+text))
	}
}

const mayAddLine = "# What may be added:"

// whole writes a block with everything that has an example.
func (w *exampleWriter) whole(plugin string, b model.Block) {
	w.openBlock(b)
	must, may := split(plugin, b.Schema.Attributes)
	w.settings(append(must, may...))
	for _, inner := range b.Schema.Blocks {
		w.whole(plugin, inner)
	}
	w.close()
}

// step writes a step of a response that does v.
func (w *exampleWriter) step(v model.Verb) {
	name := v.Name[strings.LastIndex(v.Name, ".")+1:]
	w.open("step %q", name)
	all := []setting{{"do", "action." + exampleName + "." + v.Name}}
	switch {
	case slices.Contains(v.Targets, plan.AddressKind):
		all = append(all, setting{"to", `["soc@example.org"]`})
	case len(v.Targets) > 0:
		all = append(all, setting{"targets", exampleTargets(&v)})
	}
	if v.Undo && contains(v.Name) {
		all = append(all, setting{"undo_after", `"4h"`})
	}
	w.settings(all)
	if must, may := split("", v.Parameters.Attributes); len(must)+len(may) > 0 {
		w.open("parameters")
		w.settings(must)
		w.mayAdd("", may, nil)
		w.close()
	}
	w.close()
}

// exampleTargets are targets of a case that a verb takes.
func exampleTargets(v *model.Verb) string {
	switch v.Targets[0] {
	case sdk.Host:
		return "case.hosts"
	case sdk.User, sdk.Account:
		return "case.users"
	}
	return "case.indicators"
}
