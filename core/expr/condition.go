package expr

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Condition is a condition that can say why it is not true: its parts, and the text that they are written in. It is
// safe for concurrent use, each user with a [Scope] of its own.
type Condition struct {
	Part *Part
	// File is all of the text that the ranges of the parts are places in; Name is shown for it.
	File, Name string
}

// Conditions are those of a configuration, by what they were compiled to.
type Conditions map[*Program]*Condition

// Explanation is what a condition said at one evaluation, for people.
type Explanation struct {
	Text  string `json:"text"`            // the condition as it is written
	Place string `json:"place,omitempty"` // "config.hcl:12"
	Truth string `json:"truth"`           // "true", "false", "null", or GivenUp
	// Reasons are the parts for which it is not true, in the order of writing. More: there may be others.
	Reasons []Reason `json:"reasons,omitempty"`
	More    bool     `json:"more,omitempty"`
}

// Reason is a part of a condition, without an && || ! of its own.
type Reason struct {
	Text  string         `json:"text"`
	Truth string         `json:"truth"`
	Reads []ReasonsValue `json:"reads,omitempty"`
}

// ReasonsValue is what a part has read: its value as JSON text, which may be cut.
type ReasonsValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// GivenUp is said of a condition that would have taken too much work. It counts as not true.
const GivenUp = "given up"

// Bounds of an Explanation.
const (
	maxReasons    = 8
	maxReads      = 8
	maxLooked     = 64  // parts that are evaluated for reasons: of a large event each may take a while
	maxShownText  = 600 // bytes of a condition or a part of one
	maxShownValue = 160 // bytes of a value
)

// True tells whether the condition holds.
func (e *Explanation) True() bool { return e.Truth == True.String() }

// Explain evaluates a condition, and where it is not true says why. A nil program is of no condition, which holds. What
// is not among the conditions has no text and no reasons.
func (c Conditions) Explain(p *Program, s *Scope) Explanation {
	if p == nil {
		return Explanation{Truth: True.String()}
	}
	truth := p.Truth(s)
	e := Explanation{Truth: truth.String()}
	if s.Exceeded() {
		e.Truth = GivenUp
	}
	known := c[p]
	if known == nil {
		return e
	}
	e.Text, e.Place = known.text(known.Part), fmt.Sprintf("%s:%d", known.Name, known.Part.Range.Start.Line)
	if truth == True || e.Truth == GivenUp {
		return e
	}
	l := search{scope: s}
	_, leaves := l.blame(known.Part, True)
	e.More = l.cut
	for _, f := range leaves {
		e.Reasons = append(e.Reasons, known.reason(f, s))
	}
	return e
}

// search for the reasons of a condition. It ends when there are enough.
type search struct {
	scope  *Scope
	looked int
	found  int
	cut    bool
}

// said is a leaf with its truth.
type said struct {
	leaf  *Part
	truth Truth
}

// blame is what a part says, and the leaves for which that is not what is wanted: as [Finding.Reasons] has them, but
// that it ends with enough of them.
func (l *search) blame(p *Part, want Truth) (Truth, []said) {
	switch p.Op {
	case Not:
		truth, leaves := l.blame(p.Parts[0], want.not())
		return truth.not(), leaves
	case And:
		return l.joined(p.Parts, want, False, True)
	case Or:
		return l.joined(p.Parts, want, True, False)
	}
	if l.looked++; l.looked > maxLooked || l.found >= maxReasons {
		l.cut = true
		return want, nil
	}
	truth := p.program.Truth(l.scope)
	if truth == want {
		return truth, nil
	}
	l.found++
	return truth, []said{{p, truth}}
}

func (l *search) joined(parts []*Part, want, decides, other Truth) (Truth, []said) {
	result, found := other, l.found
	var leaves []said
	for _, inner := range parts {
		truth, more := l.blame(inner, want)
		leaves = append(leaves, more...)
		if truth == decides {
			result = decides
		} else if truth == Null && result != decides {
			result = Null
		}
		if result == want && want == decides { // and so nothing in it is to blame
			break
		}
	}
	if result == want {
		l.found, leaves = found, nil
	}
	return result, leaves
}

func (c *Condition) reason(f said, s *Scope) Reason {
	r := Reason{Text: c.text(f.leaf), Truth: f.truth.String()}
	for i, read := range f.leaf.Reads {
		if i == maxReads {
			break
		}
		value := read.program.Eval(s).String()
		r.Reads = append(r.Reads, ReasonsValue{Name: shorten(read.Name, maxShownText), Value: shorten(value, maxShownValue)})
	}
	return r
}

// text of a part as it is written, on one line.
func (c *Condition) text(p *Part) string {
	from, to := p.Range.Start.Byte, p.Range.End.Byte
	if from < 0 || from > to || to > len(c.File) {
		return ""
	}
	// A far longer text than is shown may be all spaces.
	return shorten(strings.Join(strings.Fields(c.File[from:to]), " "), maxShownText)
}

// shorten cuts a text after at most n bytes, at the end of a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return strings.Clone(s) // what it is part of may be large
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
