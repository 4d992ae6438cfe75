package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/kelpie-sec/kelpie/core/plan"
)

// States of rules, and of pipelines that report signals.
const (
	// Production is a rule whose signals make cases and reach people.
	Production = "production"
	// Experimental is one whose signals are kept and counted, and reach nobody.
	Experimental = "experimental"
)

// Rule is a rule, or a pipeline that reports signals itself, as its author keeps it.
type Rule struct {
	Address string `json:"rule"` // of now, "rule.beacon"
	// Identity is the address by which everything durable knows it.
	Identity string `json:"-"`
	// State is empty for a pipeline that claims none: its signals reach people, and what
	// it is missing is warned about.
	State    string     `json:"state,omitempty"`
	Reads    []string   `json:"reads"` // addresses
	Author   string     `json:"author,omitempty"`
	Tests    []RuleTest `json:"tests"`
	Forecast *Forecast  `json:"forecast,omitempty"`
	// Needs are all that production asks for, in the order to write it.
	Needs []Need `json:"needs"`

	section *section
}

// RuleTest is one test of a rule, as far as it says what must come of it.
type RuleTest struct {
	Name  string `json:"name"`
	Fires bool   `json:"fires"`
	Quiet bool   `json:"quiet"`
}

// Forecast is what a rule's author expects of it. What is not written is nil.
type Forecast struct {
	PerWeek   *float64 `json:"per_week,omitempty"`
	Precision *float64 `json:"precision,omitempty"`
	Loss      *float64 `json:"loss,omitempty"`
	P         *float64 `json:"p,omitempty"`
}

// Need is one thing that production asks of a rule.
type Need struct {
	What  string `json:"what"` // "about.goal"
	Met   bool   `json:"met"`
	Write string `json:"write,omitempty"` // in HCL or in words, if it is not met
}

// Missing are the needs that are not met.
func (r *Rule) Missing() []Need {
	return slices.DeleteFunc(slices.Clone(r.Needs), func(n Need) bool { return n.Met })
}

// Name of the rule, which pipelines and rules share.
func (r *Rule) Name() string { return r.section.name() }

// Production tells that its signals reach people.
func (r *Rule) Production() bool { return r.State != Experimental }

// reporter is a block that reports signals, with the responses that these ask for.
type reporter struct {
	section   *section
	responses []*section
}

func experimental(s *section) bool { return s.text("state", "") == Experimental }

// about are the attributes of an about block that production needs: all of ADS but the
// priority, which the severity says, and the references, which there may be none of.
func about() []string {
	return []string{"goal", "plainly", "technique", "strategy", "blind_spots", "false_positives", "validation", "author"}
}

// rigour checks what only people read of a rule or pipeline, and its tests.
func (p *parser) rigour(s *section) {
	f := s.one("forecast")
	if f == nil {
		return
	}
	for _, name := range []string{"per_week", "precision", "loss", "p"} {
		n, ok := f.values[name].Float()
		share := name == "precision" || name == "p"
		switch {
		case !ok:
		case share && (n < 0 || n > 1):
			p.errorf(f.place(name), "Out of range", "%q is 0 to 1.", name)
		case n < 0:
			p.errorf(f.place(name), "Out of range", "%q is not below 0.", name)
		}
	}
}

// rules are all that report signals.
func (p *parser) rules() []Rule {
	var all []Rule
	for _, from := range p.reporters {
		s := from.section
		r := Rule{
			Address: s.address(), Identity: p.identity(s), State: s.text("state", ""), Reads: reads(s),
			Tests: []RuleTest{}, section: s,
		}
		if r.State == "" && s.typ.name == "rule" {
			r.State = Production
		}
		if a := s.one("about"); a != nil {
			r.Author = strings.TrimSpace(a.text("author", ""))
			if plainly := strings.TrimSpace(a.text("plainly", "")); plainly != "" {
				if p.config.Decide.Plainly == nil {
					p.config.Decide.Plainly = map[string]string{}
				}
				p.config.Decide.Plainly[r.Identity] = plainly
			}
		}
		for _, t := range s.of("test") {
			r.Tests = append(r.Tests, testOf(t))
		}
		if f := s.one("forecast"); f != nil {
			r.Forecast = &Forecast{f.float("per_week"), f.float("precision"), f.float("loss"), f.float("p")}
		}
		r.Needs = p.needs(&r, from.responses)
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b Rule) int {
		x, y := a.section.header(), b.section.header()
		return cmp.Or(cmp.Compare(x.Filename, y.Filename), cmp.Compare(x.Start.Byte, y.Start.Byte))
	})
	return all
}

func (s *section) float(name string) *float64 {
	if n, ok := s.values[name].Float(); ok {
		return &n
	}
	return nil
}

// reads are the addresses of what a rule or pipeline reads.
func reads(s *section) []string {
	all := []string{}
	for _, name := range []string{"from", "on", "sequence", "all", "absent", "unless"} {
		for _, item := range items(s.expr(name)) {
			if path := fieldPath(item); path != "" && !slices.Contains(all, path) {
				all = append(all, path)
			}
		}
	}
	return all
}

// testOf says whether a test is of something that is to fire, or to stay quiet.
func testOf(t *section) RuleTest {
	out := RuleTest{Name: t.name()}
	w := t.one("want")
	if w == nil {
		return out
	}
	most := max(w.integer("signals", 0), w.integer("cases", 0), len(w.texts("steps")))
	out.Fires = most > 0
	out.Quiet = !out.Fires && (w.has("signals") || w.has("cases") || w.flag("quiet", false))
	return out
}

