package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"
)

// decimals are numbers in JSON's grammar, many of them near the limits and near ties.
func decimals() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		digits := rapid.OneOf(
			rapid.StringMatching(`[0-9]{1,4}`),
			rapid.StringMatching(`[0-9]{15,20}`),
			rapid.StringMatching(`[0-9]{38,42}`),
			rapid.StringMatching(`[1-9]0{10,40}[05]?`),
			rapid.StringMatching(`9{18,40}[59]?`),
			rapid.SampledFrom([]string{
				"1", "2", "3", "7", "1000", "9223372036854775807", "9223372036854775808",
				"1361129467683753853853498429727072845824", // 2^130: dividing by it needs 130 digits
			}),
		).Draw(t, "digits")
		if digits = strings.TrimLeft(digits, "0"); digits == "" {
			digits = "0"
		}
		if n := len(digits); n > 1 && rapid.Bool().Draw(t, "has a point") {
			at := rapid.IntRange(1, n-1).Draw(t, "point")
			digits = digits[:at] + "." + digits[at:]
		}
		if rapid.Bool().Draw(t, "negative") {
			digits = "-" + digits
		}
		exponent := rapid.OneOf(rapid.Just(0), rapid.IntRange(-45, 45), rapid.IntRange(-320, 320)).Draw(t, "exponent")
		if exponent != 0 {
			digits += fmt.Sprintf("e%d", exponent)
		}
		return digits
	})
}

// Arithmetic over machine words and big integers against arithmetic over fractions.
func TestArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := decimals().Draw(t, "x"), decimals().Draw(t, "y")
		if rapid.IntRange(0, 3).Draw(t, "alike") == 0 {
			mantissa, _, _ := strings.Cut(x, "e")
			y = mantissa + fmt.Sprintf("e%d", rapid.IntRange(-3, 300).Draw(t, "other exponent"))
		}
		a, b := Number(x), Number(y)
		p, q := numberVal(x), numberVal(y)
		if got, want := a.String(), fromCty(p).String(); got != want {
			t.Fatalf("%s reads as %s, want %s", x, got, want)
		}
		if back := Number(a.Text()); !a.IsNull() && (!back.Equal(a) || len(a.decimal().String()) > 70) {
			t.Fatalf("%s is written as %s, which reads as %s", x, a.Text(), back)
		}
		if a.IsNull() || b.IsNull() {
			return
		}
		for op, compute := range arithmetic {
			got, want := number(compute(a.decimal(), b.decimal())), fromCty(calculate(op, p, q))
			if got.String() != want.String() {
				t.Fatalf("%s %s %s = %s, want %s", x, operators[op], y, got, want)
			}
		}
		for op, o := range orders {
			want := truth(calculate(op, p, q).True())
			if got := o.of(a.decimal().compare(b.decimal())); got != want {
				t.Fatalf("%s %s %s is %s", x, operators[op], y, got)
			}
			if got := o.compare(constant(a), constant(b))(&Scope{}); got != want {
				t.Fatalf("%s %s the constant %s is %s", x, operators[op], y, got)
			}
		}
		if got, want := a.decimal().equal(b.decimal()), p.Equals(q).True(); got != want {
			t.Fatalf("%s == %s is %v", x, y, got)
		}
	})
}

// Rounding to a place agrees with floor division by the reference's arithmetic.
func TestRounding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := decimals().Draw(t, "x")
		places := rapid.IntRange(-30, 30).Draw(t, "places")
		x := Number(text)
		if x.IsNull() {
			return
		}
		step := numberVal(fmt.Sprintf("1e%d", -places))
		v := numberVal(text)
		rest := calculate(hclsyntax.OpModulo, v, step)
		if rest.IsNull() || calculate(hclsyntax.OpDivide, v, step).IsNull() {
			return
		}
		for how, name := range map[rounding]string{halfAway: "round", down: "floor", up: "ceil"} {
			want := calculate(hclsyntax.OpSubtract, v, rest)
			negative, twice := v.AsBigFloat().Sign() < 0, calculate(hclsyntax.OpMultiply, rest, cty.NumberIntVal(2))
			switch {
			case how == halfAway && !negative && calculate(hclsyntax.OpGreaterThanOrEqual, twice, step).True(),
				how == up && rest.AsBigFloat().Sign() > 0:
				want = calculate(hclsyntax.OpAdd, want, step)
			case how == halfAway && negative && calculate(hclsyntax.OpLessThanOrEqual, twice, calculate(hclsyntax.OpSubtract, cty.Zero, step)).True(),
				how == down && rest.AsBigFloat().Sign() < 0:
				want = calculate(hclsyntax.OpSubtract, want, step)
			}
			if got := number(x.decimal().round(int32(places), how)); got.String() != fromCty(want).String() {
				t.Fatalf("%s(%s, %d) = %s, want %s", name, text, places, got, fromCty(want))
			}
		}
	})
}

func TestFixed(t *testing.T) {
	tests := []struct {
		number string
		places int
		want   int64
		ok     bool
	}{
		{"63.75", 2, 6375, true},
		{"0.005", 2, 1, true},
		{"-0.005", 2, -1, true},
		{"0.00499999", 2, 0, true},
		{"33.3333333333333333333333333333333333333", 2, 3333, true},
		{"1e300", 2, 0, false},
		{"92233720368547758.07", 2, 9223372036854775807, true},
		{"92233720368547758.08", 2, 0, false},
	}
	for _, test := range tests {
		got, ok := Number(test.number).Fixed(test.places)
		if got != test.want || ok != test.ok {
			t.Errorf("%s to %d places: got %d %v, want %d %v", test.number, test.places, got, ok, test.want, test.ok)
		}
	}
	if _, ok := String("1").Fixed(2); ok {
		t.Error("a text is no number")
	}
}

func TestNumberGrammar(t *testing.T) {
	for _, text := range []string{
		"", "-", "+1", "01", "-01", ".5", "5.", "1e", "1e+", "0x10", "1_000", " 1", "1 ", "NaN", "Infinity", "1.5.2", "1e5.5", "--1", "1,5", "١",
		strings.Repeat("9", 41), "1e309", "1e-309", "1e99999999999999999999", "0." + strings.Repeat("0", 308) + "1",
	} {
		if v := Number(text); !v.IsNull() {
			t.Errorf("%q reads as %s", text, v)
		}
	}
	for text, want := range map[string]string{
		"0e99999999999": "0", "-0.000": "0", "1.10": "1.1", "1E+2": "100", strings.Repeat("0", 0) + "100e-2": "1",
		"1" + strings.Repeat("0", 300): "1e300", "1e-3": "0.001", "1e20": "1" + strings.Repeat("0", 20), "-25e21": "-2.5e22",
		"1e-20": "0." + strings.Repeat("0", 19) + "1", "-25e-22": "-2.5e-21",
		"0." + strings.Repeat("0", 5000): "0",
	} {
		if got := Number(text).String(); got != want {
			t.Errorf("%q reads as %s, want %s", text, got, want)
		}
	}
}
