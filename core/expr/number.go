package expr

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// Limits of a number: one that needs more is null.
const (
	maxDigits   = 40
	maxExponent = 308
)

// decimal is coef × 10^exp, or wide × 10^exp when the coefficient does not fit. It has one form for each value: a whole
// number that fits an int64 has exponent 0, every other number has a coefficient without trailing zeros.
type decimal struct {
	coef int64
	exp  int32
	wide *big.Int
}

func whole(i int64) decimal { return decimal{coef: i} }

// parseDecimal reads a number in JSON's grammar. It is false for anything else, and for a number beyond the limits.
func parseDecimal(s string) (decimal, bool) {
	i, negative := 0, false
	if i < len(s) && s[i] == '-' {
		negative = true
		i++
	}
	start := i
	var coef int64
	for i < len(s) && isDigit(s[i]) {
		if i-start < 18 {
			coef = coef*10 + int64(s[i]-'0')
		}
		i++
	}
	digits := i - start
	if digits == 0 || digits > 1 && s[start] == '0' {
		return decimal{}, false
	}
	if i < len(s) || digits > 18 {
		return parseLong(s, start, i, negative)
	}
	if negative {
		coef = -coef
	}
	return whole(coef), true
}

// parseLong reads what has a fraction, an exponent or many digits; the whole part is s[start:i].
func parseLong(s string, start, i int, negative bool) (decimal, bool) {
	digits := s[start:i]
	exp := 0
	if i < len(s) && s[i] == '.' {
		from := i + 1
		for i = from; i < len(s) && isDigit(s[i]); i++ {
		}
		if i == from {
			return decimal{}, false
		}
		if fraction := strings.TrimRight(s[from:i], "0"); fraction != "" {
			exp = -len(fraction)
			if len(digits)+len(fraction) <= 18 && i == len(s) {
				return parseShortFraction(digits, fraction, negative), true
			}
			digits += fraction
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		written, end, ok := parseExponent(s, i+1)
		if !ok {
			return decimal{}, false
		}
		i = end
		exp += written
	}
	if i != len(s) {
		return decimal{}, false
	}
	digits = strings.TrimLeft(digits, "0")
	return fromDigits(negative, digits, exp)
}

func parseShortFraction(digits, fraction string, negative bool) decimal {
	var coef int64
	for i := range len(digits) {
		coef = coef*10 + int64(digits[i]-'0')
	}
	for i := range len(fraction) {
		coef = coef*10 + int64(fraction[i]-'0')
	}
	if negative {
		coef = -coef
	}
	return decimal{coef: coef, exp: -int32(len(fraction))}
}

func parseExponent(s string, i int) (value, end int, ok bool) {
	negative := false
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		negative = s[i] == '-'
		i++
	}
	from := i
	for ; i < len(s) && isDigit(s[i]); i++ {
		// Far outside of what any number of digits could bring back, and far from overflow.
		value = min(value*10+int(s[i]-'0'), 1<<30)
	}
	if negative {
		value = -value
	}
	return value, i, i > from
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// fromDigits makes a decimal of the digits of a whole number (no leading zeros) and an exponent, exactly or not at all.
func fromDigits(negative bool, digits string, exp int) (decimal, bool) {
	stripped := strings.TrimRight(digits, "0")
	exp += len(digits) - len(stripped)
	if stripped == "" {
		return decimal{}, true
	}
	scientific := len(stripped) + exp - 1
	if len(stripped) > maxDigits || scientific > maxExponent || scientific < -maxExponent {
		return decimal{}, false
	}
	sign := ""
	if negative {
		sign = "-"
	}
	if exp >= 0 && len(stripped)+exp <= 19 {
		if coef, err := strconv.ParseInt(sign+stripped+strings.Repeat("0", exp), 10, 64); err == nil {
			return whole(coef), true
		}
	}
	if coef, err := strconv.ParseInt(sign+stripped, 10, 64); err == nil {
		return decimal{coef: coef, exp: int32(exp)}, true
	}
	wide, _ := new(big.Int).SetString(sign+stripped, 10)
	return decimal{wide: wide, exp: int32(exp)}, true
}

// fromBig makes a decimal of the exact result c × 10^exp. A fraction with too many digits is rounded, half away from
// zero; a whole number never is: it is refused.
func fromBig(c *big.Int, exp int) (decimal, bool) {
	digits := new(big.Int).Abs(c).Text(10)
	stripped := strings.TrimRight(digits, "0")
	exp += len(digits) - len(stripped)
	if len(stripped) > maxDigits && exp < 0 {
		exp += len(stripped) - maxDigits
		stripped = roundDigits(stripped)
	}
	return fromDigits(c.Sign() < 0, stripped, exp)
}

// roundDigits keeps maxDigits digits; the result has one more when all were nines.
func roundDigits(digits string) string {
	kept, _ := new(big.Int).SetString(digits[:maxDigits], 10)
	if digits[maxDigits] >= '5' {
		kept.Add(kept, big.NewInt(1))
	}
	return kept.Text(10)
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// scaled is the coefficient as if the exponent were exp, which must not be above the number's own.
func (d decimal) scaled(exp int32) *big.Int {
	c := d.wide
	if c == nil {
		c = big.NewInt(d.coef)
	}
	if d.exp == exp {
		return c
	}
	return new(big.Int).Mul(c, pow10(int(d.exp-exp)))
}

func (d decimal) sign() int {
	if d.wide != nil {
		return d.wide.Sign()
	}
	switch {
	case d.coef < 0:
		return -1
	case d.coef > 0:
		return 1
	}
	return 0
}

func (d decimal) isWhole() bool { return d.exp >= 0 }

// int64 is the number itself, if it is whole and fits.
func (d decimal) int64() (int64, bool) {
	if d.wide != nil || d.exp != 0 {
		return 0, false
	}
	return d.coef, true
}

func (d decimal) equal(o decimal) bool {
	if d.wide != nil && o.wide != nil {
		return d.exp == o.exp && d.wide.Cmp(o.wide) == 0
	}
	return d == o
}

func (d decimal) compare(o decimal) int {
	if d.wide == nil && o.wide == nil && d.exp == o.exp {
		switch {
		case d.coef < o.coef:
			return -1
		case d.coef > o.coef:
			return 1
		}
		return 0
	}
	if a, b := d.sign(), o.sign(); a != b {
		return a - b
	}
	exp := min(d.exp, o.exp)
	return d.scaled(exp).Cmp(o.scaled(exp))
}

func (d decimal) neg() (decimal, bool) {
	if d.wide == nil && d.coef != math.MinInt64 {
		d.coef = -d.coef
		return d, true
	}
	return fromBig(new(big.Int).Neg(d.scaled(d.exp)), int(d.exp))
}

func (d decimal) add(o decimal) (decimal, bool) {
	if d.wide == nil && o.wide == nil && d.exp == 0 && o.exp == 0 {
		sum := d.coef + o.coef
		if (sum > d.coef) == (o.coef > 0) {
			return whole(sum), true
		}
	}
	exp := min(d.exp, o.exp)
	return fromBig(new(big.Int).Add(d.scaled(exp), o.scaled(exp)), int(exp))
}

func (d decimal) sub(o decimal) (decimal, bool) {
	o, ok := o.neg()
	if !ok {
		return decimal{}, false
	}
	return d.add(o)
}

func (d decimal) mul(o decimal) (decimal, bool) {
	if d.wide == nil && o.wide == nil && d.exp == 0 && o.exp == 0 {
		if product, ok := mulInt64(d.coef, o.coef); ok {
			return whole(product), true
		}
	}
	return fromBig(new(big.Int).Mul(d.scaled(d.exp), o.scaled(o.exp)), int(d.exp)+int(o.exp))
}

func mulInt64(a, b int64) (int64, bool) {
	if a == math.MinInt64 || b == math.MinInt64 {
		return 0, false
	}
	hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	return a * b, true
}

// div divides exactly where forty digits are enough, and else rounds to them, half away from zero. By zero it is false.
func (d decimal) div(o decimal) (decimal, bool) {
	if o.sign() == 0 {
		return decimal{}, false
	}
	if q, ok := d.divShort(o); ok {
		return q, true
	}
	a, b := d.scaled(d.exp), o.scaled(o.exp)
	exp := int(d.exp) - int(o.exp)
	// Enough digits to round, and one more that says whether anything follows them.
	shift := max(0, maxDigits+2-(len(a.String())-len(b.String())))
	quotient, rest := new(big.Int).QuoRem(new(big.Int).Mul(a, pow10(shift)), b, new(big.Int))
	if rest.Sign() == 0 {
		return fromBig(quotient, exp-shift)
	}
	if exp > 0 && new(big.Int).Rem(new(big.Int).Mul(a, pow10(exp)), b).Sign() == 0 {
		return decimal{}, false // whole, with more digits than a number may have
	}
	quotient.Mul(quotient, big.NewInt(10))
	quotient.Add(quotient, big.NewInt(int64(a.Sign()*b.Sign())))
	return fromInexact(quotient, exp-shift-1)
}

// fromInexact is fromBig for a quotient known not to be whole, whatever its exponent.
func fromInexact(c *big.Int, exp int) (decimal, bool) {
	digits := new(big.Int).Abs(c).Text(10)
	exp += len(digits) - maxDigits
	return fromDigits(c.Sign() < 0, roundDigits(digits), exp)
}

// divShort divides small whole numbers whose quotient has a few decimals.
func (d decimal) divShort(o decimal) (decimal, bool) {
	if d.wide != nil || o.wide != nil || d.exp != 0 || o.exp != 0 || o.coef == -1 {
		return decimal{}, false
	}
	a := d.coef
	for places := int32(0); places <= 4; places++ {
		if a%o.coef == 0 {
			return decimal{coef: a / o.coef, exp: -places}, true
		}
		var ok bool
		if a, ok = mulInt64(a, 10); !ok {
			break
		}
	}
	return decimal{}, false
}

// mod is what remains after division towards zero; it has the sign of d.
func (d decimal) mod(o decimal) (decimal, bool) {
	if o.sign() == 0 {
		return decimal{}, false
	}
	if d.wide == nil && o.wide == nil && d.exp == 0 && o.exp == 0 && o.coef != -1 {
		return whole(d.coef % o.coef), true
	}
	exp := min(d.exp, o.exp)
	return fromBig(new(big.Int).Rem(d.scaled(exp), o.scaled(exp)), int(exp))
}

// rounding says where a number goes that lies between two steps.
type rounding int

const (
	halfAway rounding = iota
	down
	up
)

// round keeps the given number of decimals; a negative number of them rounds to tens, hundreds and so on.
func (d decimal) round(places int32, how rounding) (decimal, bool) {
	if -d.exp <= places {
		return d, true
	}
	drop := int(-d.exp - places)
	step := pow10(drop)
	quotient, rest := new(big.Int).QuoRem(d.scaled(d.exp), step, new(big.Int))
	away := false
	switch how {
	case halfAway:
		away = new(big.Int).Lsh(new(big.Int).Abs(rest), 1).Cmp(step) >= 0
	case down:
		away = rest.Sign() < 0
	case up:
		away = rest.Sign() > 0
	}
	if away {
		quotient.Add(quotient, big.NewInt(int64(d.sign())))
	}
	return fromBig(quotient, int(-places))
}

// String writes the number in full, without an exponent.
func (d decimal) String() string {
	if d.wide == nil && d.exp == 0 {
		return strconv.FormatInt(d.coef, 10)
	}
	var digits string
	if d.wide != nil {
		digits = d.wide.String()
	} else {
		digits = strconv.FormatInt(d.coef, 10)
	}
	if d.exp >= 0 {
		return digits + strings.Repeat("0", int(d.exp))
	}
	digits, negative := strings.CutPrefix(digits, "-")
	point := len(digits) + int(d.exp)
	if point <= 0 {
		digits = "0." + strings.Repeat("0", -point) + digits
	} else {
		digits = digits[:point] + "." + digits[point:]
	}
	if negative {
		return "-" + digits
	}
	return digits
}

func (d decimal) float() float64 {
	if d.wide == nil && d.exp == 0 {
		return float64(d.coef)
	}
	f, _ := strconv.ParseFloat(d.String(), 64)
	return f
}
