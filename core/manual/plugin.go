package manual

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Repository is where the reference of the newest Kelpie is, for pages that stand
// alone.
const Repository = "https://github.com/kelpie-sec/kelpie/blob/main/docs/"

// Plugin is the page of a plugin, in Markdown: all that it says of itself, with an
// example of each of its connectors. What the plugin says stays text: it can neither
// mark up the page nor put a link into it, save its homepage. Docs is where
// reference.md is, ending in "/" or empty.
func Plugin(p model.Plugin, docs string) string {
	var w page
	w.line("# Plugin %s", code(p.Name))
	w.line("\nVersion %s%s. What it offers:\n", code(p.Version), homepage(p.Homepage))
	for _, c := range p.Connectors {
		w.line("- %s: %s", code(title(p, c)), cmp.Or(prose(stop(c.Summary)), "it says nothing of itself."))
	}
	for _, left := range p.LeftOut {
		w.line("- left out: %s", prose(stop(left)))
	}
	w.permissions(p)
	if p.Connection != nil {
		w.line("\n## %s", code(fmt.Sprintf("connection %q", p.Name)))
		w.line("\n%s", cmp.Or(prose(stop(p.Connection.Doc)), "What its connectors share. Each names it: `connection = connection.NAME`."))
		w.schema(*p.Connection, "")
	}
	for _, c := range p.Connectors {
		w.connector(p, c, docs)
	}
	return w.String()
}

// title is how a connector's block begins, without its own name.
func title(p model.Plugin, c model.Connector) string {
	label := model.Label(p.Name, c.Name)
	return fmt.Sprintf("%s %q", c.Kind, label)
}

// plainURL has nothing in it that Markdown knows.
var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9/._~%?=&#+-]*)?$`)

func homepage(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" && plainURL.MatchString(text) {
		return ", from <" + text + ">"
	}
	if text == "" {
		return ""
	}
	return ", from " + code(text)
}

// permissions tells what the plugin says that it needs of the machine.
func (w *page) permissions(p model.Plugin) {
	w.line("\n## What it may touch\n")
	needs := func(what string, all []string, nothing string) {
		if len(all) == 0 {
			w.line("- %s %s.", what, nothing)
			return
		}
		w.line("- %s %s.", what, strings.Join(all, ", "))
	}
	shown := func(all []string) []string {
		out := make([]string, len(all))
		for i, text := range all {
			out[i] = code(text)
		}
		return out
	}
	needs("It reads", shown(p.Read), "no files")
	needs("It writes", shown(p.Write), "no files")
	var network []string
	for _, text := range p.Network {
		switch kind, where, _ := strings.Cut(text, ":"); kind {
		case "tcp":
			network = append(network, "connects to "+code(where)+" by TCP")
		case "listen":
			network = append(network, "listens on "+code(where))
		default:
			network = append(network, "uses "+code(text))
		}
	}
	needs("On the network it", network, "opens nothing")
	if strings.Contains(strings.Join(slices.Concat(p.Read, p.Write, p.Network), ""), "{") {
		w.line("\nA name in braces stands for what that attribute says.")
	}
}

func (w *page) connector(p model.Plugin, c model.Connector, docs string) {
	w.line("\n## %s", code(title(p, c)))
	if c.Summary != "" {
		w.line("\n%s", prose(stop(c.Summary)))
	}
	if c.Schema.Doc != "" && c.Schema.Doc != c.Summary {
		w.line("\n%s", prose(stop(c.Schema.Doc)))
	}
	w.facts(c)
	w.line("\n### Example")
	w.fence("hcl", config.Example(p, c))
	w.line("\n### Attributes")
	if len(c.Schema.Attributes)+len(c.Schema.Blocks) == 0 {
		w.line("\nIt has none of its own.")
	}
	w.schema(c.Schema, "")
	w.own(p, c.Kind, docs)
	for i, v := range c.Verbs {
		w.verb(v, i == 0)
	}
	if c.DefaultMapping != "" {
		w.line("\n### Default mapping\n\nA pipeline without `map` reads this connector's events so:")
		w.fence("hcl", string(config.Format([]byte("map {\n"+strings.TrimSpace(c.DefaultMapping)+"\n}\n"))))
	}
}

