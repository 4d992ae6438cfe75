package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// segment of the bar of reasons: what one line or factor adds to the score.
type segment struct {
	Percent int // of the bar
	Color   string
	Sign    string
	Words   string // beside its colour; only of the first segment of a factor
	Points  string
}

// Colours of factors, which can be told apart on white and on black, and the signs that
// stand for them in a text.
var (
	colors = [...]string{"blue", "orange", "violet", "teal", "pink", "grey"}
	signs  = [...]string{"#", "=", "+", "%", "*", "~"}
)

// bar divides 100 points among the lines that count, and what is not known.
func bar(s *sdk.NoticeScore) []segment {
	var out []segment
	sum, drawn := 0.0, 0
	add := func(share float64, seg segment) {
		sum += max(share, 0)
		if end := int(math.Round(min(sum, 100))); end > drawn {
			seg.Percent, drawn = end-drawn, end
		}
		if seg.Percent > 0 || seg.Words != "" {
			out = append(out, seg)
		}
	}
	for i, f := range s.Factors {
		seg := segment{Color: colors[i%len(colors)], Sign: signs[i%len(signs)], Words: shorten(text(f.Label), 60), Points: points(f.Share)}
		parts := shares(f)
		for _, share := range parts {
			if share > 0 {
				add(share, seg)
				seg.Words = ""
			}
		}
		if seg.Words != "" {
			add(f.Share, seg)
		}
	}
	sum = max(sum, s.Total)
	if s.Upper > s.Total {
		add(s.Upper-s.Total, segment{Color: "open", Sign: "?", Words: "not known, at most", Points: points(s.Upper - s.Total)})
	}
	if rest := 100 - drawn; rest > 0 {
		out = append(out, segment{Percent: rest, Color: "rest", Sign: "."})
	}
	return out
}

// shares are what the lines of a factor add to the score.
func shares(f sdk.NoticeFactor) []float64 {
	sum := 0.0
	for _, l := range f.Lines {
		sum += max(l.Counted, 0)
	}
	out := make([]float64, len(f.Lines))
	for i, l := range f.Lines {
		if sum > 0 && f.Share > 0 {
			out[i] = max(l.Counted, 0) / sum * f.Share
		}
	}
	return out
}

const (
	scoreTitle = "Why this score"
	maxFactors = 6
	maxLines   = 15 // of all factors
)

func reasons(n *sdk.Notice, known *strings.Replacer, now time.Time) section {
	s := section{Title: scoreTitle, More: n.LeftOut["lines"] + n.LeftOut["factors"]}
	lines := 0
	for i, f := range n.Score.Factors {
		if i == maxFactors {
			s.More += len(n.Score.Factors) - maxFactors
			break
		}
		sum := points(f.Points) + " points"
		if f.Weight != "" {
			sum += " × " + line(f.Weight, 20)
		}
		color, sign := colors[i%len(colors)], signs[i%len(signs)]
		s.Rows = append(s.Rows, row{
			Mark: "+ " + points(f.Share), Main: short(f.Label), Detail: sum + combined(f), Strong: true, Color: color, Sign: sign,
		})
		parts := shares(f)
		for j, l := range f.Lines {
			if j == maxRows/2 || lines == maxLines {
				s.More += len(f.Lines) - j
				break
			}
			lines++
			s.Rows = append(s.Rows, row{
				Mark: points(l.Points), Main: known.Replace(short(l.Because)), Detail: details(provenance(l, now)...), Under: true,
				Part: min(max(int(math.Round(parts[j])), 0), 100), Color: color,
			})
		}
	}
	if len(s.Rows) > 0 {
		s.Rows = append(s.Rows, row{Mark: "= " + points(n.Score.Total), Main: "together, of 100", Strong: true, Color: "sum"})
	}
	return s
}

// provenance is where a line comes from, how old it is, and how sure its source was.
func provenance(l sdk.NoticeLine, now time.Time) []string {
	parts := []string{short(l.Label)}
	if l.Counted != l.Points {
		parts = append(parts, "counts "+points(l.Counted))
	}
	if l.Source != "" {
		parts = append(parts, "by "+source(l.Source))
	}
	if l.About != "" {
		parts = append(parts, "about "+short(l.About))
	}
	if l.Reliability != nil {
		parts = append(parts, fmt.Sprintf("%d of 100 sure", min(max(*l.Reliability, 0), 100)))
	}
	return append(parts, ago(now, l.At))
}

func combined(f sdk.NoticeFactor) string {
	if len(f.Lines) < 2 {
		return ""
	}
	switch f.Combine {
	case "max":
		return ", the highest of these"
	case "sum":
		return ", the sum of these, at most 100"
	case "decay":
		return ", each further one counting half"
	}
	return ""
}
