package config

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/mitchellh/go-wordwrap"
)

// width of what is printed for people.
const width = 80

// Listing gives the files' texts by the names that diagnostics have for them.
func (s *Source) Listing() map[string]string {
	out := map[string]string{}
	if s != nil {
		for _, f := range s.Files {
			out[s.shown(f.Name)] = f.Text
		}
	}
	return out
}

// WriteText prints diagnostics for a person, 80 columns wide: what, where, the line
// itself, and what to write instead. files gives the texts by name; of one that is
// not in it no line is shown. Colour is for terminals.
func WriteText(w io.Writer, diags Diagnostics, files map[string]string, colour bool) error {
	return WriteMessages(w, Messages(diags, files), colour)
}

// WriteMessages prints what Messages gave, in this process or in another, as WriteText
// would.
func WriteMessages(w io.Writer, messages []Message, colour bool) error {
	var b strings.Builder
	for i := range messages {
		messages[i].text(&b, colour)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printer shows places in files.
type printer struct {
	files  map[string]string
	bodies map[string]*hclsyntax.Body // parsed when needed
}

func (m *Message) text(b *strings.Builder, colour bool) {
	start, reset := "", ""
	if colour {
		reset = "\x1b[0m"
		start = "\x1b[1;31m"
		if m.Severity == warning {
			start = "\x1b[1;33m"
		}
	}
	fmt.Fprintf(b, "%s%s:%s %s\n", start, sentence(clean(m.Severity)), reset, clean(m.Summary))
	if m.Line > 0 {
		in := clean(m.In)
		if in != "" {
			in = ", in " + in
		}
		where := []rune("  " + clean(m.File) + ":" + strconv.Itoa(m.Line) + ":" + strconv.Itoa(m.Column) + in)
		if len(where) > width {
			where = append(where[:width-1], '…')
		}
		fmt.Fprintf(b, "%s\n", string(where))
		m.snippet(b)
	}
	if detail := clean(m.Detail); detail != "" {
		for _, part := range strings.Split(detail, "\n") {
			indent := "  "
			if strings.HasPrefix(part, "- ") { // of a list
				indent = "    "
			}
			text := wordwrap.WrapString(part, width-uint(len(indent)))
			fmt.Fprintf(b, "  %s\n", strings.ReplaceAll(text, "\n", "\n"+indent))
		}
	}
	b.WriteString("\n")
}

const warning = "warning"

func severity(d *hcl.Diagnostic) string {
	if d.Severity == hcl.DiagWarning {
		return warning
	}
	return "error"
}

// context is the block around a place, and the blocks around that, as their headers
// are written.
func (p printer) context(at *hcl.Range) string {
	body, ok := p.bodies[at.Filename]
	if !ok {
		if text, found := p.files[at.Filename]; found && !tooDeep([]byte(text)) {
			file, _ := hclsyntax.ParseConfig([]byte(text), at.Filename, hcl.InitialPos)
			if file != nil {
				body, _ = file.Body.(*hclsyntax.Body)
			}
		}
		p.bodies[at.Filename] = body
	}
	var titles []string
	for body != nil {
		var inner *hclsyntax.Body
		for _, block := range body.Blocks {
			if block.TypeRange.Start.Byte <= at.Start.Byte && at.Start.Byte <= block.CloseBraceRange.End.Byte {
				titles = append(titles, titleOf(block))
				inner = block.Body
				break
			}
		}
		body = inner
	}
	return clean(strings.Join(titles, ", "))
}

// lineOf is the line of a diagnostic's place, without what is hidden, and which of
// its columns are meant.
func lineOf(d *hcl.Diagnostic, files map[string]string) (line string, from, to int, ok bool) {
	text, found := files[d.Subject.Filename]
	h, _ := d.Extra.(hidden)
	start := d.Subject.Start.Byte
	if !found || h.all || start < 0 || start > len(text) {
		return "", 0, 0, false
	}
	first := strings.LastIndexByte(text[:start], '\n') + 1
	last := len(text)
	if i := strings.IndexByte(text[start:], '\n'); i >= 0 {
		last = start + i
	}
	end := min(max(d.Subject.End.Byte, start+1), last)
	line = strings.TrimSuffix(text[first:last], "\r")
	from, to = start-first, max(end-first, start-first)
	cut := hiddenFrom(line)
	if p := h.part; p.Filename == d.Subject.Filename && p.Start.Byte >= first && p.Start.Byte <= last && p.Start.Byte < p.End.Byte {
		if c := p.Start.Byte - first; cut < 0 || c < cut {
			cut = c
		}
	}
	if cut >= 0 && cut <= len(line) {
		line = line[:cut] + "…"
		from, to = min(from, cut), min(to, cut)
	}
	return line, from, min(to, len(line)), true
}

// secretish is a line that gives a value to what sounds like a secret.
var secretish = regexp.MustCompile(`(?i)(secret|token|passw|passphrase|api_?key|private_?key|credential|authorization|cookie)[\w"-]*\s*[=:]\s*`)

// hiddenFrom is where a line begins to hold what may be a secret, or -1. A call of
// secret() is none.
func hiddenFrom(line string) int {
	at := secretish.FindStringIndex(line)
	if at == nil {
		return -1
	}
	if rest := line[at[1]:]; strings.HasPrefix(rest, "secret(") || strings.HasPrefix(rest, "=") {
		return -1
	}
	return at[1]
}

// snippet prints the line that is meant, and marks the part.
func (m *Message) snippet(b *strings.Builder) {
	line, from, to := m.Snippet, m.Mark[0], m.Mark[1]
	if from < 0 || from > to || to > len(line) || from == 0 && to == 0 && line == "" {
		return
	}
	number := strconv.Itoa(m.Line)
	before, marked, after := clean(line[:from]), clean(line[from:to]), clean(line[to:])
	room := width - 5 - len(number)
	// A long line is shown around its mark.
	if n := runes(before) + min(runes(marked), room/2); n > room-4 {
		cut := []rune(before)
		before = "…" + string(cut[min(len(cut), n-room+8):])
	}
	shown := []rune(before + marked + after)
	if len(shown) > room {
		shown = append(shown[:room-1], '…')
	}
	fmt.Fprintf(b, "  %s | %s\n", number, strings.TrimRight(string(shown), " "))
	carets := min(max(1, runes(marked)), max(1, len(shown)-runes(before)))
	fmt.Fprintf(b, "  %s | %s%s\n", strings.Repeat(" ", len(number)), strings.Repeat(" ", runes(before)), strings.Repeat("^", carets))
}

func runes(s string) int { return len([]rune(s)) }

// clean makes a text harmless for a terminal: no controls, nothing that turns the
// direction of writing.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == 0x2028, r == 0x2029:
			return '\uFFFD'
		}
		return r
	}, s)
}

