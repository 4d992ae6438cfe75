package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func facts(n *sdk.Notice, now time.Time) []fact {
	facts := []fact{{"Severity", fmt.Sprintf("%s (%d of 100)", level(n.Severity), min(max(n.Severity, 0), 100)), ""}}
	if !n.FirstAt.IsZero() {
		facts = append(facts, fact{"Happened", details(span(n.FirstAt, n.LastAt), ago(now, n.FirstAt)), ""})
	}
	facts = append(facts, yesNo("Blocked", n.Stopped, "yes, all of it", "no, not all of it", "good", "bad"))
	if len(n.Techniques) > 0 {
		facts = append(facts, fact{"ATT&CK", short(strings.Join(n.Techniques, ", ")), ""})
	}
	return append(facts, fact{"Case", line(n.Case, 100), ""})
}

// evidence shows each indicator with the verdicts about it.
func evidence(n *sdk.Notice, now time.Time) section {
	s := section{Title: "Evidence", More: n.LeftOut["indicators"] + n.LeftOut["verdicts"]}
	type key struct{ kind, value string }
	opinions, worst := map[key][]string{}, map[key]string{}
	for _, v := range n.Verdicts {
		k := key{v.Kind, v.Value}
		opinions[k] = append(opinions[k], opinion(v, now))
		if v.Disposition == sdk.Malicious || v.Disposition == sdk.Suspicious {
			worst[k] = "bad"
		}
	}
	add := func(o sdk.NoticeObservable) {
		k := key{o.Kind, o.Value}
		said := opinions[k]
		delete(opinions, k)
		if len(said) == 0 {
			said = []string{"no source has said anything about it"}
		}
		s.Rows = append(s.Rows, row{
			Mark: line(o.Kind, 12), Main: shorten(harmless(o), maxShown), Detail: details(append([]string{short(o.Note)}, said...)...), Tone: worst[k],
		})
	}
	for _, o := range n.Indicators {
		add(o)
	}
	for _, v := range n.Verdicts { // about what is no indicator
		if _, left := opinions[key{v.Kind, v.Value}]; left {
			add(sdk.NoticeObservable{Kind: v.Kind, Value: v.Value})
		}
	}
	return s
}

// opinion is a verdict in words, with how sure its source was and how old it is.
func opinion(v sdk.NoticeVerdict, now time.Time) string {
	sure := fmt.Sprintf("%d of 100 sure", min(max(v.Confidence, 0), 100))
	if age := ago(now, v.At); age != "" {
		sure += ", " + age
	}
	said := fmt.Sprintf("%s, %d of 100, by %s (%s)", first(line(text(string(v.Disposition)), 40), "unknown"), min(max(v.Score, 0), 100), source(v.Source), sure)
	if len(v.Labels) > 0 {
		said += ": " + short(strings.Join(v.Labels, ", "))
	}
	return said
}

func timeline(n *sdk.Notice) section {
	s := section{Title: "What happened", More: n.LeftOut["signals"]}
	day := ""
	for _, signal := range n.Signals {
		mark := signal.At.UTC().Format("15:04:05")
		if on := signal.At.UTC().Format(time.DateOnly); on != day {
			if day = on; len(s.Rows) > 0 || !sameDay(n.FirstAt, n.LastAt) {
				mark = on + " " + mark
			}
		}
		count, tone := "", ""
		if signal.Count > 1 {
			count = fmt.Sprintf("%d times", signal.Count)
			if !signal.LastAt.IsZero() {
				count += " until " + signal.LastAt.UTC().Format("15:04:05")
			}
		}
		stopped := ""
		if signal.Stopped != nil {
			if stopped = "not blocked"; *signal.Stopped {
				stopped = "blocked"
			} else {
				tone = "bad"
			}
		}
		s.Rows = append(s.Rows, row{Mark: mark, Main: short(signal.Title), Tone: tone, Detail: details(
			source(signal.Source), fmt.Sprintf("severity %d", min(max(signal.Severity, 0), 100)), stopped, count,
		)})
	}
	return s
}

func unknowns(n *sdk.Notice) section {
	s := section{Title: "What is not known", More: n.LeftOut["unknowns"]}
	for _, u := range n.Unknowns {
		why := u.Why
		if why == "" {
			switch u.State {
			case "unknown":
				why = "was asked and has nothing about it"
			case "pending":
				why = "has not answered yet"
			}
		}
		s.Rows = append(s.Rows, row{Mark: line(u.State, 12), Main: short(u.What), Detail: details(source(u.Source), short(why)), Tone: "open"})
	}
	return s
}

func actions(n *sdk.Notice, now time.Time) section {
	s := section{Title: "What was done", More: n.LeftOut["actions"], Empty: "Nothing so far."}
	for _, a := range n.Actions {
		at, until, dry := "", "", ""
		if !a.At.IsZero() {
			at = clock(a.At)
		}
		if !a.UndoAt.IsZero() {
			until = "ends by itself at " + clock(a.UndoAt)
			if left := a.UndoAt.Sub(now); left > time.Minute {
				until += ", in " + lasting(left)
			}
		}
		if a.DryRun {
			dry = "dry run: not really"
		}
		s.Rows = append(s.Rows, row{
			Mark: line(text(a.State), 12), Main: short(strings.ReplaceAll(a.Verb, "_", " ") + " " + a.Target), Detail: details(until, short(a.Message), at, dry), Tone: tone(a.State),
		})
	}
	return s
}

// tone of what became of an action.
func tone(state string) string {
	switch state {
	case "done", "already":
		return "good"
	case "failed", "refused":
		return "bad"
	case "unknown", "held back", "pending":
		return "open"
	}
	return ""
}
