package manual

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/kelpie-sec/kelpie/sdk"
)

// page is a text in Markdown, as GitHub and others read it.
type page struct{ bytes.Buffer }

func (w *page) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// table begins a table with these columns.
func (w *page) table(columns ...string) {
	w.line("\n| %s |\n|%s", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
}

// row of a table. The cells are Markdown.
func (w *page) row(cells ...string) {
	for i, c := range cells {
		cells[i] = cell(c)
	}
	w.line("| %s |", strings.Join(cells, " | "))
}

// cell makes Markdown fit into a table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}

// fence shows a text of several lines as it is.
func (w *page) fence(language, text string) {
	ticks := strings.Repeat("`", max(3, longestRun(text)+1))
	w.line("\n%s%s", ticks, language)
	for l := range strings.Lines(text) {
		l = strings.ReplaceAll(strings.TrimRight(l, "\r\n"), "\t", "  ")
		w.line("%s", strings.TrimRight(sdk.Visible(l), " "))
	}
	w.line("%s", ticks)
}

// code shows a text from outside as it is, on one line.
func code(text string) string {
	text = visible(text)
	if text == "" {
		return none
	}
	ticks := strings.Repeat("`", longestRun(text)+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return ticks + text + ticks
}

// codes are several of them.
func codes(all []string) string {
	shown := make([]string, len(all))
	for i, text := range all {
		shown[i] = code(text)
	}
	return strings.Join(shown, ", ")
}

// none stands where there is nothing to show.
const none = "–"

func visible(text string) string { return sdk.Visible(strings.Join(strings.Fields(text), " ")) }

// longestRun is how many backticks stand together in a text.
func longestRun(text string) int {
	longest, run := 0, 0
	for _, r := range text {
		if r == '`' {
			run++
		} else {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// prose is running text from outside on one line: nothing in it is Markdown or HTML,
// and nothing becomes a link. Words that look like code are shown as code, which also
// reads better.
func prose(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = word(sdk.Visible(w))
	}
	text = strings.Join(words, " ")
	if at := listMark.FindStringIndex(text); at != nil { // it would begin a list, or a line
		return text[:at[1]-1] + `\` + text[at[1]-1:]
	}
	return text
}

var listMark = regexp.MustCompile(`^([-+=:]|[0-9]+[.)])`)

// meaningful are the characters that Markdown, or something that reads it, may take
// for more than themselves.
const meaningful = "\\`*_[]<>{}|~&$#^"

func word(w string) string {
	core := strings.TrimLeft(w, `("'`)
	lead := w[:len(w)-len(core)]
	core = strings.TrimRight(core, `.,;:!?)"'`)
	trail := w[len(lead)+len(core):]
	if !strings.ContainsFunc(core, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return escaped(w)
	}
	if codeLike.MatchString(core) {
		return lead + code(core) + trail
	}
	return escaped(w)
}

// codeLike are words that somebody would have to type, and those that programs make
// links of.
var codeLike = regexp.MustCompile("[_@\\\\`<>\\[\\]{}*|$~^=]|://|(?i:^www\\.|^mailto:)|[\\pL\\pN]\\.[\\pL]")

func escaped(w string) string {
	if !strings.ContainsAny(w, meaningful) {
		return w
	}
	var b strings.Builder
	for _, r := range w {
		if strings.ContainsRune(meaningful, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
