package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// printWeighing says which responses the case asks for, and what would decide it
// otherwise.
func printWeighing(w io.Writer, c *model.Case, d *decide.Weighing) {
	heading(w, "WHAT DECIDES")
	switch {
	case d.Why != "":
		indented(w, "  ", "It can't be told: "+d.Why+".")
		return
	case len(d.Responses) == 0:
		fmt.Fprintln(w, "  Its rules ask for no response.")
		return
	}
	for i := range d.Responses {
		printChoice(w, d, &d.Responses[i])
	}
	printRange(w, c.Score, d.Responses)
}

func printChoice(w io.Writer, d *decide.Weighing, c *decide.Choice) {
	const under = "           "
	word, what := "not so", "it would be: "
	if c.Asked {
		word, what = "asked", ""
	}
	indented(w, "  "+pad(word, 8)+" ", c.Response+": "+what+consequences(c.Steps, true))
	if c.Waits {
		indented(w, under, "nothing of it is planned while an answer is pending")
	}
	for _, f := range c.Flips {
		indented(w, under, fmt.Sprintf("without %s: %s, %s", pieces(f.Without), f.Total, consequences(c.Steps, !c.Asked)))
	}
	if c.More > 0 {
		indented(w, under, fmt.Sprintf("and %d more", c.More))
	}
	if len(c.Flips) > 0 {
		return
	}
	text := fmt.Sprintf("none of %s alone decides it otherwise", plural(d.Pieces, "piece")+" of evidence")
	switch {
	case d.Pieces == 0:
		text = "there is no evidence that could be missing"
	case d.Paired == d.Pieces && d.Pieces > 1:
		text += ", and no two"
	case d.Paired > 1:
		text += fmt.Sprintf(", and no two of the %d that weigh most", d.Paired)
	}
	indented(w, under, text)
	if d.Left > 0 {
		indented(w, under, fmt.Sprintf("%d more were not tried", d.Left))
	}
}

// printRange says what each end of what the score may become would ask for.
func printRange(w io.Writer, s model.Score, all []decide.Choice) {
	if s.Upper <= s.Total {
		return
	}
	var now, most []string
	for _, c := range all {
		name := strings.TrimPrefix(c.Response, "response.")
		if c.Asked {
			now = append(now, name)
		}
		if c.AskedAtMost {
			most = append(most, name)
		}
	}
	list := func(names []string) string {
		if len(names) == 0 {
			return "nothing"
		}
		return joined(names)
	}
	indented(w, "  "+pad("from", 8)+" ", fmt.Sprintf("%s, as things are, which asks for: %s", s.Total, list(now)))
	indented(w, "  "+pad("up to", 8)+" ", fmt.Sprintf("%s, by what is not known yet, which would ask for: %s", s.Upper, list(most)))
}

func pieces(all []decide.Piece) string {
	texts := make([]string, len(all))
	for i, p := range all {
		switch p.Kind {
		case "verdict":
			texts[i] = fmt.Sprintf("%s's verdict on %s", p.Source, p.About)
		case "asset", "identity", "network":
			texts[i] = fmt.Sprintf("what %s says of %s", p.Source, p.About)
		default:
			texts[i] = fmt.Sprintf("%q", p.Because)
		}
	}
	return strings.Join(texts, " and ")
}

// consequences are what becomes of the targets if steps are taken, or are not.
func consequences(steps []plan.Outlined, taken bool) string {
	var all []string
	for _, s := range steps {
		if !s.Later {
			all = append(all, consequence(s, taken))
		}
	}
	switch {
	case len(all) > 0:
		return strings.Join(all, ", ")
	case taken:
		return "it has nothing to do"
	}
	return "and nothing is done"
}

// taken and left are what becomes of a target, by what is done to it.
var taken = map[string][2]string{
	"notify":            {"%s is told", "%s is not told"},
	"ticket":            {"a ticket is written to %s", "no ticket is written to %s"},
	"isolate_host":      {"%s is isolated", "%s stays connected"},
	"disable_account":   {"%s is disabled", "%s stays enabled"},
	"reset_password":    {"the password of %s is reset", "the password of %s stays"},
	"end_session":       {"the sessions of %s end", "the sessions of %s go on"},
	"close_port":        {"%s is closed", "%s stays open"},
	"block_indicator":   {"%s is blocked", "%s stays reachable"},
	"kill_process":      {"%s is killed", "%s runs on"},
	"quarantine_file":   {"%s is quarantined", "%s stays where it is"},
	"scan_host":         {"%s is scanned", "%s is not scanned"},
	"resolve":           {"%s is closed at its source", "%s stays open at its source"},
	"collect":           {"evidence is collected from %s", "nothing is collected from %s"},
	"unlock_account":    {"%s is unlocked", "%s stays locked"},
	"enable_account":    {"%s is enabled", "%s stays disabled"},
	"release_host":      {"%s is released", "%s stays isolated"},
	"unblock_indicator": {"%s is let through", "%s stays blocked"},
	"restore_file":      {"%s is restored", "%s stays in quarantine"},
	"open_port":         {"%s is opened", "%s stays closed"},
}

// many makes a consequence one of several targets.
var many = strings.NewReplacer("%s is ", "%s are ", "%s stays ", "%s stay ", "%s runs ", "%s run ")

func consequence(s plan.Outlined, done bool) string {
	who := "the case"
	if n := len(s.Targets); n > 0 {
		shown := s.Targets[:min(n, 3)]
		who = strings.Join(shown, " and ")
		if more := n - len(shown) + s.More; more > 0 {
			who = fmt.Sprintf("%s (and %d more)", joined(shown), more)
		}
	}
	texts, ok := taken[s.Verb]
	if len(s.Targets) > 1 {
		for i := range texts {
			texts[i] = many.Replace(texts[i])
		}
	}
	switch {
	case !ok && done:
		return fmt.Sprintf("%s for %s", s.Verb, who)
	case !ok:
		return fmt.Sprintf("no %s for %s", s.Verb, who)
	case done:
		return fmt.Sprintf(texts[0], who)
	}
	return fmt.Sprintf(texts[1], who)
}
