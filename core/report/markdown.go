package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Markdown writes a report as CommonMark.
func Markdown(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", mark(r.Title))
	for _, p := range r.Lead {
		fmt.Fprintf(&b, "%s\n\n", mark(p))
	}
	for _, f := range r.Facts {
		fmt.Fprintf(&b, "- **%s**: %s\n", mark(f.Name), mark(f.Text))
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", mark(s.Heading))
		if len(s.Entries) == 0 {
			fmt.Fprintf(&b, "%s\n", mark(s.Empty))
		}
		for _, e := range s.Entries {
			b.WriteString("- ")
			if e.When != "" {
				b.WriteString(mark(e.When) + " ")
			}
			if e.Mark != "" {
				b.WriteString("**" + mark(e.Mark) + "** ")
			}
			b.WriteString(mark(e.Text) + "\n")
			for _, d := range e.Details {
				b.WriteString("  - " + mark(d) + "\n")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mark is a text that Markdown shows as it is, in one line: nothing in it is markup, a
// link, or HTML.
func mark(text string) string {
	var b strings.Builder
	for _, r := range plain(text) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_{}[]#|!~$@", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ':' || r == '.':
			b.WriteRune(r)
			continue
		default:
			b.WriteRune(r)
		}
	}
	out := b.String()
	// What begins a list or a link by itself does not.
	if out != "" && strings.ContainsRune("-+=", rune(out[0])) {
		out = `\` + out
	}
	return strings.NewReplacer("://", `\://`, "www.", `www\.`).Replace(out)
}

// plain is a text without what can't be seen: a line break is a space, anything else that
// would move or turn what stands beside it is shown by its number.
func plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, "<%04x>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
