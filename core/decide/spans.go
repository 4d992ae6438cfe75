package decide

import (
	"fmt"
	"slices"
)

// Span is the numbers From to To, both included.
type Span struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Len is how many numbers it has.
func (s Span) Len() uint64 { return s.To - s.From + 1 }

func (s Span) String() string {
	if s.From == s.To {
		return fmt.Sprint(s.From)
	}
	return fmt.Sprintf("%d to %d", s.From, s.To)
}

// Spans is a set of numbers from 1 on: all up to Low, and what lies above it, in
// order, with at least one number missing before each span. What comes nearly in
// order takes as much room as there are gaps.
type Spans struct {
	Low   uint64 `json:"low"`
	Above []Span `json:"above,omitempty"`
}

// Has tells whether n is in the set.
func (s *Spans) Has(n uint64) bool {
	if n <= s.Low {
		return true
	}
	i := s.at(n)
	return i < len(s.Above) && s.Above[i].From <= n
}

// at is the first span above Low that ends at n or later.
func (s *Spans) at(n uint64) int {
	i, _ := slices.BinarySearchFunc(s.Above, n, func(x Span, n uint64) int {
		if x.To < n {
			return -1
		}
		return 1
	})
	return i
}

// Add adds the numbers of a span and returns how many of them it had already.
func (s *Spans) Add(add Span) (had uint64) {
	if add.From == 0 || add.To < add.From {
		return 0
	}
	if add.From <= s.Low {
		had = min(s.Low, add.To) - add.From + 1
		if add.To <= s.Low {
			return had
		}
		add.From = s.Low + 1
	}
	// All that overlap it, or touch it, become one with it.
	first := s.at(max(add.From, 1) - 1)
	end := first
	for end < len(s.Above) && (s.Above[end].From <= add.To || s.Above[end].From == add.To+1) {
		x := s.Above[end]
		if from, to := max(x.From, add.From), min(x.To, add.To); from <= to {
			had += to - from + 1
		}
		end++
	}
	if end > first {
		add.From, add.To = min(add.From, s.Above[first].From), max(add.To, s.Above[end-1].To)
	}
	if add.From == s.Low+1 {
		s.Low = add.To
		s.Above = slices.Delete(s.Above, first, end)
		return had
	}
	s.Above = slices.Replace(s.Above, first, end, add)
	return had
}

// High is the highest number in the set, 0 if it is empty.
func (s *Spans) High() uint64 {
	if n := len(s.Above); n > 0 {
		return s.Above[n-1].To
	}
	return s.Low
}

// Len is how many numbers are in the set.
func (s *Spans) Len() uint64 {
	n := s.Low
	for _, x := range s.Above {
		n += x.Len()
	}
	return n
}

// Missing are the spans of a span that are not in the set.
func (s *Spans) Missing(of Span) []Span {
	var all []Span
	from := max(of.From, s.Low+1)
	for i := s.at(from); i < len(s.Above) && s.Above[i].From <= of.To; i++ {
		if x := s.Above[i]; x.From > from {
			all = append(all, Span{from, x.From - 1})
		}
		from = s.Above[i].To + 1
	}
	if from <= of.To && from > 0 {
		all = append(all, Span{from, of.To})
	}
	return all
}

// Some tells whether one of a span's numbers is in the set.
func (s *Spans) Some(of Span) bool {
	if of.From > of.To {
		return false
	}
	i := s.at(of.From)
	return of.From <= s.Low || i < len(s.Above) && s.Above[i].From <= of.To
}

// Clone shares nothing with the set.
func (s *Spans) Clone() Spans { return Spans{s.Low, slices.Clone(s.Above)} }
