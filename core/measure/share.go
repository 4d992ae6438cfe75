// Package measure adds up what became of cases, and holds it against what was expected.
// It is arithmetic: values in, values out.
package measure

import "math"

// Share is how many of some are something: 3 of 4. What it says of those that are yet to
// come is between Low and High.
type Share struct {
	Of   int     `json:"of"`
	Is   int     `json:"is"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Z is the standard score of the intervals: 19 of 20 of them hold the true share.
const Z = 1.959963984540054

// ShareOf is a share with its interval by Wilson (1927), "Probable inference, the law of
// succession, and statistical inference", Journal of the American Statistical Association
// 22 (158), 209-212:
//
//	(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), where p = is/of and n = of
//
// Unlike the normal approximation it is of use for few cases, and for none or all of
// them. Of nothing nothing is known: 0 to 1.
func ShareOf(is, of int) Share {
	s := Share{Of: of, Is: is, High: 1}
	if of <= 0 {
		return Share{High: 1}
	}
	n := float64(of)
	p := float64(is) / n
	middle := p + Z*Z/(2*n)
	spread := Z * math.Sqrt(p*(1-p)/n+Z*Z/(4*n*n))
	by := 1 + Z*Z/n
	s.Low, s.High = max((middle-spread)/by, 0), min((middle+spread)/by, 1)
	return s
}

// Value is the share itself; of nothing it is 0.
func (s Share) Value() float64 {
	if s.Of == 0 {
		return 0
	}
	return float64(s.Is) / float64(s.Of)
}
