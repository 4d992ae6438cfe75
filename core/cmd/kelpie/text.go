package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"
	east "golang.org/x/text/width"

	"github.com/kelpie-sec/kelpie/sdk"
)

// width of a screen that shows every line of ours whole.
const width = 80

// safe makes text from outside harmless on a terminal: what would move the cursor,
// change colours or reverse the direction of writing is shown as an escape.
func safe(s string) string {
	clean := true
	for _, r := range s {
		if !harmless(r) {
			clean = false
			break
		}
	}
	if clean && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case harmless(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func harmless(r rune) bool {
	return r == '\n' || unicode.IsPrint(r)
}

// line is safe text without line breaks, cut to n columns.
func line(s string, n int) string {
	s = safe(strings.ReplaceAll(s, "\n", " "))
	if columns(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	head, _ := cut(s, n-1)
	return head + "…"
}

// columns that a text takes: a letter of East Asia and most pictures take two, and
// what joins the letter before it counts one as well, so that it cannot be without end.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r < 0x1100 {
		return 1
	}
	switch east.LookupRune(r).Kind() {
	case east.EastAsianWide, east.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut splits a text after at most n columns.
func cut(s string, n int) (head, rest string) {
	for i, r := range s {
		if n -= runeColumns(r); n < 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// pad fills s with spaces to n columns.
func pad(s string, n int) string {
	if k := n - columns(s); k > 0 {
		return s + strings.Repeat(" ", k)
	}
	return s
}

// wrap breaks text at spaces into lines of at most n columns; a longer word is cut.
func wrap(s string, n int) []string {
	n = max(n, 2) // any letter fits
	var lines []string
	current := ""
	for _, word := range strings.Fields(safe(s)) {
		for beyond(word, n) {
			if current != "" {
				lines, current = append(lines, current), ""
			}
			var head string
			head, word = cut(word, n)
			lines = append(lines, head)
			if word == "" {
				break
			}
		}
		switch {
		case word == "":
		case current == "":
			current = word
		case columns(current)+1+columns(word) <= n:
			current += " " + word
		default:
			lines, current = append(lines, current), word
		}
	}
	if current != "" {
		lines = append(lines, current)
	}
	return lines
}

// beyond tells whether a text takes more than n columns, without reading all of a long one.
func beyond(s string, n int) bool {
	_, rest := cut(s, n)
	return rest != ""
}

// indented prints text below a first column: first on the first line, spaces on the
// others.
func indented(w io.Writer, first, text string) {
	column := columns(first)
	for i, l := range wrap(text, width-column) {
		if i > 0 {
			first = strings.Repeat(" ", column)
		}
		fmt.Fprintln(w, first+l)
	}
}

// values lists observables on one line of n columns, and how many more there are.
func values(all []sdk.Observable, n int) string {
	text := ""
	for i, o := range all {
		next := o.Value
		if i > 0 {
			next = ", " + o.Value
		}
		more := ""
		if rest := len(all) - i - 1; rest > 0 {
			more = fmt.Sprintf(" +%d", rest)
		}
		if i > 0 && columns(text+next+more) > n {
			return line(text+fmt.Sprintf(" +%d", len(all)-i), n)
		}
		text += next
	}
	return line(text, n)
}

// several lists at most n observables with their kinds, and how many more there are.
func several(all []sdk.Observable, n int) string {
	var b strings.Builder
	for i, o := range all[:min(len(all), n)] {
		if i > 0 {
			b.WriteString(", ")
		}
		if o.Kind != "" {
			b.WriteString(o.Kind + " ")
		}
		b.WriteString(line(o.Value, width-20))
	}
	if len(all) > n {
		fmt.Fprintf(&b, " and %d more", len(all)-n)
	}
	return b.String()
}

// stamp is a time to the second in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// ago is how long before now t was, in one unit.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

// age is how old something was.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "new"
	case d < time.Hour:
		return plural(int(d.Minutes()), "minute") + " old"
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour") + " old"
	}
	return plural(int(d.Hours()/24), "day") + " old"
}

// plural is "1 case", "2 cases".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// printJSON prints indented JSON. What is not harmless on a terminal is escaped, which
// JSON's readers do not notice.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON escapes what is not harmless. In JSON that is only found within texts.
func escapeJSON(doc []byte) []byte {
	if !bytes.ContainsFunc(doc, func(r rune) bool { return !harmless(r) }) {
		return doc
	}
	out := make([]byte, 0, len(doc)+64)
	for _, r := range string(doc) {
		if harmless(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, u)
		}
	}
	return out
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func isTerminalInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
