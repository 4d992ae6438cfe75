package main

import (
	_ "embed"
	"html/template"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// columns of the plain text.
const columns = 76

//go:embed mail.html
var mailHTML string

// pageHTML is the HTML rendering; html/template escapes every value for its place.
var pageHTML = template.Must(template.New("mail").Parse(mailHTML))

// render lays the page out as text and as HTML.
func (p *page) render() (text, html string, err error) {
	var out strings.Builder
	if err := pageHTML.Execute(&out, p); err != nil {
		return "", "", err
	}
	return p.plain(), out.String(), nil
}

const (
	repeatNote = "Possible repeat: an earlier attempt to send this mail may have reached you. It is the same case and the same message."
	dryRunNote = "Dry run: Kelpie is set to plan actions and to do none of them."
	linkNote   = "Addresses that others wrote are shown so that nobody opens them by accident: hxxp for http, [.] for a dot."
)

// The templates show them too.
func (*page) RepeatNote() string { return repeatNote }
func (*page) DryRunNote() string { return dryRunNote }
func (*page) LinkNote() string   { return linkNote }

func (p *page) plain() string {
	var out strings.Builder
	block := func(first, rest, text string) {
		if width(first) > width(rest) {
			out.WriteString(strings.TrimRight(first, " ") + "\n")
			first = rest
		}
		for i, line := range wrap(text, columns-width(rest)) {
			if i == 0 {
				out.WriteString(first + line + "\n")
			} else {
				out.WriteString(rest + line + "\n")
			}
		}
	}
	paragraph := func(text string) {
		if text != "" {
			block("", "", text)
			out.WriteString("\n")
		}
	}
	if p.Repeat {
		paragraph("*** " + repeatNote + " ***")
	}
	if p.DryRun {
		paragraph("*** " + dryRunNote + " ***")
	}
	block("", "", p.Title)
	out.WriteString(strings.Repeat("=", min(columns, width(p.Title))) + "\n\n")
	for _, text := range p.Text {
		if text != p.Title {
			paragraph(text)
		}
	}
	if p.Score != "" {
		score := p.Score + " of 100 (" + p.Level + ")"
		if p.Upper != "" {
			score += "; could become " + p.Upper + " with what is not known"
		}
		block(cell("Score", 18), cell("", 18), score)
		for _, f := range p.Facts {
			block(cell(f.Name, 18), cell("", 18), f.Value)
		}
		out.WriteString("\n")
	}
	paragraph(p.Plainly)
	if p.Asked != "" || len(p.Options) > 0 {
		out.WriteString("WHAT IS ASKED OF YOU\n\n")
		if p.Asked != "" {
			block("  ", "  ", p.Asked)
		}
		for _, o := range p.Options {
			block(cell("  "+o.Mark, 18), cell("", 18), join(o.Main, o.Detail))
		}
		out.WriteString("\n")
	}
	for _, s := range p.Sections {
		p.plainSection(&out, block, s)
	}
	if p.Link != "" {
		out.WriteString("The case in Kelpie: " + p.Link + "\n\n")
	}
	out.WriteString("-- \n")
	if p.Because != "" {
		block("", "", "You get this because: "+p.Because)
	}
	block("", "", linkNote)
	return out.String()
}

func (p *page) plainSection(out *strings.Builder, block func(first, rest, text string), s section) {
	out.WriteString(strings.ToUpper(s.Title) + "\n\n")
	size := 10
	for _, r := range s.Rows {
		size = max(size, min(width(r.Mark)+2, 22))
	}
	if len(s.Rows) == 0 {
		block("  ", "  ", s.Empty)
	}
	for _, r := range s.Rows {
		indent := "  "
		if r.Under {
			indent = "    "
		}
		block(cell(indent+r.Mark, size+2), cell("", size+2), r.Main)
		if r.Detail != "" {
			rest := cell("", size+2)
			block(rest, rest, r.Detail)
		}
	}
	if s.More > 0 {
		block("  ", "  ", more(s.More))
	}
	out.WriteString("\n")
}

// Rest tells how many rows are not shown.
func (s section) Rest() string {
	if s.More == 0 {
		return ""
	}
	return more(s.More)
}

func more(n int) string {
	if n == 1 {
		return "and one more that is not shown here"
	}
	return "and " + strconv.Itoa(n) + " more that are not shown here"
}

func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + " (" + b + ")"
}

// cell fills a text with spaces up to a width, and leaves one at least.
func cell(text string, size int) string {
	return text + strings.Repeat(" ", max(1, size-width(text)))
}

// wrap breaks a text at spaces, and words that are too long anywhere.
func wrap(text string, most int) []string {
	most = max(most, 20)
	var lines []string
	current := ""
	for word := range strings.FieldsSeq(text) {
		if current != "" && width(current)+1+width(word) <= most {
			current += " " + word
			continue
		}
		if current != "" {
			lines = append(lines, current)
		}
		for width(word) > most {
			end, taken := 0, 0
			for end < len(word) {
				r, size := utf8.DecodeRuneInString(word[end:])
				if taken += runeWidth(r); taken > most {
					break
				}
				end += size
			}
			lines = append(lines, word[:end])
			word = word[end:]
		}
		current = word
	}
	if current != "" || len(lines) == 0 {
		lines = append(lines, current)
	}
	return lines
}

// width in a terminal, roughly.
func width(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || r >= 0x1f300 && r <= 0x1faff || r >= 0xff01 && r <= 0xff60:
		return 2
	}
	return 1
}
