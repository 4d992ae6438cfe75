// Package report writes what is known of a case for the review after it: what happened,
// to whom, what people were asked, what was done, and what fell short. It is made of what
// is stored, and reads nothing itself.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Report is a document in plain texts, whose writers escape what they show: most of it
// was an attacker's to choose.
type Report struct {
	Title    string
	Lead     []string // paragraphs
	Facts    []Fact
	Sections []Section
}

// Fact is a name with what it says.
type Fact struct{ Name, Text string }

// Section is a heading with its entries. Without any it says Empty.
type Section struct {
	Heading string
	Entries []Entry
	Empty   string
}

// Entry is one line. When and Mark, the points of the score, stand before the text, Details
// below it.
type Entry struct {
	When, Mark, Text string
	Details          []string
}

// mostSignals bounds the timeline: the first and the last half of it.
const mostSignals = 200

// Of makes the report of a case.
func Of(e *api.Explanation) Report {
	c := &e.Case
	r := Report{Title: c.Title, Lead: summary(e), Facts: facts(e)}
	r.Sections = []Section{
		{"Timeline", timeline(e), "No signal is stored."},
		{"Who and what", affected(e), "Nobody was named."},
		{"Score", score(c), "Nothing counted."},
		{"Evidence", evidence(e), "Nothing was looked up."},
		{"What was asked", asked(e), "Nobody was asked."},
		{"What was done", done(e), "Nothing was done."},
		{"What fell short", short(e), "Nothing that is known."},
	}
	return r
}

func summary(e *api.Explanation) []string {
	c := &e.Case
	text := fmt.Sprintf("%s, from %s to %s UTC, of severity %d; scored %s.", count(len(e.Signals), "signal"), stamp(c.FirstAt), stamp(c.LastAt), c.Severity, c.Score.Total)
	switch {
	case c.Stopped == nil:
		text += " Whether a control stopped it is not known."
	case *c.Stopped:
		text += " The control that saw it stopped it."
	default:
		text += " No control stopped it."
	}
	all := []string{text}
	if f := c.Finding; f != nil {
		all = append(all, fmt.Sprintf("It was found to be %s, by %s at %s UTC.", strings.ReplaceAll(string(f.Kind), "_", " "), f.By, stamp(f.At)))
	} else {
		all = append(all, "Nobody has said yet what it turned out to be.")
	}
	return all
}

func facts(e *api.Explanation) []Fact {
	c := &e.Case
	all := []Fact{{"case", c.ID}, {"state", string(c.State)}, {"reported by", strings.Join(c.Rules, ", ")}}
	add := func(name, text string) {
		if text != "" {
			all = append(all, Fact{name, text})
		}
	}
	add("techniques", strings.Join(c.Techniques, ", "))
	add("opened", stamp(c.OpenedAt)+" UTC")
	add("one because", strings.Join(c.Joined, "; "))
	if f := c.Finding; f != nil {
		add("outcome", string(f.Kind))
		add("notes", f.Notes)
		if f.Minutes > 0 {
			add("people's time", count(f.Minutes, "minute"))
		}
		if f.Loss > 0 {
			add("loss", fmt.Sprintf("%d dollars", f.Loss))
		}
	}
	add("written", stamp(e.At)+" UTC")
	return all
}

func timeline(e *api.Explanation) []Entry {
	var all []Entry
	n := len(e.Signals)
	for i := range e.Signals {
		if n > mostSignals && i >= mostSignals/2 && i < n-mostSignals/2 {
			if i == mostSignals/2 {
				all = append(all, Entry{Text: fmt.Sprintf("and %d more", n-mostSignals)})
			}
			continue
		}
		g := &e.Signals[i]
		entry := Entry{When: stamp(g.Time), Text: g.Title, Details: []string{fmt.Sprintf("%s, severity %d", g.Rule, g.Severity)}}
		if g.Receipt {
			entry.Details = append(entry.Details, "the time is that of its receipt")
		}
		if g.Size > 1 {
			entry.Details = append(entry.Details, fmt.Sprintf("%d events and signals, until %s UTC", g.Size, stamp(g.Last)))
		}
		all = append(all, entry)
	}
	return all
}

