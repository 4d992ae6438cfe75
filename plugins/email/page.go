package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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

// line is a short value of ours or of the organisation's own data, which stays as it is
// known there. Only what is a link outright is defanged.
func line(s string, most int) string {
	s = sdk.Visible(strings.TrimSpace(s))
	if strings.Contains(s, ":") || strings.Contains(strings.ToLower(s), "www.") {
		s = sdk.DefangedText(s)
	}
	return shorten(s, most)
}

func own(s string) string { return line(s, maxShown) }

// text is prose in which anybody may have written.
func text(s string) string {
	return shorten(sdk.DefangedText(sdk.Visible(strings.TrimSpace(s))), sdk.MaxNoticeText)
}

// details joins what is there of parts that are safe to show.
func details(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return shorten(strings.Join(parts, " · "), 4*maxShown)
}

// sources restores the addresses of our blocks in prose; only the core names them.
func sources(n *sdk.Notice) *strings.Replacer {
	var pairs []string
	add := func(source string) {
		if kind, name, ok := strings.Cut(source, "."); ok && isWord(kind) && isWord(name) {
			pairs = append(pairs, kind+"[.]"+name, source)
		}
	}
	for _, v := range n.Verdicts {
		add(v.Source)
	}
	for _, s := range n.Signals {
		add(s.Source)
	}
	for _, u := range n.Unknowns {
		add(u.Source)
	}
	response, _, _ := strings.Cut(n.Because, ":")
	if strings.HasPrefix(response, "response.") {
		add(response)
	}
	return strings.NewReplacer(pairs...)
}

func isWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// harmless defangs what would become a link.
func harmless(o sdk.NoticeObservable) string {
	switch o.Kind {
	case sdk.Domain, sdk.URL, sdk.Email, sdk.IP, sdk.Host:
		return sdk.Defanged(o.Value)
	}
	return sdk.DefangedText(o.Value)
}

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + own(value)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

// points are exact to hundredths.
func points(p float64) string {
	return strconv.FormatFloat(math.Round(min(max(p, -1e6), 1e6)*100)/100, 'f', -1, 64)
}

func level(percent int) string {
	switch {
	case percent >= 70:
		return "high"
	case percent >= 40:
		return "medium"
	}
	return "low"
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }

func sameDay(a, b time.Time) bool {
	return a.UTC().Format(time.DateOnly) == b.UTC().Format(time.DateOnly)
}

func span(from, to time.Time) string {
	switch {
	case to.IsZero() || to.Equal(from):
		return clock(from)
	case sameDay(from, to):
		return from.UTC().Format("2006-01-02 15:04:05") + " to " + to.UTC().Format("15:04:05") + " UTC"
	}
	return clock(from) + " to " + clock(to)
}