// facts are what a connector says of itself besides its schema.
func (w *page) facts(c model.Connector) {
	var all []string
	add := func(format string, args ...any) { all = append(all, "- "+fmt.Sprintf(format, args...)) }
	switch c.Kind {
	case model.Detector:
		if c.Finite {
			add("Its source can end: `kelpie run --once` reads it to there.")
		} else {
			add("Its source has no end: `kelpie run --once` leaves it out.")
		}
	case model.Enrichment:
		add("It can be asked about: %s.", codes(c.Takes))
		if c.BatchLimit > 1 {
			add("Up to %d questions go in one call.", c.BatchLimit)
		}
		if c.DefaultTTL > 0 {
			add("An answer is good for %s, unless `ttl` or the source says otherwise.", span(c.DefaultTTL))
		}
		if c.Local {
			add("It answers from the organisation's own data: to ask it tells nobody anything. With `internal = true` it may name subjects.")
		} else {
			add("To ask it may tell others what is looked at. What `organisation` in the `kelpie` block names is not asked of it, unless its block says `internal = true`.")
		}
	case model.Action:
		if c.Answers {
			add("It hands back what people choose.")
		}
	}
	if len(all) > 0 {
		w.line("\n%s", strings.Join(all, "\n"))
	}
}

// own names the core's own attributes of a kind of block.
func (w *page) own(p model.Plugin, kind model.ConnectorKind, docs string) {
	for _, b := range config.BlockTypes() {
		if b.Name != string(kind) {
			continue
		}
		var names []string
		for _, a := range b.Attributes {
			refused := a.Name == "shadow" && kind == model.Action
			if !a.Later && !refused && (a.Name != "connection" || p.Connection != nil) {
				names = append(names, a.Name)
			}
		}
		for _, inner := range b.Blocks {
			names = append(names, inner.Name)
		}
		w.line("\nBesides, as every `%s`, it takes Kelpie's own: %s. The [reference](%sreference.md#%s) explains them.", b.Name, codes(names), docs, anchor(b))
	}
}

// verb tells of one; shown: the connector's example has it.
func (w *page) verb(v model.Verb, shown bool) {
	w.line("\n### Verb %s", code(v.Name))
	if v.Summary != "" {
		w.line("\n%s", prose(stop(v.Summary)))
	}
	can := func(yes bool, text, otherwise string) string {
		if yes {
			return text
		}
		return otherwise
	}
	targets := "none: it is about the case"
	if len(v.Targets) > 0 {
		targets = codes(v.Targets)
	}
	w.line("\n- Targets: %s.", targets)
	w.line("- %s", can(v.Undo, "It can be undone.", "It can't be undone."))
	w.line("- %s", can(v.Check, "After a crash it can be asked what became of a call.", "After a crash nobody can tell what became of a call: a person is asked."))
	w.line("- %s", can(v.Idempotent, "Sent twice it takes effect once.", "Sent twice it takes effect twice."))
	if v.Settle > 0 {
		w.line("- A call whose answer is lost may take effect up to %s later.", span(v.Settle))
	}
	if len(v.Parameters.Attributes)+len(v.Parameters.Blocks) > 0 {
		w.line("\nParameters:")
		w.schema(v.Parameters, "")
	}
	if shown {
		return
	}
	w.line("\nAs a step of a response:")
	w.fence("hcl", config.ExampleStep(v))
}

// span of seconds as a configuration has it.
func span(seconds int64) string {
	switch {
	case seconds%86400 == 0:
		return plural(seconds/86400, "day")
	case seconds%3600 == 0:
		return plural(seconds/3600, "hour")
	case seconds%60 == 0:
		return plural(seconds/60, "minute")
	}
	return plural(seconds, "second")
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// Index is the page that lists plugins. Their pages are beside it.
func Index(all []model.Plugin) string {
	var w page
	w.line("# Connectors\n\nEach plugin offers connectors: detectors report events, enrichments answer about what is in them, actions do something about a case.")
	w.table("plugin", "kind", "summary")
	for _, p := range all {
		for _, c := range p.Connectors {
			w.row(fmt.Sprintf("[%s](%s.md)", code(title(p, c)), url.PathEscape(p.Name)), string(c.Kind), prose(c.Summary))
		}
	}
	return w.String()
}