func affected(e *api.Explanation) []Entry {
	c := &e.Case
	reported := min(c.Reported, len(c.Subjects))
	var all []Entry
	for _, of := range []struct {
		name string
		list []sdk.Observable
	}{{"affected", c.Subjects[:reported]}, {"also named", c.Subjects[reported:]}, {"indicators", c.Indicators}} {
		if len(of.list) == 0 {
			continue
		}
		entry := Entry{Text: of.name}
		for _, o := range of.list {
			entry.Details = append(entry.Details, o.Kind+" "+o.Value)
		}
		all = append(all, entry)
	}
	return all
}

func score(c *model.Case) []Entry {
	var all []Entry
	for _, f := range c.Score.Factors {
		entry := Entry{Mark: f.Share.String(), Text: fmt.Sprintf("%s: %s of %s is %s, times %s", f.Name, f.Combine, count(len(f.Lines), "reason"), f.Sum, f.Weight)}
		if len(f.Lines) == 0 {
			entry.Text = f.Name + ": nothing"
		}
		for _, l := range f.Lines {
			entry.Details = append(entry.Details, fmt.Sprintf("%s (%s)", l.Because, l.Counted))
		}
		all = append(all, entry)
	}
	if len(all) > 0 {
		all = append(all, Entry{Mark: c.Score.Total.String(), Text: "total"})
	}
	return all
}

func evidence(e *api.Explanation) []Entry {
	var all []Entry
	for _, l := range e.Lookups {
		entry := Entry{Text: fmt.Sprintf("%s about %s", l.Ask.Enrichment, l.Ask.Observable.Value), When: stamp(l.Ask.AskedAt), Mark: string(model.Pending)}
		if l.Reply != nil {
			entry.When, entry.Mark = stamp(l.Reply.AnsweredAt), string(l.Reply.State)
			for i := range l.Reply.Answers {
				if text := answer(&l.Reply.Answers[i]); text != "" {
					entry.Details = append(entry.Details, text)
				}
			}
			if l.Reply.Reason != "" {
				entry.Details = append(entry.Details, l.Reply.Reason)
			}
		}
		all = append(all, entry)
	}
	return all
}

func answer(a *model.Answer) string {
	var parts []string
	add := func(name, text string) {
		if text != "" {
			parts = append(parts, strings.TrimSpace(name+" "+text))
		}
	}
	switch {
	case a.Verdict != nil:
		add("", fmt.Sprintf("%s, score %d, confidence %d", a.Verdict.Disposition, a.Verdict.Score, a.Verdict.Confidence))
		add("labels", strings.Join(a.Verdict.Labels, " "))
	case a.Asset != nil:
		add("asset", a.Asset.Name)
		add("owner", a.Asset.Owner)
		add("team", a.Asset.Team)
		if a.Asset.Criticality != nil {
			add("criticality", fmt.Sprint(*a.Asset.Criticality))
		}
	case a.Identity != nil:
		add("identity", a.Identity.Name)
		add("mail", a.Identity.Mail)
		add("department", a.Identity.Department)
	case a.Network != nil:
		add("network", a.Network.Organisation)
		add("country", a.Network.Country)
	}
	return strings.Join(parts, ", ")
}

func asked(e *api.Explanation) []Entry {
	var all []Entry
	for i := range e.Questions {
		q := &e.Questions[i]
		what := strings.TrimPrefix(q.Response, "response.") + "." + q.Step
		if q.Kind == model.QuestionApproval {
			what = "whether " + q.Verb + " is approved (" + what + ")"
		}
		entry := Entry{When: stamp(q.OpenedAt), Mark: string(q.State), Text: what}
		for _, a := range q.Asked {
			entry.Details = append(entry.Details, askedText(q, a))
		}
		for _, ch := range q.Choices {
			text := fmt.Sprintf("%s chose %s by %s at %s UTC", ch.By, ch.Option, ch.Road, stamp(ch.At))
			if ch.Reason != "" {
				text += ": " + ch.Reason
			}
			if !ch.Counts {
				text += "; it did not count: " + ch.Why
			}
			entry.Details = append(entry.Details, text)
		}
		if q.Why != "" {
			entry.Details = append(entry.Details, q.Why)
		}
		all = append(all, entry)
	}
	return all
}

