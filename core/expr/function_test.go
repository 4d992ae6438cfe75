package expr

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

func TestNetworkFunctions(t *testing.T) {
	for source, want := range map[string]string{
		`cidr_contains("10.9.0.0/24", "10.9.0.255")`:                "true",
		`cidr_contains("10.9.0.0/24", "10.9.1.0")`:                  "false",
		`cidr_contains("10.9.0.77/24", "10.9.0.1")`:                 "true",
		`cidr_contains("10.9.0.1", "10.9.0.1")`:                     "true",
		`cidr_contains("10.9.0.0/24", "::ffff:10.9.0.1")`:           "true",
		`cidr_contains("::ffff:10.9.0.0/120", "10.9.0.1")`:          "true",
		`cidr_contains("::ffff:10.9.0.1", "10.9.0.1")`:              "true",
		`cidr_contains("::/0", "10.9.0.1")`:                         "false",
		`cidr_contains("0.0.0.0/0", "2001:db8::1")`:                 "false",
		`cidr_contains("fe80::/10", "fe80::1%eth0")`:                "true",
		`cidr_contains("2001:db8::/32", "2001:DB8:0:0::1")`:         "true",
		`cidr_contains([], "10.9.0.1")`:                             "false",
		`cidr_contains("10.9.0.0/24", x)`:                           "null",
		`cidr_contains(["10.0.0.0/8", x], "10.9.0.1")`:              "null",
		`cidr_contains(y, "10.9.0.1")`:                              "null",
		`is_private_ip("172.31.255.255")`:                           "true",
		`is_private_ip("172.32.0.0")`:                               "false",
		`is_private_ip("100.64.0.1")`:                               "true",
		`is_private_ip("::ffff:192.168.0.1")`:                       "true",
		`is_private_ip("fd00::1")`:                                  "true",
		`is_private_ip("::1")`:                                      "true",
		`is_private_ip("169.254.1.1")`:                              "true",
		`is_private_ip("8.8.8.8")`:                                  "false",
		`is_private_ip("010.1.1.1")`:                                "null",
		`domain_of("http://user:pw@Example.ORG:80/a@b?c=http://x")`: `"example.org"`,
		`domain_of("kim@[10.0.0.1]")`:                               "null",
		`domain_of("http://[::1]:80/")`:                             "null",
		`domain_of("b\u00fccher.example")`:                          `"xn--bcher-kva.example"`,
		`domain_of("_dmarc.example.org.")`:                          `"_dmarc.example.org"`,
		`domain_of("host.example:8443")`:                            `"host.example"`,
		`domain_of("host.example/path")`:                            `"host.example"`,
		`domain_of("not a domain")`:                                 "null",
		`domain_of("")`:                                             "null",
		`domain_of("http://")`:                                      "null",
		`domain_of("::1")`:                                          "null",
	} {
		scope := &Scope{}
		scope.Set("x", String("nonsense"))
		scope.Set("y", String("10.0.0.0/33"))
		if got := mustCompile(t, source, Env{Roots: map[string]*Shape{"x": nil, "y": nil}}).Eval(scope).String(); got != want {
			t.Errorf("%s = %s, want %s", source, got, want)
		}
	}
}

