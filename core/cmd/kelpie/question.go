package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

func (p program) questionCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "question", Short: "What people are asked, and what they chose"}
	c.AddCommand(p.questionListCommand(o), p.questionShowCommand(o))
	return c
}

func (p program) questionListCommand(o *options) *cobra.Command {
	var state, of, to, after string
	limit := 1000
	c := &cobra.Command{
		Use: "list", Short: "List the questions that are open, oldest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range map[string]string{"state": state, "case": of, "address": to, "after": after} {
				if value != "" && value != "any" {
					q.Set(name, value)
				}
			}
			var all []api.Question
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/questions", q, &all) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			printQuestionList(p.out, all, state)
			if n := len(all); n > 0 && n == limit {
				fmt.Fprintln(p.out)
				indented(p.out, "", fmt.Sprintf(`These are %d. For what follows: "kelpie question list --after %s".`, n, all[n-1].ID))
			}
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", "open", "only in this state: open, answered, timed_out, failed, withdrawn, any")
	c.Flags().StringVar(&of, "case", "", "only about this case")
	c.Flags().StringVar(&to, "to", "", "only those that this address is asked, the latest first")
	c.Flags().IntVar(&limit, "limit", limit, "at most so many, up to 1000")
	c.Flags().StringVar(&after, "after", "", "those after this question")
	return c
}

func printQuestionList(w io.Writer, all []api.Question, state string) {
	if len(all) == 0 {
		text := "No questions."
		if state == string(model.QuestionOpen) {
			text = "Nothing waits for an answer."
		}
		fmt.Fprintln(w, text)
		return
	}
	for i, q := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s  %s  %s\n", q.ID, shortID(q.CaseNow), line(q.Title, width-len(q.ID)-14))
		indented(w, "  ", questionLine(q.Question, q.At))
	}
}

// questionLine tells a question in a few words: who is asked, until when, and what was
// chosen.
func questionLine(q model.Question, now time.Time) string {
	what := strings.TrimPrefix(q.Response, "response.") + "." + q.Step
	if q.Kind == model.QuestionApproval {
		what = fmt.Sprintf("whether %s is approved (%s)", verbOn(q), what)
	}
	var asked []string
	for _, a := range q.Asked {
		if a.Intent != "" {
			asked = append(asked, a.Address)
		}
	}
	text := what
	if len(asked) > 0 {
		text += " asks " + joined(asked)
	}
	return text + ": " + questionState(q, now)
}

func verbOn(q model.Question) string {
	var targets []string
	for _, t := range q.Targets {
		targets = append(targets, t.Value)
	}
	const most = 3
	if n := len(targets) - most; n > 0 {
		targets = append(targets[:most], fmt.Sprintf("%d more", n))
	}
	return q.Verb + " of " + joined(targets)
}

// questionState says where a question is, and what it came to.
func questionState(q model.Question, now time.Time) string {
	switch q.State {
	case model.QuestionOpen:
		if q.AcceptedAt.IsZero() {
			return "open, not delivered yet"
		}
		text := fmt.Sprintf("open until %s UTC (%s)", stamp(q.Until), in(q.Until, now))
		if q.Wait == 0 {
			text = "open"
		}
		if q.Kind == model.QuestionApproval && q.People > 1 {
			text += fmt.Sprintf("; %d of %d have approved", approvals(q), q.People)
		}
		return text
	case model.QuestionAnswered:
		text := fmt.Sprintf("%s chose %s at %s UTC", q.By, q.Choice, stamp(q.ClosedAt))
		if q.Reason != "" {
			text += ": " + q.Reason
		}
		return text
	case model.QuestionTimedOut:
		text := fmt.Sprintf("nobody answered within %s, until %s UTC", span(q.Wait), stamp(q.ClosedAt))
		if q.Otherwise != "" {
			text += ", which means: " + q.Otherwise
		}
		return text
	case model.QuestionFailed:
		return "FAILED: " + q.Why
	}
	return string(q.State) + ": " + q.Why
}

func approvals(q model.Question) int {
	n := 0
	for _, ch := range q.Choices {
		if ch.Counts && ch.Option == model.OptionApprove {
			n++
		}
	}
	return n
}

// span is a duration without the units that are nought.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (p program) questionShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show QUESTION", Short: "Show one question: who is asked, the options, what was chosen", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var q api.Question
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/questions/"+url.PathEscape(args[0]), nil, &q)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, q)
			}
			printQuestion(p.out, q)
			return nil
		},
	}
}

