package proposal

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// Rule is what a rule is drafted from.
type Rule struct {
	Name, Case string
	On         string // the pipeline
	Detector   string // whose events they are, by its address
	Severity   int
	Events     []Given
	// Telling are paths that say what an event is; Further those that are taken if that is
	// not enough.
	Telling, Further [][]string
}

// Given is one event of a rule's test.
type Given struct {
	Event
	Time  time.Time // zero: only that of its receipt is known
	Title string
	// Reported: the connector read the title and more itself, and not the pipeline.
	Reported bool
	Severity int
	// Subjects and Indicators are values by their kinds.
	Subjects, Indicators map[string][]string
}

// maxGiven bounds the events of the test.
const maxGiven = 5

// Text is the rule with its test.
func (r *Rule) Text() (string, error) {
	kept := r.Events[:min(len(r.Events), maxGiven)]
	g := Ignore{Telling: r.Telling, Further: r.Further}
	for _, e := range kept {
		g.Events = append(g.Events, e.Event)
	}
	when, err := g.condition()
	if err != nil {
		return "", err
	}
	w := &writer{keep: g.fields(), hidden: map[string]bool{}}
	for i := range kept {
		w.event(&kept[i])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Drafted from case %s. It is experimental: it joins no case and reaches nobody\n# until \"kelpie rule promote\" says that nothing is missing.\n", r.Case)
	fmt.Fprintf(&b, "# Make its condition say what was wrong, and add a test of what must stay quiet.\n")
	if n := len(r.Events) - len(kept); n > 0 {
		fmt.Fprintf(&b, "# The case has %d events more of this kind.\n", n)
	}
	if len(w.hidden) > 0 {
		fmt.Fprintf(&b, "# Taken out of the test's events, since their names are those of secrets: %s.\n", commented(strings.Join(slices.Sorted(maps.Keys(w.hidden)), ", ")))
	}
	fmt.Fprintf(&b, "# All else in them is as it was reported: names, addresses, whatever a field holds.\n")
	fmt.Fprintf(&b, "rule %s {\n  state    = \"experimental\"\n  on       = [%s]\n  when     = %s\n  severity = %d\n\n", Quote(r.Name), r.On, when, r.Severity)
	fmt.Fprintf(&b, "  test %s {\n    given %s {\n      events = [\n%s      ]\n    }\n", Quote("fires on the events of "+r.Case), Quote(r.Detector), w.b.String())
	fmt.Fprintf(&b, "    want {\n      signals = %d\n    }\n  }\n}\n", len(kept))
	return b.String(), nil
}

// commented is a text that stays in its line.
func commented(text string) string {
	quoted := Quote(text)
	return quoted[1 : len(quoted)-1]
}

// writer writes events as values of the configuration.
type writer struct {
	b      strings.Builder
	keep   [][]string // paths whose values stay, whatever their names
	hidden map[string]bool
}

func (w *writer) event(e *Given) {
	w.b.WriteString("        {\n")
	if !e.Time.IsZero() {
		fmt.Fprintf(&w.b, "          time = %s\n", Quote(e.Time.UTC().Format(time.RFC3339Nano)))
	}
	if e.Reported {
		fmt.Fprintf(&w.b, "          title = %s\n          severity = %d\n", Quote(e.Title), e.Severity)
		for _, of := range []struct {
			name string
			all  map[string][]string
		}{{"subjects", e.Subjects}, {"indicators", e.Indicators}} {
			if len(of.all) == 0 {
				continue
			}
			fmt.Fprintf(&w.b, "          %s = {\n", of.name)
			for _, kind := range slices.Sorted(maps.Keys(of.all)) {
				fmt.Fprintf(&w.b, "            %s = [%s]\n", kind, strings.Join(quotedAll(of.all[kind]), ", "))
			}
			w.b.WriteString("          }\n")
		}
	}
	w.b.WriteString("          raw = ")
	w.value(expr.JSON(e.Raw), []string{"event", "raw"}, "          ")
	w.b.WriteString("\n        },\n")
}

func quotedAll(all []string) []string {
	var out []string
	for _, text := range all {
		out = append(out, Quote(text))
	}
	return out
}

// secretName are names of fields that hold what is nobody's to read.
var secretName = regexp.MustCompile(`(?i)passw|pwd|secret|token|api_?key|authorization|cookie|credential|private_?key|session_?id`)

func (w *writer) value(v expr.Value, path []string, indent string) {
	switch v.Kind() {
	case expr.ObjectKind:
		w.b.WriteString("{\n")
		for name, field := range v.Fields() {
			at := append(slices.Clip(path), name)
			fmt.Fprintf(&w.b, "%s  %s = ", indent, key(name))
			if secretName.MatchString(name) && !field.IsNull() && !slices.ContainsFunc(w.keep, func(k []string) bool { return slices.Equal(k, at) }) {
				w.hidden[strings.Join(at[2:], ".")] = true
				w.b.WriteString("\"removed\"\n")
				continue
			}
			w.value(field, at, indent+"  ")
			w.b.WriteByte('\n')
		}
		w.b.WriteString(indent + "}")
	case expr.ListKind:
		w.b.WriteByte('[')
		first := true
		for item := range v.Items() {
			if !first {
				w.b.WriteString(", ")
			}
			first = false
			w.value(item, append(slices.Clip(path), "[]"), indent+"  ")
		}
		w.b.WriteByte(']')
	case expr.StringKind:
		text, _ := v.Str()
		w.b.WriteString(Quote(text))
	case expr.NumberKind, expr.BoolKind:
		text, err := v.MarshalJSON()
		if err != nil {
			text = []byte("null")
		}
		w.b.Write(text)
	default:
		w.b.WriteString("null")
	}
}

// key is a name in an object.
func key(name string) string {
	if plainName.MatchString(name) && name != "for" && name != "null" && name != "true" && name != "false" {
		return name
	}
	return Quote(name)
}