func TestTimeFunctions(t *testing.T) {
	for source, want := range map[string]string{
		`parse_time("2026-08-14T10:12:01.123456+0000")`:                       `"2026-08-14T10:12:01.123456Z"`,
		`parse_time("2026-08-14 10:12:01")`:                                   `"2026-08-14T10:12:01Z"`,
		`parse_time("14/Aug/2026:10:12:01 +0200")`:                            `"2026-08-14T08:12:01Z"`,
		`parse_time("Fri, 14 Aug 2026 10:12:01 -0500")`:                       `"2026-08-14T15:12:01Z"`,
		`parse_time("Fri, 14 Aug 2026 10:12:01 GMT")`:                         `"2026-08-14T10:12:01Z"`,
		`parse_time("Fri, 14 Aug 2026 10:12:01 CEST")`:                        "null",
		`parse_time("2026-08-14")`:                                            `"2026-08-14T00:00:00Z"`,
		`parse_time("yesterday")`:                                             "null",
		`parse_time(1786694400.25)`:                                           `"2026-08-14T08:00:00.25Z"`,
		`parse_time(1786694400250, "unix_ms")`:                                `"2026-08-14T08:00:00.25Z"`,
		`parse_time("1786694400250", "unix_ms")`:                              `"2026-08-14T08:00:00.25Z"`,
		`parse_time(1786694400123456789, "unix_ns")`:                          `"2026-08-14T08:00:00.123456789Z"`,
		`parse_time(-1)`:                                                      `"1969-12-31T23:59:59Z"`,
		`parse_time(1e30)`:                                                    "null",
		`parse_time(253402300800)`:                                            "null",
		`parse_time("2026-08-14T10:00:00Z", "nonsense")`:                      "null",
		`time_add("2026-08-14T08:00:00Z", 90)`:                                `"2026-08-14T08:01:30Z"`,
		`time_add("2026-08-14T08:00:00Z", 0.5)`:                               `"2026-08-14T08:00:00.5Z"`,
		`time_add("2026-08-14T08:00:00Z", "soon")`:                            "null",
		`time_add("9999-12-31T23:00:00Z", "2h")`:                              "null",
		`time_sub("2026-03-29T03:00:00+02:00", "1h")`:                         `"2026-03-29T00:00:00Z"`,
		`time_diff("2026-08-14T08:00:00Z", "2026-08-14T08:00:00.000000001Z")`: "-0.000000001",
		`time_diff("2026-08-14T08:00:00Z", "soon")`:                           "null",
		`time_before("2026-08-14T08:00:00.000Z", "2026-08-14T08:00:00Z")`:     "false",
		`hour_of_day("2026-01-14T23:10:00Z", "Europe/Berlin")`:                "0",
		`hour_of_day("2026-08-14T23:10:00Z")`:                                 "23",
		`hour_of_day("2026-08-14T23:10:00+05:00")`:                            "18",
		`weekday("2026-08-14T12:00:00Z")`:                                     `"friday"`,
		`weekday("14 August")`:                                                "null",
	} {
		if got := mustCompile(t, source, Env{}).Eval(nil).String(); got != want {
			t.Errorf("%s = %s, want %s", source, got, want)
		}
	}
}

// Where a function has a namesake in HCL's own library, the two agree.
func TestFunctionsAgreeWithHCL(t *testing.T) {
	texts := make([]cty.Value, len(someStrings))
	for i, s := range someStrings {
		texts[i] = cty.StringVal(s)
	}
	var numbers, lists []cty.Value
	for _, s := range []string{"0", "1.5", "-1.5", "-0.5", "7", "1e20", "-123456.789"} {
		numbers = append(numbers, numberVal(s))
	}
	for i := range len(texts) - 3 {
		lists = append(lists, cty.ListVal(append(texts[i:i+3:i+3], texts[i])))
	}
	objects := []cty.Value{
		cty.ObjectVal(map[string]cty.Value{"b": cty.True, "a": texts[0]}),
		cty.ObjectVal(map[string]cty.Value{"b": cty.Zero, "z": cty.EmptyTupleVal}),
	}
	tests := []struct {
		name string
		hcl  function.Function
		args [][]cty.Value
	}{
		{"upper", stdlib.UpperFunc, [][]cty.Value{texts}},
		{"lower", stdlib.LowerFunc, [][]cty.Value{texts}},
		{"trim", stdlib.TrimFunc, [][]cty.Value{texts, texts}},
		{"trim", stdlib.TrimSpaceFunc, [][]cty.Value{texts}},
		{"trim_prefix", stdlib.TrimPrefixFunc, [][]cty.Value{texts, texts}},
		{"trim_suffix", stdlib.TrimSuffixFunc, [][]cty.Value{texts, texts}},
		{"split", stdlib.SplitFunc, [][]cty.Value{texts, texts}},
		{"join", stdlib.JoinFunc, [][]cty.Value{texts, lists}},
		{"replace", stdlib.ReplaceFunc, [][]cty.Value{texts, texts, texts}},
		{"abs", stdlib.AbsoluteFunc, [][]cty.Value{numbers}},
		{"ceil", stdlib.CeilFunc, [][]cty.Value{numbers}},
		{"floor", stdlib.FloorFunc, [][]cty.Value{numbers}},
		{"max", stdlib.MaxFunc, [][]cty.Value{numbers, numbers}},
		{"min", stdlib.MinFunc, [][]cty.Value{numbers, numbers}},
		{"concat", stdlib.ConcatFunc, [][]cty.Value{lists, lists}},
		{"distinct", stdlib.DistinctFunc, [][]cty.Value{lists}},
		{"sort", stdlib.SortFunc, [][]cty.Value{lists}},
		{"flatten", stdlib.FlattenFunc, [][]cty.Value{{cty.TupleVal([]cty.Value{lists[0], cty.TupleVal([]cty.Value{lists[1]}), cty.Zero})}}},
		{"keys", stdlib.KeysFunc, [][]cty.Value{objects}},
		{"values", stdlib.ValuesFunc, [][]cty.Value{objects}},
		{"merge", stdlib.MergeFunc, [][]cty.Value{objects, objects}},
	}
	for _, test := range tests {
		combinations(test.args, nil, func(args []cty.Value) {
			if len(test.args) == 1 && test.name == "trim" {
				args = args[:1]
			}
			out, err := test.hcl.Call(args)
			if err != nil {
				t.Fatalf("%s(%v): %v", test.name, args, err)
			}
			s := &Scope{}
			s.begin(0, false)
			want := fromHCL(out)
			if got := functions[test.name].call(s, fromHCLs(args)); !got.Equal(want) {
				t.Errorf("%s(%v) = %s, want %s", test.name, fromHCLs(args), got, want)
			}
		})
	}
}

