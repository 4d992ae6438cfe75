package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// told is one of several cases in one mail.
type told struct {
	Case    string
	Title   string
	Score   string
	Level   string
	Detail  string
	Ask     string
	Link    string // of the page where to answer
	Command string // where there is none
}

// gather fills a page about several cases.
func (p *page) gather(n *sdk.Notice, now time.Time) {
	count := max(n.GatheredCount, len(n.Gathered))
	questions := 0
	for _, c := range n.Gathered[:min(len(n.Gathered), maxGathered)] {
		t := told{
			Case: line(c.Case, 100), Title: first(shorten(text(c.Title), maxShown), "A case without a title"),
			Score: points(c.Score), Level: level(int(c.Score)), Ask: short(c.Asked), Link: link(c.Answer),
		}
		subjects := make([]string, 0, len(c.Subjects))
		for _, s := range c.Subjects[:min(len(c.Subjects), 5)] {
			subjects = append(subjects, short(s))
		}
		t.Detail = details(strings.Join(subjects, ", "), fmt.Sprintf("severity %d", min(max(c.Severity, 0), 100)), opened(now, c.OpenedAt), t.Case)
		if c.Question != "" {
			questions++
			if t.Ask == "" {
				t.Ask = "Please choose what is to be done."
			}
			if t.Link == "" && isName(c.Question) {
				t.Command = "kelpie question show " + c.Question
			}
		}
		p.Cases = append(p.Cases, t)
	}
	p.Facts = []fact{{Name: "Cases", Value: fmt.Sprint(count)}}
	if questions > 0 {
		p.Facts = append(p.Facts, fact{Name: "With a question", Value: fmt.Sprint(questions), Tone: "open"})
	}
	p.Sections = []section{{Title: casesTitle, More: count - len(p.Cases)}}
	if worst := p.Cases[0]; worst.Score != "" {
		p.Level = worst.Level
	}
}

const (
	casesTitle  = "The cases, the worst first"
	maxGathered = 30
)

func opened(now, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return "opened " + ago(now, at)
}
