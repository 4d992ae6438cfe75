package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func facts(n *sdk.Notice) []fact {
	facts := []fact{{"Severity", fmt.Sprintf("%s (%d of 100)", level(n.Severity), min(max(n.Severity, 0), 100))}}
	if !n.FirstAt.IsZero() {
		facts = append(facts, fact{"Happened", span(n.FirstAt, n.LastAt)})
	}
	if n.Stopped != nil {
		stopped := "no, not all of it"
		if *n.Stopped {
			stopped = "yes, all of it"
		}
		facts = append(facts, fact{"Blocked already", stopped})
	}
	if len(n.Techniques) > 0 {
		facts = append(facts, fact{"ATT&CK", line(strings.Join(n.Techniques, ", "), maxShown)})
	}
	return append(facts, fact{"Case", line(n.Case, 100)})
}

func affected(n *sdk.Notice) section {
	s := section{Title: "Who and what is affected", More: n.LeftOut["assets"] + n.LeftOut["identities"] + n.LeftOut["subjects"]}
	named := map[string]bool{}
	for _, a := range n.Assets {
		named[strings.ToLower(a.Name)], named[strings.ToLower(a.FQDN)] = true, true
		for _, address := range append(a.IPs, a.MACs...) {
			named[address] = true
		}
		rating := ""
		if a.Criticality != nil {
			rating = fmt.Sprintf("criticality %d of 100", *a.Criticality)
		}
		s.Rows = append(s.Rows, row{Mark: "machine", Strong: true, Main: own(first(a.Name, a.FQDN, strings.Join(a.IPs, ", "), "unnamed")), Detail: details(
			own(a.FQDN), own(strings.Join(a.IPs, ", ")), own(a.OS), own(strings.Join(a.Roles, ", ")),
			labelled("owner", a.Owner), labelled("team", a.Team), rating, own(strings.Join(a.Tags, ", ")),
		)})
	}
	for _, i := range n.Identities {
		named[strings.ToLower(i.Name)], named[strings.ToLower(i.UPN)], named[strings.ToLower(i.Mail)] = true, true, true
		privileged := ""
		if i.Privileged != nil && *i.Privileged {
			privileged = "privileged"
		}
		mail := i.Mail
		if strings.EqualFold(i.Mail, i.UPN) {
			mail = ""
		}
		s.Rows = append(s.Rows, row{Mark: "account", Strong: true, Main: own(first(i.Name, i.UPN, i.Mail, "unnamed")), Detail: details(
			own(i.UPN), own(mail), own(i.Title), own(i.Department), labelled("manager", i.Manager), privileged, labelled("state", i.State),
		)})
	}
	for _, o := range n.Subjects {
		if !named[o.Value] {
			s.Rows = append(s.Rows, row{Mark: line(o.Kind, 12), Main: own(o.Value), Detail: text(o.Note)})
		}
	}
	return s
}

// evidence shows each indicator with the verdicts about it.
func evidence(n *sdk.Notice) section {
	s := section{Title: "Evidence", More: n.LeftOut["indicators"] + n.LeftOut["verdicts"]}
	type key struct{ kind, value string }
	opinions, worst := map[key][]string{}, map[key]string{}
	for _, v := range n.Verdicts {
		k := key{v.Kind, v.Value}
		opinion := fmt.Sprintf("%s (score %d, confidence %d) says %s", own(string(v.Disposition)), v.Score, v.Confidence, own(v.Source))
		if len(v.Labels) > 0 {
			opinion += ": " + text(strings.Join(v.Labels, ", "))
		}
		opinions[k] = append(opinions[k], opinion)
		if v.Disposition == sdk.Malicious || v.Disposition == sdk.Suspicious {
			worst[k] = "bad"
		}
	}
	add := func(o sdk.NoticeObservable) {
		k := key{o.Kind, o.Value}
		notes := append([]string{text(o.Note)}, opinions[k]...)
		delete(opinions, k)
		s.Rows = append(s.Rows, row{Mark: line(o.Kind, 12), Main: line(harmless(o), maxShown), Detail: details(notes...), Tone: worst[k]})
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
		s.Rows = append(s.Rows, row{Mark: mark, Main: text(signal.Title), Tone: tone, Detail: details(own(signal.Source), fmt.Sprintf("severity %d", signal.Severity), stopped, count)})
	}
	return s
}

const scoreTitle = "Why this score"

func reasons(n *sdk.Notice, known *strings.Replacer) section {
	s := section{Title: scoreTitle, More: n.LeftOut["lines"] + n.LeftOut["factors"]}
	for _, f := range n.Score.Factors {
		sum := points(f.Points) + " points"
		if f.Weight != "" {
			sum += " × " + line(f.Weight, 20)
		}
		s.Rows = append(s.Rows, row{Mark: "+ " + points(f.Share), Main: line(f.Label, maxShown), Detail: sum + combined(f), Strong: true})
		for i, l := range f.Lines {
			if i == maxRows {
				s.More += len(f.Lines) - maxRows
				break
			}
			counted := ""
			if l.Counted != l.Points {
				counted = "counts " + points(l.Counted)
			}
			s.Rows = append(s.Rows, row{Mark: points(l.Points), Main: known.Replace(text(l.Because)), Detail: details(own(l.Label), counted), Under: true})
		}
	}
	if len(s.Rows) > 0 {
		s.Rows = append(s.Rows, row{Mark: "= " + points(n.Score.Total), Main: "of 100", Strong: true})
	}
	return s
}

func combined(f sdk.NoticeFactor) string {
	if len(f.Lines) < 2 {
		return ""
	}
	switch f.Combine {
	case "max":
		return ", the highest of these"
	case "sum":
		return ", the sum of these, at most 100"
	case "decay":
		return ", each further one counting half"
	}
	return ""
}

func unknowns(n *sdk.Notice) section {
	s := section{Title: "What is not known", More: n.LeftOut["unknowns"]}
	for _, u := range n.Unknowns {
		why := u.Why
		if why == "" && u.State == "unknown" {
			why = "was asked and has nothing about it"
		}
		s.Rows = append(s.Rows, row{Mark: line(u.State, 12), Main: text(u.What), Detail: details(own(u.Source), text(why)), Tone: "open"})
	}
	return s
}

func actions(n *sdk.Notice) section {
	s := section{Title: "What was done", More: n.LeftOut["actions"], Empty: "Nothing so far."}
	for _, a := range n.Actions {
		at, until, dry, tone := "", "", "", ""
		if !a.At.IsZero() {
			at = clock(a.At)
		}
		if !a.UndoAt.IsZero() {
			until = "ends by itself at " + clock(a.UndoAt)
		}
		if a.DryRun {
			dry = "dry run: not really"
		}
		switch a.State {
		case "done", "already":
			tone = "good"
		case "failed", "refused":
			tone = "bad"
		case "unknown", "held back":
			tone = "open"
		}
		s.Rows = append(s.Rows, row{Mark: line(a.State, 12), Main: own(strings.ReplaceAll(a.Verb, "_", " ") + " " + a.Target), Detail: details(text(a.Message), at, until, dry), Tone: tone})
	}
	return s
}