func askedText(q *model.Question, a model.Asked) string {
	text := "asked " + a.Address
	if a.Person != "" {
		text += " (" + a.Person + ")"
	}
	if a.Level < len(q.Levels) && q.Levels[a.Level].Why != "" {
		text += ", " + q.Levels[a.Level].Why
	}
	switch {
	case a.Intent == "":
		text += ": might not be asked"
	case a.Failed:
		text += ": it did not come"
	case a.Accepted.IsZero():
		text += ": not delivered yet"
	default:
		text += ": delivered at " + stamp(a.Accepted) + " UTC"
	}
	if a.Subject {
		text += "; a subject of the case, or read by one"
	}
	return text
}

func done(e *api.Explanation) []Entry {
	intents := slices.Clone(e.Intents)
	slices.SortStableFunc(intents, func(a, b model.Intent) int {
		return cmp.Or(a.PlannedAt.Compare(b.PlannedAt), cmp.Compare(a.ID, b.ID))
	})
	var all []Entry
	for i := range intents {
		in := &intents[i]
		text := fmt.Sprintf("%s %s by %s", in.Verb, in.Target.Value, in.Action)
		if in.DryRun {
			text += " (dry run: nothing left)"
		}
		entry := Entry{When: stamp(in.PlannedAt), Mark: string(in.State), Text: text}
		add := func(name, text string) {
			if text != "" {
				entry.Details = append(entry.Details, strings.TrimSpace(name+" "+text))
			}
		}
		if !in.FinishedAt.IsZero() {
			add("ended at", stamp(in.FinishedAt)+" UTC")
		}
		add("", in.Because)
		add("chosen by", in.ChosenBy)
		add("undoes", in.Undoes)
		add("its end was told by", in.By)
		if in.Hold != "" && in.UndoAfter > 0 {
			add("to be undone after", in.UndoAfter.String())
		}
		add("", in.Message)
		add("reference", in.Reference)
		all = append(all, entry)
	}
	return all
}

// short is what is not known, failed, or was held back.
func short(e *api.Explanation) []Entry {
	var all []Entry
	for _, u := range e.Case.Score.Unknown {
		all = append(all, Entry{Mark: "unknown", Text: u})
	}
	for _, l := range e.Lookups {
		if l.Reply != nil && l.Reply.State == model.Failed {
			all = append(all, Entry{Mark: "failed", Text: fmt.Sprintf("%s about %s: %s", l.Ask.Enrichment, l.Ask.Observable.Value, l.Reply.Reason)})
		}
	}
	for i := range e.Intents {
		in := &e.Intents[i]
		switch in.State {
		case model.IntentFailed, model.IntentUnknown, model.IntentRefused:
			all = append(all, Entry{Mark: string(in.State), Text: fmt.Sprintf("%s %s by %s: %s", in.Verb, in.Target.Value, in.Action, in.Message)})
		}
	}
	for i := range e.Questions {
		switch q := &e.Questions[i]; q.State {
		case model.QuestionTimedOut, model.QuestionFailed:
			all = append(all, Entry{Mark: string(q.State), Text: strings.TrimPrefix(q.Response, "response.") + "." + q.Step + " got no answer"})
		}
	}
	for _, n := range e.Case.Notes {
		where := n.Response
		if n.Step != "" {
			where += "." + n.Step
		}
		if n.Target != "" {
			where += " on " + n.Target
		}
		all = append(all, Entry{When: stamp(n.At), Mark: "not taken", Text: where + ": " + n.Why})
	}
	notes := 0
	for i := range e.Signals {
		notes += len(e.Signals[i].Notes)
	}
	if notes > 0 {
		all = append(all, Entry{Mark: "not read", Text: count(notes, "part") + " of events could not be read"})
	}
	return all
}

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) }

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