// needs are what production asks of a rule.
func (p *parser) needs(r *Rule, responses []*section) []Need {
	var all []Need
	need := func(what string, met bool, format string, args ...any) {
		n := Need{What: what, Met: met}
		if !met {
			n.Write = fmt.Sprintf(format, args...)
		}
		all = append(all, n)
	}
	need("respond", len(responses) > 0, "respond = [response.NAME]")
	p.needsAbout(r, need)
	given := p.detectorOf(r.section)
	need("a test that fires", slices.ContainsFunc(r.Tests, func(t RuleTest) bool { return t.Fires }),
		"a test block with given %q, and signals = 1 in want", given)
	need("a test that is quiet", slices.ContainsFunc(r.Tests, func(t RuleTest) bool { return t.Quiet }),
		"a test block with given %q, and signals = 0 in want", given)
	for _, response := range responses {
		step := p.askedFirst(response)
		need("automation first, or because, in "+response.address(), step == "",
			"because = \"…\" in step %q, which says why a person comes first; or before it a step that a machine takes", step)
	}
	for _, address := range r.Reads {
		if source := p.named[address]; source != nil && source.typ.name != "detector" {
			need(address+" in production", !experimental(source), "nothing experimental feeds production: \"kelpie rule promote %s\" first", source.name())
		}
	}
	return all
}

// techniqueForm is the id of a technique or sub-technique.
var techniqueForm = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

func (p *parser) needsAbout(r *Rule, need func(what string, met bool, format string, args ...any)) {
	block := r.section.one("about")
	typ := aboutBlock()
	for _, name := range about() {
		a, _ := typ.body.attribute(name)
		met, example := false, `"…"`
		if name == "technique" {
			example = `["T1110.001"]`
		}
		switch {
		case block == nil:
		case name == "technique":
			ids := block.texts(name)
			met = len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return !techniqueForm.MatchString(id) })
		default:
			met = strings.TrimSpace(block.text(name, "")) != ""
		}
		need("about."+name, met, "%s = %s in about. %s.", name, example, strings.TrimSuffix(a.Doc, "."))
	}
}

// detectorOf is a detector whose events a rule or pipeline reads.
func (p *parser) detectorOf(s *section) string {
	for range len(p.sections) { // rules over rules make no cycle, and this ends in any case
		next := reads(s)
		if len(next) == 0 {
			break
		}
		if s.typ.name == "pipeline" {
			return next[0]
		}
		if s = p.named[next[0]]; s == nil {
			break
		}
	}
	return "detector.NAME"
}

// askedFirst is the first step of a response if it is a person's and does not say why;
// empty: it is automation, or says so.
func (p *parser) askedFirst(response *section) string {
	for _, r := range p.config.Decide.Plan.Responses {
		if r.Address != p.identity(response) || len(r.Steps) == 0 {
			continue
		}
		first := r.Steps[0]
		person := first.Verb == "notify" || first.Verb == "ticket" || slices.Contains(first.TargetKinds, plan.AddressKind)
		if person && first.Because == nil {
			return first.Name
		}
	}
	return ""
}

// unproven complains about what is in production and should not be.
func (p *parser) unproven(rules []Rule) Diagnostics {
	var diags Diagnostics
	var silent []Rule
	for _, r := range rules {
		missing := r.Missing()
		switch {
		case len(missing) == 0 || r.State == Experimental:
		case r.State == "":
			silent = append(silent, r)
		case len(diags) < maxComplaints:
			diags = append(diags, unfit(&r, missing))
		}
	}
	if len(silent) > 0 {
		diags = append(diags, claimless(silent))
	}
	return sorted(diags)
}

func unfit(r *Rule, missing []Need) *hcl.Diagnostic {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is in production, and people rely on that. It is missing:\n", sentence(r.section.title()))
	var words []string
	for _, n := range missing {
		if name, ok := strings.CutPrefix(n.What, "about."); ok {
			words = append(words, name)
		}
	}
	if len(words) > 0 {
		b.WriteString("- about { … } with " + strings.Join(words, ", ") + "\n")
	}
	for _, n := range missing {
		if !strings.HasPrefix(n.What, "about.") {
			b.WriteString("- " + n.What + ": " + n.Write + "\n")
		}
	}
	fmt.Fprintf(&b, "Write it, or state = \"experimental\": then it reaches nobody. \"kelpie rule promote %s\" goes through all of it.", r.Name())
	return complaint(r.section.header(), "Not fit for production", "%s", b.String())
}

// claimless warns of pipelines that report signals, and say neither why nor in which
// state they are: once for all, since what comes of it is the same.
func claimless(rules []Rule) *hcl.Diagnostic {
	var names []string
	for _, r := range rules[:min(len(rules), 10)] {
		names = append(names, r.Address)
	}
	if more := len(rules) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	d := complaint(rules[0].section.header(), "Reports without rigour",
		"These pipelines report signals to people, and lack what a rule in production has, such as tests: %s. \"kelpie rule promote %s\" says what is missing. Then write state = \"production\", or until then \"experimental\".",
		strings.Join(names, ", "), rules[0].Name())
	d.Severity = hcl.DiagWarning
	return d
}
