package expr

import (
	"math/big"
	"strconv"
	"strings"
)

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
