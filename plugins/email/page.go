package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of what a mail shows; a case has more. A mail of 102 KB and more is cut by
// some programs.
const (
	maxRows    = 10  // of a section
	maxPeople  = 4   // machines and people in full
	maxShown   = 400 // bytes of one value
	maxSubject = 160 // bytes of a subject
	maxText    = 8 << 10
)

// page is what a mail says, in texts that are already safe to show: what is not seen
// is made visible, what would become a link is defanged. The two renderings only lay
// it out.
type page struct {
	Case    string
	Title   string
	Subject string
	Repeat  bool
	DryRun  bool
	Plainly string
	Text    []string // the operator's paragraphs
	Ask     *ask     // nil: nothing is asked

	Score   string // "87.5"
	Percent int
	Level   string // "high", "medium", "low"
	Upper   string // "95": what it could become; "" if that is the same
	Bar     []segment
	Facts   []fact

	Cases    []told // of a mail about several
	Sections []section
	Because  string
	Link     string

	// Thread names what the mails of one case have in common, Joined the same of cases
	// that have become part of it. They are not for showing.
	Thread string
	Joined []string
}

type fact struct{ Name, Value, Tone string }

// section is a list under a heading.
type section struct {
	Title string
	Rows  []row
	More  int    // rows that are not shown
	Empty string // shown instead of no rows; "": the section is left out
}

// row has a short mark, a text, and details that matter less.
type row struct {
	Mark   string
	Main   string
	Detail string
	Under  bool // belongs to the row above
	Strong bool
	Tone   string // "bad", "open", "good" or none
	// Facts, and beside them the state that it is in.
	Facts, State []fact
	// Part of the score, of 100, and the colour of its bar; "": none.
	Part  int
	Color string
	Sign  string // that stands for the colour where there is none
}

// newPage makes a page of the parameters of notify, as of now. Names under the domain
// ours are the organisation's own.
func newPage(given *parameters, repeat bool, now time.Time, ours string) (*page, error) {
	p := &page{Repeat: repeat, Subject: shorten(text(given.Subject), maxSubject)}
	p.paragraphs(given.Text)
	if given.Notice == nil {
		if p.Subject == "" && len(p.Text) == 0 {
			return nil, errors.New("there is nothing to say: no notice, no subject, no text")
		}
		if p.Title = p.Subject; p.Title == "" {
			p.Title = shorten(p.Text[0], maxSubject)
		}
		return p, nil
	}
	n, err := sdk.ParseNotice(given.Notice)
	if err != nil {
		return nil, err
	}
	if p.Subject == "" {
		p.Subject = shorten(text(n.Subject), maxSubject)
	}
	p.paragraphs(n.Text)
	p.fill(&n, now, ours)
	return p, nil
}

func (p *page) paragraphs(written string) {
	for paragraph := range strings.SplitSeq(shorten(written, maxText), "\n") {
		if paragraph = text(paragraph); paragraph != "" {
			p.Text = append(p.Text, paragraph)
		}
	}
}

func (p *page) fill(n *sdk.Notice, now time.Time, ours string) {
	known := sources(n)
	p.Title, p.DryRun = shorten(text(n.Title), maxShown), n.DryRun
	if p.Title == "" {
		p.Title = "A case without a title"
	}
	p.Plainly, p.Because = text(n.Plainly), known.Replace(text(n.Because))
	p.Link, p.Thread, p.Joined = link(n.Link), n.Thread, n.Joined
	if len(n.Gathered) > 0 {
		p.gather(n, now)
		return
	}
	p.Thread = first(n.Thread, n.Case)
	p.Case = line(n.Case, 100)
	p.Ask = newAsk(n, now)
	p.Score, p.Percent = points(n.Score.Total), min(max(int(n.Score.Total), 0), 100)
	p.Level = level(p.Percent)
	if n.Score.Upper > n.Score.Total {
		p.Upper = points(n.Score.Upper)
	}
	p.Bar = bar(&n.Score)
	p.Facts = facts(n, now)
	p.Sections = []section{affected(n, now, ours), reasons(n, known, now), evidence(n, now), timeline(n), unknowns(n), actions(n, now)}
	for i := range p.Sections {
		s := &p.Sections[i]
		if over := len(s.Rows) - maxRows; over > 0 && s.Title != scoreTitle {
			s.Rows, s.More = s.Rows[:maxRows], s.More+over
		}
	}
	p.Sections = slices.DeleteFunc(p.Sections, func(s section) bool { return len(s.Rows) == 0 && s.Empty == "" })
}

// subjectLine is the mail's subject: prefix, warning, title. It says nothing that
// changes from one mail of a case to the next, such as the score: some programs join
// only mails with the same subject.
func (p *page) subjectLine(prefix string) string {
	var parts []string
	if prefix = line(prefix, 40); prefix != "" {
		parts = append(parts, prefix)
	}
	if p.Repeat {
		parts = append(parts, "Possible repeat:")
	}
	return shorten(strings.Join(append(parts, first(p.Subject, p.Title)), " "), maxSubject)
}

// Preheader is what a list of mails shows after the subject.
func (p *page) Preheader() string {
	var parts []string
	if p.Score != "" {
		parts = append(parts, "Score "+p.Score+" of 100")
	}
	if p.Ask != nil {
		parts = append(parts, first(p.Ask.Text, p.Ask.Time))
	}
	return shorten(strings.Join(append(parts, p.Plainly), " · "), 200)
}
