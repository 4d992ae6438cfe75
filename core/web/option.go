package web

import (
	"fmt"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// options are the choices of a form.
func (v *questionView) options(a *asked, g given) {
	for i, o := range a.Options {
		one := optionView{
			Number: i, Label: labelOf(o), Detail: detailOf(o),
			Checked: o.Name == g.option, Needs: o.NeedsReason && len(o.Reasons) > 0,
		}
		for n, reason := range o.Reasons {
			one.Reasons = append(one.Reasons, reasonView{n, reasonLabel(reason), one.Checked && reason == g.reason})
		}
		if o.NeedsReason && len(o.Reasons) == 0 {
			one.Detail = strings.TrimSpace(one.Detail + " Say why in the note.")
			v.NoteNeeded = true
		}
		v.Options = append(v.Options, one)
	}
	v.Problem, v.Note = g.problem, g.note[:min(len(g.note), maxNote)]
	if c := a.chosen(); v.Problem == "" && c != nil && c.Why != "" {
		v.Problem = "Your answer was not taken: " + shown(c.Why) + "."
	}
}

func labelOf(o model.Option) string {
	if o.Summary != "" {
		return shown(o.Summary)
	}
	switch o.Name {
	case model.OptionIgnore:
		return "It is nothing to act on"
	case model.OptionEscalate:
		return "Ask who wrote the rule"
	case model.OptionNotMine:
		return "It is not mine"
	case model.OptionApprove:
		return "Approve"
	case model.OptionRefuse:
		return "Refuse"
	}
	return shown(o.Name)
}

func detailOf(o model.Option) string {
	if len(o.Run) > 0 {
		return "Kelpie then takes: " + shown(strings.Join(o.Run, ", ")) + "."
	}
	switch o.Name {
	case model.OptionIgnore:
		return "Nothing is done. An engineer decides whether the like of it is reported again."
	case model.OptionEscalate:
		return "Its author is asked next."
	case model.OptionNotMine:
		return "Somebody else is asked."
	}
	return ""
}

func reasonLabel(reason string) string {
	switch reason {
	case model.ReasonExpected:
		return "It was to be expected"
	case model.ReasonTest:
		return "It was an authorised test"
	case model.ReasonFalseAlarm:
		return "It is a false alarm"
	case model.ReasonDuplicate:
		return "It is known already"
	}
	return shown(strings.ReplaceAll(reason, "_", " "))
}

// statusView says how a question stands that its reader can't answer (any more). It tells
// nothing of the case.
type statusView struct {
	Head  string
	Lines []string
}

// statusOf says it for its reader.
func statusOf(a *asked) *statusView {
	if c := a.chosen(); c != nil {
		return chosenStatus(a, c)
	}
	switch a.State {
	case model.QuestionAnswered:
		return &statusView{"This has been answered", []string{
			fmt.Sprintf("%s answered on %s.", shown(a.By), clock(a.ClosedAt)), "Nothing is left for you to do.",
		}}
	case model.QuestionTimedOut:
		return &statusView{"The time for an answer is over", []string{
			fmt.Sprintf("It ended on %s, and Kelpie went on without one.", clock(a.ClosedAt)),
		}}
	}
	return &statusView{"This needs no answer any more", []string{"Nothing is left for you to do."}}
}

// chosenStatus says what the reader chose, and what follows.
func chosenStatus(a *asked, c *model.Choice) *statusView {
	s := &statusView{Head: "Your answer was taken"}
	o := a.Option(c.Option)
	label := shown(c.Option)
	if o != nil {
		label = labelOf(*o)
	}
	line := fmt.Sprintf("On %s you chose: %s", clock(c.At), label)
	if c.Reason != "" {
		line += " (" + shown(c.Reason) + ")"
	}
	s.Lines = []string{strings.TrimSuffix(line, ".") + "."}
	switch {
	case !c.Counts && a.reader.Subject:
		s.Lines = append(s.Lines, "It is kept as evidence. Somebody else decides, since it concerns you yourself.")
	case !c.Counts:
		s.Head = "Your answer came too late"
		s.Lines = append(s.Lines, "It was noted, and changes nothing.")
	case a.Kind == model.QuestionApproval:
		s.Lines = append(s.Lines, approvalFollows(a, c))
	case a.State == model.QuestionAnswered && a.Choice != c.Option:
		s.Lines = append(s.Lines, fmt.Sprintf("%s decided it on %s.", shown(a.By), clock(a.ClosedAt)))
	default:
		s.Lines = append(s.Lines, follows(c.Option, o))
	}
	return s
}

func approvalFollows(a *asked, c *model.Choice) string {
	switch {
	case c.Option == model.OptionRefuse:
		return "It is not done."
	case a.Open():
		agreed := 0
		for _, other := range a.Choices {
			if other.Counts && other.Option == model.OptionApprove {
				agreed++
			}
		}
		if left := a.People - agreed; left > 0 {
			return fmt.Sprintf("It is done when %s.", map[bool]string{true: "one more person approves", false: fmt.Sprintf("%d more people approve", left)}[left == 1])
		}
	case a.State == model.QuestionAnswered && a.Choice == model.OptionRefuse:
		return "It is not done: " + shown(a.By) + " refused it."
	case a.State != model.QuestionAnswered:
		return "It was not approved by enough people in time."
	}
	return "Kelpie goes on with it, as far as limits and protection let it."
}

func follows(name string, o *model.Option) string {
	switch {
	case o != nil && len(o.Run) > 0:
		return "Kelpie now takes: " + shown(strings.Join(o.Run, ", ")) + ", as far as limits and protection let it."
	case name == model.OptionIgnore:
		return "Nothing is done. An engineer decides whether the like of it is reported again."
	case name == model.OptionEscalate:
		return "Who wrote the rule is asked now."
	case name == model.OptionNotMine:
		return "Somebody else is asked now."
	}
	return "Nothing more is asked of you."
}
