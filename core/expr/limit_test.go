package expr

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whatever the data, an evaluation ends soon. What is given up says so.
func TestHostileDataTakesBoundedWork(t *testing.T) {
	numbers := "[" + strings.Repeat("0,", 400_000) + "0]"
	exponents := "[" + strings.Repeat("1e308,", 150_000) + "0]"
	text := `"` + strings.Repeat("a", 1_000_000) + `"`
	var keys strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&keys, `"k%d":%d,`, i, i)
	}
	object := "{" + keys.String() + `"last":1}`
	deep := strings.Repeat(`{"a":`, 120) + numbers + strings.Repeat("}", 120)
	escaped := `"` + strings.Repeat(`\u00e9`, 160_000) + `"`

	tests := []struct {
		name, data, source string
		exceeded           bool
	}{
		{"loops in loops", numbers, `[for a in event.raw.d : [for b in event.raw.d : a + b]]`, true},
		{"loops over ranges", "1", `[for a in range(60000) : [for b in range(60000) : [for c in range(60000) : event.raw.d]]]`, true},
		{"index in a loop", numbers, `[for i in range(60000) : event.raw.d[399999]]`, true},
		{"path in a loop", object, `[for i in range(60000) : event.raw.d.last]`, false},
		{"absent path in a loop", object, `[for i in range(60000) : event.raw.d.absent]`, false},
		{"path of an element in a loop", object, `[for e in [event.raw.d] : [for i in range(60000) : e.last]]`, true},
		{"absent path of an element in a loop", object, `[for e in [event.raw.d] : [for i in range(60000) : e.absent]]`, true},
		{"attribute of a list", numbers, `event.raw.d.a`, false},
		{"equality in a loop", object, `[for i in range(1000) : event.raw.d == event.raw]`, true},
		{"equality of shared parts", "[" + numbers[:80_001] + "0]]", `[for a in range(1000) : event.raw.d] == [for b in range(1000) : event.raw.d]`, true},
		{"shared parts as text", "1", `"x${[for i in range(300) : [for j in range(300) : [event.raw.d, range(300)]]]}"`, true},
		{"numbers that grow as text", exponents, `jsonencode(event.raw.d)`, false},
		{"numbers that grow in a template", exponents, `"x${event.raw.d}"`, false},
		{"texts in a loop", text, `[for i in range(60000) : "${event.raw.d}x"]`, true},
		{"replace that grows", text, `replace(event.raw.d, "a", "${event.raw.d}")`, false},
		{"pattern replacement that grows", text, `regex_replace("a", event.raw.d, "$0$0$0$0$0")`, false},
		{"pattern that is slow", text, `regex("(x+x+)+y|(a?){50}b", event.raw.d)`, true},
		{"pattern in a loop", text, `[for i in range(1000) : regex("b$", event.raw.d)]`, true},
		{"split into characters", text, `split("", event.raw.d)`, false},
		{"join with a long separator", "1", `join("${join("", range(60000))}", range(1000))`, false},
		{"sort", numbers, `sort(event.raw.d)`, false},
		{"distinct", numbers, `distinct(event.raw.d)`, false},
		{"merge", object, `merge([for i in range(2000) : event.raw.d]...)`, false},
		{"concat", numbers, `concat([for i in range(2000) : event.raw.d]...)`, false},
		{"flatten", deep, `flatten([for i in range(2000) : event.raw.d])`, false},
		{"deep", deep, `jsonencode(event.raw.d)`, true},
		{"escapes in a loop", escaped, `[for i in range(60000) : event.raw.d]`, false},
		{"escapes of an element in a loop", escaped, `[for e in [event.raw] : [for i in range(60000) : e.d]]`, true},
		{"format", text, `format("%s%s%s", event.raw.d, event.raw.d, event.raw.d)`, false},
		{"decode in a loop", `"` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `"`, `[for i in range(60000) : jsondecode(event.raw.d)]`, false},
		{"groups", "1", `{ for i in range(60000) : "k" => concat(range(60000), [event.raw.d])... }`, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := mustCompile(t, test.source, indexedEnv())
			scope := plannedScope(`{"d": `+test.data+`}`, NewPlan(p))
			start := time.Now()
			v := p.Eval(scope)
			// Without a bound the least of these takes hours; a busy machine is slow, but not as slow as that.
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %s", took)
			}
			if scope.Exceeded() != test.exceeded {
				t.Errorf("exceeded %v, want %v; the result is a %s", scope.Exceeded(), test.exceeded, v.Kind())
			}
			if scope.Exceeded() && !v.IsNull() {
				t.Errorf("given up with the result %.100s", v)
			}
			// One that was given up says nothing about the next.
			if v := mustCompile(t, `event.severity + 1`, Env{Roots: eventRoots()}).Eval(scope); !v.Equal(Int(61)) || scope.Exceeded() {
				t.Errorf("the next evaluation gives %s", v)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	long := `"` + strings.Repeat("a", maxText) + `"`
	for source, want := range map[string]string{
		`length(event.raw.d)`:                "1048576",
		`length("${event.raw.d}x")`:          "null",
		`length(upper(event.raw.d))`:         "1048576",
		`length(range(65536))`:               "65536",
		`range(65537)`:                       "null",
		`length(range(-9, 65527))`:           "65536",
		`range(-9e18, 9e18)`:                 "null",
		`concat(range(60000), range(60000))`: "null",
	} {
		if got := mustCompile(t, source, Env{Roots: eventRoots()}).Eval(eventScope(`{"d": ` + long + `}`)).String(); got != want {
			t.Errorf("%s = %.40s, want %s", source, got, want)
		}
	}
}

func TestNesting(t *testing.T) {
	source := strings.Repeat("!(", maxNesting) + "true" + strings.Repeat(")", maxNesting)
	if _, diags := Compile(mustParse(t, source), Env{}); len(diags) != 1 || diags[0].Summary != "Too deep" {
		t.Errorf("got %v", diags)
	}
}