func combinations(choices [][]cty.Value, chosen []cty.Value, each func([]cty.Value)) {
	if len(choices) == 0 {
		each(chosen)
		return
	}
	for _, v := range choices[0] {
		combinations(choices[1:], append(chosen[:len(chosen):len(chosen)], v), each)
	}
}

// fromHCL takes lists and maps too, which expressions have no use for.
func fromHCL(v cty.Value) Value {
	if v.IsNull() || !v.CanIterateElements() {
		return fromCty(v)
	}
	if v.Type().IsObjectType() || v.Type().IsMapType() {
		fields := map[string]Value{}
		for name, field := range v.AsValueMap() {
			fields[name] = fromHCL(field)
		}
		return Object(fields)
	}
	return List(fromHCLs(v.AsValueSlice()))
}

func fromHCLs(values []cty.Value) []Value {
	items := make([]Value, len(values))
	for i, v := range values {
		items[i] = fromHCL(v)
	}
	return items
}

// FuzzFunctions calls every function with hostile texts. What comes back must be a value as every other: the same each
// time, within the limits, in UTF-8 and NFC.
func FuzzFunctions(f *testing.F) {
	for i, s := range someStrings {
		f.Add(s, someStrings[(i*7+3)%len(someStrings)], somePatterns[i%len(somePatterns)])
	}
	f.Add("%s%-10d", "https://a@b:c@d.e:99/", "2026-08-14 10:00:00 CEST")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		a, b, c = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?"), strings.ToValidUTF8(c, "?")
		for _, f := range Functions() {
			args := hostileArguments(f, a, b, c)
			s := &Scope{}
			s.begin(0, false)
			v := f.call(s, args)
			text := v.String()
			if again := f.call(s, args).String(); again != text {
				t.Errorf("%s(%s): first %s, then %s", f.Name, args, text, again)
			}
			if back := fromCty(toCty(v)).String(); back != text || !utf8.ValidString(text) {
				t.Errorf("%s(%s) = %s, which is %s as cty", f.Name, args, text, back)
			}
			if f.result != NullKind && !v.IsNull() && v.Kind() != f.result {
				t.Errorf("%s(%s) is a %s, want a %s", f.Name, args, v.Kind(), f.result)
			}
		}
	})
}

func hostileArguments(f Function, texts ...string) []Value {
	args := make([]Value, 0, 3)
	for i, p := range f.params {
		v := String(texts[i%3])
		switch number := Number(texts[i%3]); {
		case p.kinds.has(NumberKind) && !number.IsNull():
			v = number
		case p.kinds.has(NumberKind) && !p.kinds.has(StringKind):
			v = Int(int64(len(texts[i%3])) - 3)
		case p.kinds.has(ListKind) && (!p.kinds.has(StringKind) || len(texts[i%3])%2 == 0):
			v = List([]Value{String(texts[0]), List([]Value{String(texts[1])}), {}, Int(int64(len(texts[2])))})
		case !p.kinds.has(StringKind) && p.kinds.has(ObjectKind):
			v = Object(map[string]Value{texts[0]: String(texts[1]), texts[1]: Int(1)})
		case !p.kinds.has(StringKind):
			v = Bool(len(texts[0])%2 == 0)
		}
		args = append(args, v)
	}
	return args
}
