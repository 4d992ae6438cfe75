package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

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
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	return string([]rune(s)[:n-1]) + "…"
}

// pad fills s with spaces to n columns.
func pad(s string, n int) string {
	if k := n - utf8.RuneCountInString(s); k > 0 {
		return s + strings.Repeat(" ", k)
	}
	return s
}

// wrap breaks text at spaces into lines of at most n columns; a longer word is cut.
func wrap(s string, n int) []string {
	var lines []string
	current := ""
	for _, word := range strings.Fields(safe(s)) {
		for utf8.RuneCountInString(word) > n {
			if current != "" {
				lines, current = append(lines, current), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:n])), string(r[n:])
		}
		switch {
		case current == "":
			current = word
		case utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) <= n:
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

// indented prints text below a first column: first on the first line, spaces on the
// others.
func indented(w io.Writer, first, text string) {
	column := utf8.RuneCountInString(first)
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
		if i > 0 && utf8.RuneCountInString(text+next+more) > n {
			return text + fmt.Sprintf(" +%d", len(all)-i)
		}
		text += next
	}
	return line(text, n)
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

// plural is "1 case", "2 cases".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