// Message is a diagnostic as JSON.
type Message struct {
	Severity string `json:"severity"` // "error", "warning"
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	File     string `json:"file,omitempty"`
	// Line and Column count from 1; the end is behind the last character.
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	EndLine   int    `json:"end_line,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
	In        string `json:"in,omitempty"`      // the block around it
	Snippet   string `json:"snippet,omitempty"` // the line; absent where it may hold a secret
	// Mark is the part of Snippet that is meant, in bytes: from, and behind the last.
	Mark [2]int `json:"mark,omitzero"`
}

// Messages makes diagnostics ready for JSON.
func Messages(diags Diagnostics, files map[string]string) []Message {
	p := printer{files: files, bodies: map[string]*hclsyntax.Body{}}
	out := make([]Message, 0, len(diags))
	for _, d := range diags {
		m := Message{Severity: severity(d), Summary: d.Summary, Detail: d.Detail}
		if d.Subject != nil {
			m.File = d.Subject.Filename
			m.Line, m.Column = d.Subject.Start.Line, d.Subject.Start.Column
			m.EndLine, m.EndColumn = d.Subject.End.Line, d.Subject.End.Column
			m.In = p.context(d.Subject)
			line, from, to, ok := lineOf(d, files)
			if ok {
				m.Snippet, m.Mark = line, [2]int{from, to}
			}
		}
		out = append(out, m)
	}
	return out
}

// WriteJSON prints diagnostics for programs: a list of Message.
func WriteJSON(w io.Writer, diags Diagnostics, files map[string]string) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(Messages(diags, files))
}
