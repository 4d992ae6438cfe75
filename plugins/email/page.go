package main

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of what a mail shows; a case has more.
const (
	maxRows    = 20
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
	Text    []string // the operator's paragraphs
	Plainly string
	Asked   string
	Options []row

	Score   string // "87.5"
	Percent int
	Level   string // "high", "medium", "low"
	Upper   string // "95": what it could become; "" if that is the same
	Facts   []fact

	Sections []section
	Because  string
	Link     string
}

type fact struct{ Name, Value string }

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
}

// newPage makes a page of the parameters of notify.
func newPage(given *parameters, repeat bool) (*page, error) {
	p := &page{Repeat: repeat, Subject: shorten(text(given.Subject), maxSubject)}
	for paragraph := range strings.SplitSeq(shorten(given.Text, maxText), "\n") {
		if paragraph = text(paragraph); paragraph != "" {
			p.Text = append(p.Text, paragraph)
		}
	}
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
	p.fill(&n)
	return p, nil
}

func (p *page) fill(n *sdk.Notice) {
	known := sources(n)
	p.Case, p.Title, p.DryRun = line(n.Case, 100), shorten(text(n.Title), maxShown), n.DryRun
	if p.Title == "" {
		p.Title = "A case without a title"
	}
	p.Plainly, p.Asked, p.Because = text(n.Plainly), text(n.Asked), known.Replace(text(n.Because))
	for _, o := range n.Options {
		r := row{Mark: line(o.Name, 60), Main: text(o.Summary)}
		if o.NeedsReason {
			r.Detail = "needs a reason"
		}
		p.Options = append(p.Options, r)
	}
	p.Score, p.Percent = points(n.Score.Total), min(max(int(n.Score.Total), 0), 100)
	p.Level = level(p.Percent)
	if n.Score.Upper > n.Score.Total {
		p.Upper = points(n.Score.Upper)
	}
	p.Facts = facts(n)
	if u, err := url.Parse(n.Link); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil {
		p.Link = u.String()
	}
	p.Sections = []section{affected(n), evidence(n), timeline(n), reasons(n, known), unknowns(n), actions(n)}
	for i := range p.Sections {
		s := &p.Sections[i]
		if over := len(s.Rows) - maxRows; over > 0 && s.Title != scoreTitle {
			s.Rows, s.More = s.Rows[:maxRows], s.More+over
		}
	}
	p.Sections = slices.DeleteFunc(p.Sections, func(s section) bool { return len(s.Rows) == 0 && s.Empty == "" })
}

// subjectLine is the mail's subject: prefix, warnings, score, title.
func (p *page) subjectLine(prefix string) string {
	var parts []string
	if prefix = line(prefix, 40); prefix != "" {
		parts = append(parts, prefix)
	}
	if p.Repeat {
		parts = append(parts, "Possible repeat:")
	}
	if p.Score != "" {
		parts = append(parts, "Score "+p.Score+":")
	}
	title := p.Subject
	if title == "" {
		title = p.Title
	}
	return shorten(strings.Join(append(parts, title), " "), maxSubject)
}
