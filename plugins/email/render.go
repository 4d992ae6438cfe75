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
	askNote    = "A button opens a page that shows this again and asks you to confirm; nothing is done before."
	textNote   = "A link opens a page that shows this again and asks you to confirm; nothing is done before."
	yoursNote  = "The links are for you alone: do not forward this mail."
)

// The templates show them too.
func (*page) RepeatNote() string { return repeatNote }
func (*page) DryRunNote() string { return dryRunNote }
func (*page) LinkNote() string   { return linkNote }
func (*ask) Note() string        { return askNote + " " + yoursNote }

// Yours tells that the mail has links for its reader alone.
func (p *page) Yours() string {
	for _, c := range p.Cases {
		if c.Link != "" {
			return yoursNote
		}
	}
	return ""
}

// Rest tells how many previews are not shown.
func (a *ask) Rest() string { return section{More: a.More}.Rest() }

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
