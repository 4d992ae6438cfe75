package faulttest

import (
	"fmt"
	"strings"
)

// Model is one steady feed, and says what must come of it by arithmetic alone.
type Model struct {
	Events  int
	Sources int // attacking addresses: each is one case
	Every   int // one in so many events is an alert
}

// Line of the feed, with its newline. Alerts go round the addresses, so that every
// case grows to the end.
func (m Model) Line(i int) string {
	kind, address := "flow", "192.0.2.1"
	if m.alert(i) {
		kind, address = "alert", m.address(i/m.Every%m.Sources)
	}
	return fmt.Sprintf(`{"n":%d,"time":"2026-11-01T10:%02d:%02d.%03dZ","kind":%q,"from":%q,"pad":%q}`+"\n",
		i, i/60000%60, i/1000%60, i%1000, kind, address, strings.Repeat("x", 200))
}

func (m Model) alert(i int) bool { return i%m.Every == 0 }

func (m Model) address(i int) string { return fmt.Sprintf("198.51.100.%d", i+1) }

// Alerts is how many events match.
func (m Model) Alerts() int { return (m.Events + m.Every - 1) / m.Every }

// Cases by address, and how many signals each has.
func (m Model) Cases() map[string]int {
	cases := map[string]int{}
	for i := 0; i < m.Events; i += m.Every {
		cases[m.address(i/m.Every%m.Sources)]++
	}
	return cases
}
