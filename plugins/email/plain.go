package main

import "strings"

// writer lays out plain text.
type writer struct{ strings.Builder }

// block writes a text after first, its further lines after rest. A first that is wider
// than rest gets a line of its own.
func (w *writer) block(first, rest, text string) {
	if width(first) > width(rest) {
		for _, line := range wrap(first, columns-2) {
			w.WriteString("  " + line + "\n")
		}
		first = rest
	}
	for i, line := range wrap(text, columns-width(rest)) {
		if i == 0 {
			w.WriteString(first + line + "\n")
		} else {
			w.WriteString(rest + line + "\n")
		}
	}
}

func (w *writer) paragraph(text string) {
	if text != "" {
		w.block("", "", text)
		w.WriteString("\n")
	}
}

// heading of a section.
func (w *writer) heading(title string) { w.WriteString(strings.ToUpper(title) + "\n\n") }

// address writes a link on a line of its own, since it must not be broken.
func (w *writer) address(indent, link string) {
	if link != "" {
		w.WriteString(indent + link + "\n")
	}
}

func (p *page) plain() string {
	var w writer
	if p.Repeat {
		w.paragraph("*** " + repeatNote + " ***")
	}
	if p.DryRun {
		w.paragraph("*** " + dryRunNote + " ***")
	}
	w.block("", "", p.Title)
	w.WriteString(strings.Repeat("=", min(columns, width(p.Title))) + "\n\n")
	w.paragraph(p.Plainly)
	for _, text := range p.Text {
		if text != p.Title {
			w.paragraph(text)
		}
	}
	w.score(p)
	w.facts(p.Facts)
	if p.Ask != nil {
		w.ask(p.Ask)
	}
	for _, s := range p.Sections {
		w.section(p, s)
	}
	if p.Link != "" {
		w.WriteString("Open in Kelpie:\n")
		w.address("  ", p.Link)
		w.WriteString("\n")
	}
	w.WriteString("-- \n")
	if p.Because != "" {
		w.block("", "", "You get this because: "+p.Because)
	}
	if yours := p.Yours(); yours != "" {
		w.block("", "", yours)
	}
	w.block("", "", linkNote)
	return w.String()
}

// factSize is the column where values of facts begin.
const factSize = 18

func (w *writer) facts(facts []fact) {
	for _, f := range facts {
		w.block(cell(f.Name, factSize), cell("", factSize), f.Value)
	}
	if len(facts) > 0 {
		w.WriteString("\n")
	}
}

// score is the bar of reasons with its words.
func (w *writer) score(p *page) {
	if p.Score == "" {
		return
	}
	score := p.Score + " of 100 (" + p.Level + ")"
	if p.Upper != "" {
		score += "; could become " + p.Upper
	}
	w.block(cell("Score", factSize), cell("", factSize), score)
	if len(p.Bar) == 0 {
		return
	}
	const size = 50
	var line strings.Builder
	var words []string
	done := 0
	for _, s := range p.Bar {
		if s.Words != "" {
			words = append(words, s.Sign+" "+s.Words+" "+s.Points)
		}
		done += s.Percent
		line.WriteString(strings.Repeat(s.Sign, max(0, done*size/100-line.Len())))
	}
	w.WriteString(cell("", factSize) + "[" + line.String() + "]\n")
	if len(words) > 0 {
		w.block(cell("", factSize), cell("", factSize), strings.Join(words, ",  "))
	}
}

func (w *writer) ask(a *ask) {
	w.heading("What is asked of you")
	w.block("  ", "  ", a.Text)
	if a.Time != "" {
		w.block("  ", "  ", a.Time)
	}
	w.WriteString("\n")
	if len(a.Previews) > 0 {
		w.WriteString("  What it would do, by a dry run:\n")
		for _, r := range a.Previews {
			w.row(r, 12)
		}
		if a.More > 0 {
			w.block("    ", "    ", more(a.More))
		}
		w.WriteString("\n")
	}
	size := 12
	for _, o := range a.Options {
		size = max(size, min(width(o.Name)+4, 20))
	}
	indent := cell("", size)
	for _, o := range a.Options {
		w.block(cell("  "+o.Name, size), indent, first(join(o.Summary, o.Reason), o.Label))
		w.address(indent, o.Link)
		w.address(indent, o.Command)
	}
	w.address("  ", a.Answer)
	if a.Linked {
		w.WriteString("\n")
		w.block("  ", "  ", textNote+" "+yoursNote)
	}
	if a.Command != "" {
		w.block("  ", "  ", "Without the links: "+a.Command)
	}
	w.WriteString("\n")
}

func (w *writer) section(p *page, s section) {
	w.heading(s.Title)
	if s.Title == casesTitle {
		for _, c := range p.Cases {
			w.told(c)
		}
	}
	size := 10
	for _, r := range s.Rows {
		size = max(size, min(width(r.Mark)+2, 22))
	}
	if len(s.Rows) == 0 && s.Empty != "" {
		w.block("  ", "  ", s.Empty)
	}
	for i, r := range s.Rows {
		if len(r.Facts)+len(r.State) > 0 {
			w.card(r)
			if i < len(s.Rows)-1 {
				w.WriteString("\n")
			}
			continue
		}
		w.row(r, size)
	}
	if s.More > 0 {
		w.block("  ", "  ", more(s.More))
	}
	w.WriteString("\n")
}

func (w *writer) row(r row, size int) {
	mark, main := "  "+r.Mark, r.Main
	if r.Under {
		mark = "  " + mark
	}
	if r.Sign != "" {
		main = "[" + r.Sign + "] " + main
	}
	rest := cell("", size+2)
	w.block(cell(mark, size+2), rest, main)
	if r.Detail != "" {
		w.block(rest, rest, r.Detail)
	}
}

// card writes what is known of a machine or person, and beside it the state it is in.
func (w *writer) card(r row) {
	const left, right = 38, columns - 4 - 38
	w.block("  ", "  ", r.Main+" ("+r.Mark+")")
	a, b := factLines(r.Facts, left-2), factLines(r.State, right)
	for i := range max(len(a), len(b)) {
		line := "    "
		if i < len(a) {
			line += a[i]
		}
		if i < len(b) {
			line = cell(line, 4+left) + b[i]
		}
		w.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// factLines lay facts out in a column of a width.
func factLines(facts []fact, size int) []string {
	const label = 13
	var lines []string
	for _, f := range facts {
		for i, value := range wrap(f.Value, size-label) {
			name := ""
			if i == 0 {
				name = f.Name
			}
			lines = append(lines, cell(name, label)+value)
		}
	}
	return lines
}

func (w *writer) told(c told) {
	const size = 10
	rest := cell("", size)
	w.block(cell("  "+c.Score, size), rest, c.Title)
	w.block(rest, rest, c.Detail)
	if c.Ask != "" {
		w.block(rest, rest, "> "+c.Ask)
	}
	w.address(rest, c.Link)
	w.address(rest, c.Command)
	w.WriteString("\n")
}
