package expr

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// precision in bits is far more than forty digits need, so that equal decimals are equal as cty has them.
const precision = 512

// numberVal is the number that JSON text says, or null.
func numberVal(text string) cty.Value {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		return cty.Zero
	}
	e := int64(0)
	if exponent != "" {
		var err error
		if e, err = strconv.ParseInt(exponent, 10, 64); err != nil {
			return null
		}
	}
	before, after, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(strings.TrimPrefix(before, "-")+after, "0")
	size := e - int64(len(after)) + int64(len(digits)) - 1 // of the number in scientific notation
	if digits = strings.TrimRight(digits, "0"); len(digits) > maxDigits || size > maxExponent || size < -maxExponent {
		return null
	}
	f, _, err := big.ParseFloat(text, 10, precision, big.ToNearestEven)
	if err != nil {
		return null
	}
	return cty.NumberVal(f)
}

func numberText(v cty.Value) string { return v.AsBigFloat().Text('e', maxDigits-1) }

func ratOf(v cty.Value) *big.Rat {
	r, _ := new(big.Rat).SetString(numberText(v))
	return r
}

// ratVal rounds a fraction to forty digits, half away from zero, and refuses a whole number that has more.
func ratVal(r *big.Rat) cty.Value {
	if r.Sign() == 0 {
		return cty.Zero
	}
	if r.IsInt() {
		return numberVal(r.Num().String())
	}
	size := sizeOf(r)
	if size > maxExponent+1 || size < -maxExponent-1 {
		return null
	}
	scale := ratPower(maxDigits - 1 - size)
	digits := new(big.Rat).Mul(r, scale).FloatString(0)
	return numberVal(digits + "e" + strconv.Itoa(size-maxDigits+1))
}

// sizeOf is the exponent of r in scientific notation.
func sizeOf(r *big.Rat) int {
	abs := new(big.Rat).Abs(r)
	size := len(abs.Num().String()) - len(abs.Denom().String())
	if abs.Cmp(ratPower(size)) < 0 {
		size--
	}
	return size
}

func ratPower(n int) *big.Rat {
	if n < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), pow10(-n))
	}
	return new(big.Rat).SetInt(pow10(n))
}

// calculate is arithmetic, or a comparison of sizes.
func calculate(op *hclsyntax.Operation, x, y cty.Value) cty.Value {
	if !isNumber(x) || !isNumber(y) {
		return null
	}
	a, b := ratOf(x), ratOf(y)
	switch op {
	case hclsyntax.OpLessThan:
		return cty.BoolVal(a.Cmp(b) < 0)
	case hclsyntax.OpLessThanOrEqual:
		return cty.BoolVal(a.Cmp(b) <= 0)
	case hclsyntax.OpGreaterThan:
		return cty.BoolVal(a.Cmp(b) > 0)
	case hclsyntax.OpGreaterThanOrEqual:
		return cty.BoolVal(a.Cmp(b) >= 0)
	case hclsyntax.OpAdd:
		return ratVal(a.Add(a, b))
	case hclsyntax.OpSubtract:
		return ratVal(a.Sub(a, b))
	case hclsyntax.OpMultiply:
		return ratVal(a.Mul(a, b))
	}
	if b.Sign() == 0 {
		return null
	}
	quotient := new(big.Rat).Quo(a, b)
	if op == hclsyntax.OpDivide {
		return ratVal(quotient)
	}
	towardsZero := new(big.Rat).SetInt(new(big.Int).Quo(quotient.Num(), quotient.Denom()))
	return ratVal(a.Sub(a, towardsZero.Mul(towardsZero, b)))
}
