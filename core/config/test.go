package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Tested says what the tests of a rule show.
type Tested struct {
	Tests int
	// Fires and Quiet: there is a test that wants signals, and one that wants none.
	Fires, Quiet bool
}

// maxGiven bounds the events of one test.
const maxGiven = 10_000

// tests reads the tests of a rule, a pipeline, a response or the score; reports says of
// a pipeline whether it makes signals itself.
func (p *parser) tests(s *section, reports bool) {
	subject := p.subject(s)
	if p.rehearsal != nil {
		p.rehearsal.subjects = append(p.rehearsal.subjects, subject)
	}
	said := Tested{}
	for _, t := range s.of("test") {
		out := p.test(t, s)
		out.Subject = subject
		p.about(&out, s, reports)
		said.Tests++
		if n := out.Want.Signals; n != nil {
			said.Fires, said.Quiet = said.Fires || *n > 0, said.Quiet || *n == 0
		}
		if p.rehearsal != nil && !t.broken {
			p.rehearsal.tests = append(p.rehearsal.tests, out)
		}
	}
	if s.typ.name == "rule" {
		p.tested[s.address()] = said
	}
}

func (p *parser) subject(s *section) rehearsal.Subject {
	out := rehearsal.Subject{Kind: s.typ.name, Address: s.typ.name, Name: s.typ.name, Place: written(s)}
	if len(s.typ.labels) > 0 {
		out.Address, out.Name = p.identity(s), s.address()
	}
	if about := s.one("about"); about != nil {
		out.Techniques = about.texts("technique")
	}
	return out
}

func written(s *section) rehearsal.Place {
	at := s.header()
	return rehearsal.Place{File: at.Filename, Line: at.Start.Line}
}

// test reads one test block of a subject.
func (p *parser) test(t, subject *section) rehearsal.Test {
	out := rehearsal.Test{Name: t.name(), Place: written(t)}
	if t.has("at") {
		at, err := time.Parse(time.RFC3339, t.text("at", ""))
		if err != nil {
			p.testErrorf(t, t.expr("at"), "Not a time", "Write it by RFC 3339, such as \"2026-03-01T09:30:00Z\".")
		}
		out.At = at.UTC()
	}
	for _, g := range t.of("given") {
		p.quoted(g, 0, "detector")
		out.Given = append(out.Given, p.given(t, g)...)
	}
	if len(out.Given) > maxGiven {
		p.testErrorf(t, nil, "Too many events", "A test has at most %d events.", maxGiven)
	}
	for i := range out.Given {
		if out.Given[i].Event.ID == "" {
			out.Given[i].Event.ID = "event-" + strconv.Itoa(i+1)
		}
	}
	for _, a := range t.of("answer") {
		out.Answers = append(out.Answers, p.answer(t, a))
	}
	for _, c := range t.of("choose") {
		if len(c.block.Labels) == 2 {
			out.Choices = append(out.Choices, p.choice(t, c, subject))
		}
	}
	if w := t.one("want"); w != nil {
		out.Want = p.want(t, w, subject)
	}
	return out
}

// testErrorf complains about a part of a test, which is not run then.
func (p *parser) testErrorf(t *section, e hclsyntax.Expression, summary, format string, args ...any) {
	at := t.header()
	if e != nil {
		at = e.Range()
	}
	p.errorf(at, summary, format, args...)
	t.broken = true
}

// want reads what must come of a test.
func (p *parser) want(t, w, subject *section) rehearsal.Want {
	var out rehearsal.Want
	count := func(name string) *int {
		if !w.has(name) || w.broken {
			return nil
		}
		n := w.integer(name, 0)
		if n < 0 {
			p.testErrorf(t, w.expr(name), "Out of range", "Write 0 or more.")
		}
		return &n
	}
	out.Signals, out.Cases = count("signals"), count("cases")
	if w.has("score") {
		out.Score = p.wantScore(t, w.expr("score"))
	}
	if w.has("steps") && !w.broken {
		steps := p.wantSteps(t, w, subject, "steps")
		out.Steps = &steps
	}
	if w.has("asked") && !w.broken {
		asked := p.wantSteps(t, w, subject, "asked")
		out.Asked = &asked
	}
	switch {
	case w.broken:
	case w.flag("quiet", false):
		p.quiets(t, w, subject, &out)
	case len(w.attrs) == 0 || len(w.attrs) == 1 && w.has("quiet"):
		p.testErrorf(t, nil, "Wants nothing", "This test cannot fail. Write what must come of it in \"want\": signals = 1, or quiet = true.")
	}
	return out
}

