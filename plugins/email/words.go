package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
)

// line is a short value of ours or of the organisation's own data, which stays as it is
// known there. Only what is a link outright is defanged.
func line(s string, most int) string {
	s = sdk.Visible(strings.TrimSpace(s))
	if strings.Contains(s, ":") || strings.Contains(strings.ToLower(s), "www.") {
		s = sdk.DefangedText(s)
	}
	return shorten(s, most)
}

func own(s string) string { return line(s, maxShown) }

// text is prose in which anybody may have written.
func text(s string) string {
	return shorten(sdk.DefangedText(sdk.Visible(strings.TrimSpace(s))), sdk.MaxNoticeText)
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
	response, _, _ := strings.Cut(n.Because, ":")
	if strings.HasPrefix(response, "response.") {
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
		return sdk.Defanged(o.Value)
	}
	return sdk.DefangedText(o.Value)
}

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + own(value)
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
