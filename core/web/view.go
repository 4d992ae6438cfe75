package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// questionView is a question that can be answered, or, with Status, how it stands.
type questionView struct {
	ID     string
	Status *statusView

	Asked, Plainly, Text string
	Title, Because       string
	Until                string
	Facts                []fact
	Score                *scoreView
	Unknown              []string
	Seen                 []entry
	Options              []optionView
	Problem, Note        string
	NoteNeeded           bool
}

type fact struct {
	Label string
	Lines []string
}

type scoreView struct {
	Total  string
	Width  int // of a bar, 0 to 100
	Lines  []scoreLine
	Upper  string
	Others int
}

type scoreLine struct {
	Points  string
	Width   int
	Because string
	From    string
}

type entry struct{ At, What string }

type optionView struct {
	Number        int
	Label, Detail string
	Checked       bool
	Reasons       []reasonView
	Needs         bool // a reason
}

type reasonView struct {
	Number   int
	Label    string
	Selected bool
}

// Bounds of what one question shows.
const (
	mostLines = 8
	mostSeen  = 8
	mostFacts = 12
	mostText  = 600 // bytes of one text
	mostLong  = 4000
)

// shown is a text of anybody's as it may be looked at.
func shown(text string) string { return sdk.Visible(cut(text, mostText)) }

// lines are those of a longer text, each as it may be looked at.
func lines(text string) string {
	all := strings.Split(strings.ReplaceAll(cut(strings.TrimSpace(text), mostLong), "\r\n", "\n"), "\n")
	for i := range all {
		all[i] = sdk.Visible(all[i])
	}
	return strings.Join(all, "\n")
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	at := most
	for at > 0 && text[at]&0xC0 == 0x80 { // within a character
		at--
	}
	return text[:at] + "…"
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 Jan 2006, 15:04 UTC")
}