// quiets is what quiet = true stands for.
func (p *parser) quiets(t, w, subject *section, out *rehearsal.Want) {
	if subject.typ.name == "score" {
		p.testErrorf(t, w.expr("quiet"), "Without effect", "A score is never quiet: write score = \"0..20\".")
		return
	}
	if len(w.attrs) > 1 {
		p.testErrorf(t, w.expr("quiet"), "Said twice", "With quiet = true nothing else is wanted: remove it, or the rest.")
		return
	}
	none := 0
	out.Steps, out.Asked = &[]string{}, &[]string{}
	if subject.typ.name != "response" {
		out.Signals, out.Cases = &none, &none
	}
}

var scoreRange = regexp.MustCompile(`^ *([0-9]{1,3}(?:\.[0-9]{1,2})?) *\.\. *([0-9]{1,3}(?:\.[0-9]{1,2})?) *$`)

// wantScore reads a number of points or a range of them.
func (p *parser) wantScore(t *section, e hclsyntax.Expression) *rehearsal.Range {
	v, ok := p.constant(e)
	if !ok {
		t.broken = true
		return nil
	}
	low, high := v, v
	if text, isText := v.Str(); isText {
		ends := scoreRange.FindStringSubmatch(text)
		if ends == nil {
			p.testErrorf(t, e, "Not a score", "Write a number, such as 80, or a range with both its ends, such as \"60..80\".")
			return nil
		}
		low, high = expr.JSON([]byte(unpadded(ends[1]))), expr.JSON([]byte(unpadded(ends[2])))
	}
	a, isA := low.Fixed(2)
	b, isB := high.Fixed(2)
	if !isA || !isB || a < 0 || b > 10_000 || a > b {
		p.testErrorf(t, e, "Not a score", "A score is 0 to 100: write a number, such as 80, or a range from the lower end, such as \"60..80\".")
		return nil
	}
	return &rehearsal.Range{Low: model.Hundredths(a), High: model.Hundredths(b)}
}

// unpadded is a number without zeros before it, as JSON has it.
func unpadded(number string) string {
	number = strings.TrimLeft(number, "0")
	if number == "" || number[0] == '.' {
		return "0" + number
	}
	return number
}

// wantSteps checks the names of steps, and gives those under which they are known.
func (p *parser) wantSteps(t, w, subject *section, attribute string) []string {
	steps := []string{}
	for n, text := range w.texts(attribute) {
		step := p.wantedStep(t, subject, text, w.item(attribute, n))
		switch {
		case step == nil:
		case attribute == "asked" && !asks(step.section):
			p.testErrorf(t, w.expr(attribute), "Asks nothing", "%s asks people nothing: it has neither \"wait\" nor an approval.", text)
		default:
			steps = append(steps, step.known)
		}
	}
	return steps
}

func asks(step *section) bool { return step.has("wait") || step.one("approval") != nil }

// wantedStep is a step that a test names.
type wantedStep struct {
	section *section
	known   string // the address under which it is known
}