func printQuestion(w io.Writer, q api.Question) {
	fmt.Fprintf(w, "%s  %s\n", q.ID, line(q.Title, width-len(q.ID)-2))
	row := func(name, text string) {
		if text != "" {
			indented(w, pad("  "+name, 14), text)
		}
	}
	row("case", q.CaseNow)
	row("asked by", q.Response+"."+q.Step)
	if q.Kind == model.QuestionApproval {
		row("whether", verbOn(q.Question)+" is approved")
		if q.Role != "" || q.People > 1 {
			row("it takes", takes(q.Question))
		}
	}
	row("state", questionState(q.Question, q.At))
	row("opened", stamp(q.OpenedAt)+" UTC, "+ago(q.OpenedAt, q.At))
	for _, a := range q.Asked {
		row("asks", askedText(q, a))
	}
	if q.Open() {
		for _, l := range q.Levels[min(q.Level+1, len(q.Levels)):] {
			text := joined(l.To)
			switch {
			case l.After >= plan.NotByTime:
				text += ", if it reaches none of these, or is not theirs"
			case l.After > 0:
				text += " " + span(l.After) + " later"
			}
			row("and then", text)
		}
	}
	for _, opt := range q.Options {
		row("option", optionText(opt))
	}
	for _, ch := range q.Choices {
		row("chosen", choiceText(ch))
	}
	if q.Open() {
		fmt.Fprintf(w, "\n\"kelpie answer %s OPTION\" answers it.\n", shortID(q.ID))
	}
}

// takes says who has to approve.
func takes(q model.Question) string {
	text := "one person"
	if q.People > 1 {
		text = fmt.Sprintf("%d different people", q.People)
	}
	if q.Role != "" {
		text += " with the role " + q.Role
	}
	return text
}

func askedText(q api.Question, a model.Asked) string {
	text := a.Address
	if a.Person != "" {
		text += " (" + a.Person + ")"
	}
	if a.Level < len(q.Levels) && q.Levels[a.Level].Why != "" {
		text += ", " + q.Levels[a.Level].Why
	}
	told := q.Told[a.Intent]
	switch {
	case a.Intent == "":
		text += ": may not be asked"
	case a.Failed:
		text += ": it did not come: " + told.Message
	case a.Accepted.IsZero():
		text += ": not delivered yet"
	default:
		text += ": delivered at " + stamp(a.Accepted) + " UTC"
		if told.DryRun {
			text += " (dry run: nothing left)"
		}
	}
	if a.Subject {
		text += "; a subject of the case, or read by one: what is chosen there decides nothing"
	}
	return text
}

func optionText(o model.Option) string {
	text := o.Name
	if o.Summary != "" {
		text += ": " + o.Summary
	}
	var more []string
	if len(o.Run) > 0 {
		more = append(more, "takes "+joined(o.Run))
	}
	if o.NeedsReason {
		more = append(more, "needs a reason")
	}
	if len(o.Reasons) > 0 {
		more = append(more, "which is one of "+joined(o.Reasons))
	}
	if len(more) > 0 {
		text += " (" + joined(more) + ")"
	}
	return text
}

func choiceText(ch model.Choice) string {
	text := fmt.Sprintf("%s by %s", ch.Option, ch.By)
	if ch.Address != "" && ch.Address != ch.By {
		text += " at " + ch.Address
	}
	text += fmt.Sprintf(", by %s, at %s UTC", ch.Road, stamp(ch.At))
	if ch.Reason != "" {
		text += ": " + ch.Reason
	}
	if !ch.Counts {
		text += "; it does not count: " + ch.Why
	}
	return text
}

func (p program) answerCommand(o *options) *cobra.Command {
	order := api.Order{}
	c := &cobra.Command{
		Use: "answer QUESTION OPTION", Short: "Choose one of a question's options, or approve or refuse",
		Long: `Choose one of the options of a question. "kelpie question show" lists them.

It counts if you were asked, or have the role for it, and are no subject of the
case. With --by, you say that somebody else has chosen: the name of a user, or an
address that was asked.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := name(&order); err != nil {
				return err
			}
			choosing := api.Choosing{By: order.By, Because: order.Because, Option: args[1], Road: model.RoadCommand}
			var q api.Question
			err := p.with(c.Context(), o, func(k *client) error {
				return k.post(c.Context(), "/v1/questions/"+url.PathEscape(args[0])+"/choose", choosing, &q)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, q)
			}
			printQuestionList(p.out, []api.Question{q}, "")
			return nil
		},
	}
	orderFlags(c, &order)
	return c
}

// printQuestionsOf lists what people were asked about a case, if they were.
func printQuestionsOf(w io.Writer, e api.Explanation) {
	if len(e.Questions) == 0 {
		return
	}
	heading(w, "WHAT WAS ASKED")
	for _, q := range e.Questions {
		indented(w, "  ", q.ID+" "+questionLine(q, e.At))
		for _, ch := range q.Choices {
			if ch.Counts && q.State == model.QuestionAnswered && ch.By == q.By && len(q.Choices) == 1 {
				continue // it is told already
			}
			indented(w, "    ", choiceText(ch))
		}
	}
}