// fill makes the view of a question from what its reader was told.
func (v *questionView) fill(a *asked, n sdk.Notice, g given, now time.Time) {
	v.Asked = shown(n.Asked)
	if v.Asked == "" {
		v.Asked = "What should be done?"
		if a.Kind == model.QuestionApproval {
			v.Asked = "May Kelpie do this?"
		}
	}
	v.Plainly, v.Text, v.Title, v.Because = lines(n.Plainly), lines(n.Text), shown(n.Title), shown(n.Because)
	if !a.Until.IsZero() {
		v.Until = clock(a.Until)
		if left := a.Until.Sub(now); left > 0 {
			v.Until += ", " + span(left) + " from now"
		}
	}
	if a.Kind == model.QuestionApproval {
		v.approval(a, n)
	}
	v.facts(n)
	v.score(n.Score)
	for _, u := range n.Unknowns[:min(len(n.Unknowns), mostLines)] {
		v.Unknown = append(v.Unknown, shown(strings.Trim(u.What+" ("+strings.Trim(u.Source+": "+cmp.Or(u.Why, u.State), ": ")+")", " ")))
	}
	for _, s := range n.Signals[:min(len(n.Signals), mostSeen)] {
		what := s.Title
		if s.Count > 1 {
			what += fmt.Sprintf(" (%d times)", s.Count)
		}
		v.Seen = append(v.Seen, entry{clock(s.At), shown(what)})
	}
	v.options(a, g)
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return count(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour")
	}
	return count(int(d.Hours()/24), "day")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// approval says what is to be approved, and what a dry run says of it.
func (v *questionView) approval(a *asked, n sdk.Notice) {
	f := fact{Label: "To be done"}
	for _, t := range a.Targets[:min(len(a.Targets), mostFacts)] {
		line := a.Verb + ": " + t.Value
		for _, p := range n.Previews {
			if p.Verb == a.Verb && p.Target == t.Value {
				line += ", a dry run says " + cmp.Or(p.Message, p.State)
			}
		}
		f.Lines = append(f.Lines, shown(line))
	}
	if len(a.Targets) > mostFacts {
		f.Lines = append(f.Lines, fmt.Sprintf("and %d more", len(a.Targets)-mostFacts))
	}
	if len(f.Lines) == 0 {
		f.Lines = []string{shown(a.Verb)}
	}
	v.Facts = append(v.Facts, f)
	if a.People > 1 {
		v.Facts = append(v.Facts, fact{"Needed", []string{fmt.Sprintf("%d different people who approve", a.People)}})
	}
}

// facts say who and what is concerned.
func (v *questionView) facts(n sdk.Notice) {
	addFact(v, "Computer", n.Assets, func(a sdk.NoticeAsset) string {
		return joined(cmp.Or(a.Name, a.FQDN), strings.Join(a.IPs, ", "), labelled("owner", a.Owner), labelled("team", a.Team),
			a.OS, labelled("roles", strings.Join(a.Roles, ", ")), rated(a.Criticality))
	})
	addFact(v, "Person", n.Identities, func(i sdk.NoticeIdentity) string {
		privileged := ""
		if i.Privileged != nil && *i.Privileged {
			privileged = "privileged"
		}
		return joined(cmp.Or(i.Name, i.UPN), i.Mail, i.Title, i.Department, labelled("manager", i.Manager), privileged, i.State)
	})
	observable := func(o sdk.NoticeObservable) string { return joined(o.Kind+" "+o.Value, o.Note) }
	addFact(v, "Concerned", n.Subjects, observable)
	addFact(v, "Seen", n.Indicators, observable)
	addFact(v, "Verdict", n.Verdicts, func(d sdk.NoticeVerdict) string {
		return joined(d.Source+" calls "+d.Value+" "+string(d.Disposition), labelled("on", clock(d.At)))
	})
	addFact(v, "Done so far", n.Actions, func(a sdk.NoticeAction) string {
		state := a.State
		if a.DryRun {
			state += ", dry run"
		}
		return joined(a.Verb+" "+a.Target+": "+state, labelled("until", clock(a.UndoAt)))
	})
}

// addFact adds a fact with a line for each of a list, if there is any.
func addFact[T any](v *questionView, label string, list []T, line func(T) string) {
	if len(list) == 0 {
		return
	}
	f := fact{Label: label}
	for _, one := range list[:min(len(list), mostFacts)] {
		f.Lines = append(f.Lines, shown(line(one)))
	}
	if more := len(list) - mostFacts; more > 0 {
		f.Lines = append(f.Lines, fmt.Sprintf("and %d more", more))
	}
	v.Facts = append(v.Facts, f)
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return strings.TrimSpace(s) == "" }), ", ")
}

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + value
}

func rated(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("rated %d of 100", *n)
}

// score shows the lines that counted most.
func (v *questionView) score(s sdk.NoticeScore) {
	out := &scoreView{Total: points(s.Total), Width: width(s.Total)}
	if s.Upper > s.Total {
		out.Upper = points(s.Upper)
	}
	var lines []sdk.NoticeLine
	for _, f := range s.Factors {
		all := 0.0
		for _, l := range f.Lines {
			all += max(0, l.Counted)
		}
		for _, l := range f.Lines {
			if l.Counted > 0 {
				l.Counted = f.Share * (l.Counted / all) // so that they add up to the total
				lines = append(lines, l)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b sdk.NoticeLine) int { return cmp.Compare(b.Counted, a.Counted) })
	for _, l := range lines[:min(len(lines), mostLines)] {
		from := joined(l.Source, clock(l.At))
		out.Lines = append(out.Lines, scoreLine{points(l.Counted), width(l.Counted), shown(cmp.Or(l.Because, l.Label)), shown(from)})
	}
	out.Others = max(0, len(lines)-mostLines)
	if s.Total > 0 || len(lines) > 0 {
		v.Score = out
	}
}

func points(f float64) string {
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
}

func width(f float64) int {
	if math.IsNaN(f) {
		return 0
	}
	return int(min(100, max(0, math.Round(f))))
}
