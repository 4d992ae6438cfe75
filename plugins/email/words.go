package main

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
)

// line is a short text.
func line(s string, most int) string { return shorten(text(s), most) }

// text is prose in which anybody may have written.
func text(s string) string {
	s = sdk.DefangedText(sdk.Visible(strings.TrimSpace(s)))
	// What some programs make links of as well: dots of other scripts, and shares of
	// Windows, which are told who opens them.
	s = otherDots.ReplaceAllString(s, "$1[.]$2")
	return shorten(windowsShares.ReplaceAllString(s, `[\\]$1`), sdk.MaxNoticeText)
}

var (
	otherDots     = regexp.MustCompile(`([\pL\pN])[。．｡․]([a-zA-Z0-9])`)
	windowsShares = regexp.MustCompile(`\\\\([\pL\pN])`)
)

// short is a text of which nobody wants to read much.
func short(s string) string { return line(s, maxShown) }

// name of a machine, a person or a mailbox. One without a dot, or under the domain that
// is ours, stays as it is known there; any other is an address that others may have.
func name(s, ours string) string {
	lower := strings.ToLower(s)
	inside := !strings.Contains(s, ".") || ours != "" && (strings.HasSuffix(lower, "."+ours) || strings.HasSuffix(lower, "@"+ours))
	if !inside || strings.Trim(lower, `abcdefghijklmnopqrstuvwxyz0123456789_.-@\$`) != "" || strings.Contains(s, `\\`) || strings.Contains(lower, "www.") {
		return short(s)
	}
	return shorten(s, maxShown)
}

// addresses of machines.
func addresses(list []string) string {
	shown := make([]string, len(list))
	for i, s := range list {
		shown[i] = short(s)
		if addr, err := netip.ParseAddr(s); err == nil {
			shown[i] = addr.String()
		}
	}
	return shorten(strings.Join(shown, ", "), maxShown)
}

// source is the address of one of our blocks.
func source(s string) string {
	if kind, name, ok := strings.Cut(s, "."); ok && isWord(kind) && isWord(name) {
		return shorten(s, maxShown)
	}
	return short(s)
}

// details joins what is there of parts that are safe to show.
func details(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	return shorten(strings.Join(parts, " · "), 4*maxShown)
}

// sources restores the addresses of our blocks in prose; only the core names them.
func sources(n *sdk.Notice) *strings.Replacer {
	var pairs []string
	add := func(source string) {
		if kind, name, ok := strings.Cut(source, "."); ok && isWord(kind) && isWord(name) {
			pairs = append(pairs, kind+"[.]"+name, source)
		}
	}
	for _, v := range n.Verdicts {
		add(v.Source)
	}
	for _, s := range n.Signals {
		add(s.Source)
	}
	for _, u := range n.Unknowns {
		add(u.Source)
	}
	for _, f := range n.Score.Factors {
		for _, l := range f.Lines {
			add(l.Source)
		}
	}
	response, _, _ := strings.Cut(n.Because, ":")
	if strings.HasPrefix(response, "response.") || strings.HasPrefix(response, "route.") {
		add(response)
	}
	return strings.NewReplacer(pairs...)
}

func isWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// harmless defangs what would become a link.
func harmless(o sdk.NoticeObservable) string {
	switch o.Kind {
	case sdk.Domain, sdk.URL, sdk.Email, sdk.IP, sdk.Host:
		return text(sdk.Defanged(sdk.Visible(o.Value)))
	}
	return text(o.Value)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

// points are exact to hundredths.
func points(p float64) string {
	return strconv.FormatFloat(math.Round(min(max(p, -1e6), 1e6)*100)/100, 'f', -1, 64)
}

func level(percent int) string {
	switch {
	case percent >= 70:
		return "high"
	case percent >= 40:
		return "medium"
	}
	return "low"
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }

func sameDay(a, b time.Time) bool {
	return a.UTC().Format(time.DateOnly) == b.UTC().Format(time.DateOnly)
}

func span(from, to time.Time) string {
	switch {
	case to.IsZero() || to.Equal(from):
		return clock(from)
	case sameDay(from, to):
		return from.UTC().Format("2006-01-02 15:04:05") + " to " + to.UTC().Format("15:04:05") + " UTC"
	}
	return clock(from) + " to " + clock(to)
}

// ago says how long before the mail something was, in words: "3 h ago".
func ago(now, at time.Time) string {
	switch passed := now.Sub(at); {
	case at.IsZero():
		return ""
	case passed < -time.Minute:
		return "at " + clock(at)
	case passed < time.Minute:
		return "just now"
	default:
		return lasting(passed) + " ago"
	}
}

// lasting is a time in the unit that fits: "45 s", "20 min", "4 h", "12 days".
func lasting(d time.Duration) string {
	switch {
	case d < 2*time.Minute && d%time.Minute != 0:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour && d%time.Hour != 0:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
