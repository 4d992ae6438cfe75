package proposal

import (
	"fmt"
	"strings"
)

// context is how many lines a diff shows before what changes.
const context = 3

// Append is a file's text with a block after all that it has, and the change as a unified
// diff. An empty old text is that of a file that is not there.
func Append(file, old, block string) (text, diff string) {
	text = block
	if old != "" {
		text = old
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += "\n" + block
	}
	var b strings.Builder
	from, lines := file, lines(old)
	if old == "" {
		from = "/dev/null"
	}
	shown := lines[max(len(lines)-context, 0):]
	added := strings.Split(strings.TrimSuffix(block, "\n"), "\n")
	if len(lines) > 0 {
		added = append([]string{""}, added...)
	}
	first, firstNew := len(lines)-len(shown)+1, len(lines)-len(shown)+1
	if len(lines) == 0 {
		first = 0
	}
	fmt.Fprintf(&b, "--- %s\n+++ %s\n@@ -%d,%d +%d,%d @@\n", from, file, first, len(shown), firstNew, len(shown)+len(added))
	for i, line := range shown {
		if i == len(shown)-1 && !strings.HasSuffix(old, "\n") {
			fmt.Fprintf(&b, "-%s\n\\ No newline at end of file\n+%s\n", line, line)
			continue
		}
		fmt.Fprintf(&b, " %s\n", line)
	}
	for _, line := range added {
		fmt.Fprintf(&b, "+%s\n", line)
	}
	return text, b.String()
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
