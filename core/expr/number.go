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

// maxZeros is how many zeros a number is written with before or after its digits; a number with more has an exponent, so
// that no text is much longer than what it came from.
const maxZeros = 20

// String writes the number as JSON does.
func (d decimal) String() string {
	if d.wide == nil && d.exp == 0 {
		return strconv.FormatInt(d.coef, 10)
	}
	digits, sign := d.digits()
	scientific := len(digits) + int(d.exp) - 1
	if d.exp <= maxZeros && scientific >= -maxZeros {
		return d.plain()
	}
	if len(digits) > 1 {
		digits = digits[:1] + "." + digits[1:]
	}
	return sign + digits + "e" + strconv.Itoa(scientific)
}

// plain writes the number in full, without an exponent.
func (d decimal) plain() string {
	digits, sign := d.digits()
	if d.exp >= 0 {
		return sign + digits + strings.Repeat("0", int(d.exp))
	}
	point := len(digits) + int(d.exp)
	if point <= 0 {
		return sign + "0." + strings.Repeat("0", -point) + digits
	}
	return sign + digits[:point] + "." + digits[point:]
}

// digits are those of the coefficient.
func (d decimal) digits() (digits, sign string) {
	if d.wide != nil {
		digits = d.wide.String()
	} else {
		digits = strconv.FormatInt(d.coef, 10)
	}
	if strings.HasPrefix(digits, "-") {
		return digits[1:], "-"
	}
	return digits, ""
}

func (d decimal) float() float64 {
	if d.wide == nil && d.exp == 0 {
		return float64(d.coef)
	}
	f, _ := strconv.ParseFloat(d.String(), 64)
	return f
}