// wantedStep finds a step by its address in a text; nil: there is none.
func (p *parser) wantedStep(t, subject *section, text string, at hcl.Range) *wantedStep {
	wrong := func(summary, format string, args ...any) *wantedStep {
		p.errorf(at, summary, format, args...)
		t.broken = true
		return nil
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[0] != "response" {
		return wrong("Not a step", "Write it as \"response.NAME.STEP\".")
	}
	r := p.named["response."+parts[1]]
	var known []string
	if r == nil {
		for _, name := range p.namesOf("response") {
			known = append(known, "response."+name)
		}
		return wrong("Unknown response", "There is no %q. %s", "response."+parts[1], suggest("response."+parts[1], known))
	}
	var found *section
	for _, step := range r.of("step") {
		known = append(known, r.address()+"."+step.name())
		if step.name() == parts[2] {
			found = step
		}
	}
	switch {
	case found == nil:
		return wrong("Unknown step", "%s has no step %q. %s", r.address(), parts[2], suggest(text, known))
	case subject.typ.name == "response" && r != subject:
		return wrong("Another response", "This test is about the steps of %s alone.", subject.address())
	}
	return &wantedStep{found, p.identity(r) + "." + parts[2]}
}

// choice reads what somebody chooses in a test.
func (p *parser) choice(t, c, subject *section) rehearsal.Choice {
	labels := c.block.Labels
	out := rehearsal.Choice{Name: labels[0], Option: labels[1], Reason: c.text("because", ""), By: c.text("by", "")}
	step := p.wantedStep(t, subject, labels[0], c.block.LabelRanges[0])
	if step == nil {
		return out
	}
	out.Step = step.known
	known := []string{model.OptionApprove, model.OptionRefuse}
	if step.section.has("wait") {
		known = nil
		for _, o := range step.section.of("option") {
			known = append(known, o.name())
		}
	}
	switch {
	case !asks(step.section):
		p.errorf(c.block.LabelRanges[0], "Asks nothing", "%s asks people nothing: it has neither \"wait\" nor an approval.", labels[0])
		t.broken = true
	case !slices.Contains(known, labels[1]):
		p.errorf(c.block.LabelRanges[1], "Unknown option", "%s has no option %q. %s", labels[0], labels[1], suggest(labels[1], known))
		t.broken = true
	}
	return out
}

// about says which pipelines and rules a test hears, and which count for it.
func (p *parser) about(out *rehearsal.Test, s *section, reports bool) {
	waits := p.each("rule")
	switch s.typ.name {
	case "rule":
		waits = p.feeds(s)
		out.Counted, out.Heard = []string{p.identity(s)}, p.identitiesOf(waits)
	case "pipeline":
		waits = []*section{s}
		out.Counted = []string{p.identity(s)}
		if !reports {
			out.Counted = nil
			for _, r := range p.each("rule") {
				if slices.Contains(p.reads(r), s) {
					out.Counted = append(out.Counted, p.identity(r))
					waits = append(waits, p.feeds(r)...)
				}
			}
			if out.Counted == nil {
				out.Counted = []string{p.identity(s)}
			}
		}
		out.Heard = p.identitiesOf(waits)
	case "response":
		out.Responses = []string{p.identity(s)}
	}
	out.Settle = p.config.Decide.Correlate.Lateness + time.Minute
	var longest time.Duration
	for _, r := range waits {
		for _, a := range r.typ.body.attributes {
			if a.Type.Kind == "duration" {
				longest = max(longest, r.duration(a.Name, 0))
			}
		}
	}
	out.Settle += longest
}

// feeds are a rule, all that it reads, and what that reads.
func (p *parser) feeds(rule *section) []*section {
	all := []*section{rule}
	for n := 0; n < len(all); n++ {
		for _, s := range p.reads(all[n]) {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

// reads are the pipelines and rules that a rule names.
func (p *parser) reads(rule *section) []*section {
	var all []*section
	for _, a := range rule.typ.body.attributes {
		if a.want != wantReferences || a.Name == "respond" || rule.typ.name != "rule" {
			continue
		}
		for _, item := range items(rule.expr(a.Name)) {
			if s := p.named[fieldPath(item)]; s != nil && (s.typ.name == "rule" || s.typ.name == "pipeline") {
				all = append(all, s)
			}
		}
	}
	return all
}

func (p *parser) identitiesOf(sections []*section) []string {
	var all []string
	for _, s := range sections {
		all = append(all, p.identity(s))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// answer reads what an enrichment says about a value.
func (p *parser) answer(t, a *section) rehearsal.Answer {
	var out rehearsal.Answer
	p.quoted(a, 0, "enrichment")
	if len(a.block.Labels) != 3 {
		t.broken = true
		return out
	}
	kind, value := a.labels[1], a.labels[2]
	o, err := sdk.Canonical(kind, value)
	switch {
	case !slices.Contains(sdk.Kinds(), kind):
		p.errorf(a.block.LabelRanges[1], "Unknown kind", "There is no kind of observable %q. %s", kind, suggest(kind, sdk.Kinds()))
		t.broken = true
	case err != nil:
		p.errorf(a.block.LabelRanges[2], "Not a value", "%s.", sentence(err.Error()))
		t.broken = true
	}
	out.Key, out.Name = o.Key(), a.labels[0]+" about "+o.Key()
	if s := p.named[a.labels[0]]; s != nil {
		out.Enrichment = p.identity(s)
	}
	out.Reply = p.replied(t, a)
	return out
}
