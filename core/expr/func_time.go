package expr

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that a zone's name means the same on every machine
)

func timeFunctions() []Function {
	when := text("time")
	span := param{name: "duration", kinds: stringKind | numberKind}
	zone := param{name: "zone", kinds: stringKind, optional: true, known: true}
	return []Function{
		{
			Name: "parse_time", Group: "time", result: StringKind,
			Doc:    "A time as RFC 3339 in UTC, out of a text or of seconds since 1970. The layout is unix, unix_ms, unix_us or unix_ns, or one of Go's (2006-01-02 15:04:05 -0700); without it the usual forms are tried, as UTC where they name no zone.",
			params: []param{{name: "value", kinds: stringKind | numberKind}, {name: "layout", kinds: stringKind, optional: true}},
			call: func(_ *Scope, a []Value) Value {
				layout := ""
				if len(a) == 2 {
					layout = a[1].str
				}
				t, ok := parseTime(a[0], layout)
				if !ok {
					return Value{}
				}
				return Time(t)
			},
			Examples: []Example{
				{`parse_time("2026-08-14T10:00:00.5+0200")`, `"2026-08-14T08:00:00.5Z"`},
				{`parse_time(1786694400)`, `"2026-08-14T08:00:00Z"`},
				{`parse_time("14/Aug/2026", "02/Jan/2006")`, `"2026-08-14T00:00:00Z"`},
			},
		},
		{
			Name: "time_add", Group: "time", result: StringKind,
			Doc:      "The time that much later. A duration is a text such as 90s, 1h30m or 7d, or a number of seconds.",
			params:   []param{when, span},
			call:     func(_ *Scope, a []Value) Value { return shift(a[0], a[1], 1) },
			Examples: []Example{{`time_add("2026-08-14T08:00:00Z", "1h30m")`, `"2026-08-14T09:30:00Z"`}},
		},
		{
			Name: "time_sub", Group: "time", result: StringKind,
			Doc:      "The time that much earlier.",
			params:   []param{when, span},
			call:     func(_ *Scope, a []Value) Value { return shift(a[0], a[1], -1) },
			Examples: []Example{{`time_sub("2026-08-14T08:00:00Z", "1d")`, `"2026-08-13T08:00:00Z"`}},
		},
		{
			Name: "time_diff", Group: "time", result: NumberKind,
			Doc:    "The seconds from the second time to the first: positive if the first is later.",
			params: []param{when, text("since")},
			call: func(_ *Scope, a []Value) Value {
				return compareTimes(a, func(t, since time.Time) Value {
					nanoseconds := new(big.Int).Mul(big.NewInt(t.Unix()-since.Unix()), big.NewInt(1e9))
					nanoseconds.Add(nanoseconds, big.NewInt(int64(t.Nanosecond()-since.Nanosecond())))
					return number(fromBig(nanoseconds, -9))
				})
			},
			Examples: []Example{{`time_diff("2026-08-14T08:00:01.5Z", "2026-08-14T10:00:00+02:00")`, `1.5`}},
		},
		{
			Name: "time_before", Group: "time", result: BoolKind,
			Doc:    "Whether the first time is earlier than the second.",
			params: []param{when, text("other")},
			call: func(_ *Scope, a []Value) Value {
				return compareTimes(a, func(t, other time.Time) Value { return Bool(t.Before(other)) })
			},
			Examples: []Example{{`time_before("2026-08-14T09:00:00+02:00", "2026-08-14T08:00:00Z")`, `true`}},
		},
		{
			Name: "time_after", Group: "time", result: BoolKind,
			Doc:    "Whether the first time is later than the second.",
			params: []param{when, text("other")},
			call: func(_ *Scope, a []Value) Value {
				return compareTimes(a, func(t, other time.Time) Value { return Bool(t.After(other)) })
			},
			Examples: []Example{{`time_after("2026-08-14T09:00:00+02:00", "2026-08-14T08:00:00Z")`, `false`}},
		},
		{
			Name: "hour_of_day", Group: "time", result: NumberKind,
			Doc:      "The hour, 0 to 23, that a clock shows at the time in the zone, by default UTC.",
			params:   []param{when, zone},
			call:     inZone(hourOfDay),
			prepare:  prepareZone(hourOfDay),
			Examples: []Example{{`hour_of_day("2026-08-14T23:10:00Z", "Europe/Berlin")`, `1`}},
		},
		{
			Name: "weekday", Group: "time", result: StringKind,
			Doc:      "The day of the week, monday to sunday, at the time in the zone, by default UTC.",
			params:   []param{when, zone},
			call:     inZone(weekday),
			prepare:  prepareZone(weekday),
			Examples: []Example{{`weekday("2026-08-14T23:10:00Z", "Europe/Berlin")`, `"saturday"`}},
		},
	}
}

// layouts are tried in turn for a text whose layout is not given.
var layouts = [...]string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 Z0700",
	"2006-01-02 15:04:05 MST",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02",
	"02/Jan/2006:15:04:05 -0700",
	time.RFC1123Z,
	time.RFC1123,
	time.RFC822Z,
	time.UnixDate,
	time.ANSIC,
}

func parseTime(v Value, layout string) (time.Time, bool) {
	digits := map[string]int{"": 9, "unix": 9, "unix_ms": 6, "unix_us": 3, "unix_ns": 0}
	if shift, ok := digits[layout]; ok {
		if v.kind == StringKind && layout != "" {
			v = Number(trimSpace(v.str))
		}
		if v.kind == NumberKind {
			return unixTime(v, shift)
		}
	}
	if v.kind != StringKind || len(v.str) > 100 {
		return time.Time{}, false
	}
	if layout != "" {
		t, err := time.Parse(layout, v.str)
		return t, err == nil && isUTCOrOffset(t)
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, v.str); err == nil && isUTCOrOffset(t) {
			return t, true
		}
	}
	return time.Time{}, false
}

// isUTCOrOffset is false of a zone such as CEST that is known by its letters alone: Go then takes it as UTC, and a wrong
// time is worse than none.
func isUTCOrOffset(t time.Time) bool {
	name, offset := t.Zone()
	return name == "" || name == "UTC" || name == "GMT" || offset != 0
}

func unixTime(v Value, digits int) (time.Time, bool) {
	nanoseconds, ok := v.decimal().mul(whole(pow10(digits).Int64()))
	if !ok {
		return time.Time{}, false
	}
	nanoseconds, ok = nanoseconds.round(0, down)
	if !ok || nanoseconds.exp > 0 {
		return time.Time{}, false
	}
	seconds, rest := new(big.Int).DivMod(nanoseconds.scaled(0), big.NewInt(1e9), new(big.Int))
	if !seconds.IsInt64() || seconds.Int64() < -62167219200 || seconds.Int64() >= 253402300800 {
		return time.Time{}, false // not in the years 0 to 9999
	}
	return time.Unix(seconds.Int64(), rest.Int64()), true
}

// readTime reads what expressions have as times.
func readTime(v Value) (time.Time, bool) {
	if len(v.str) > 40 {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, v.str)
	return t, err == nil
}

func compareTimes(a []Value, compare func(x, y time.Time) Value) Value {
	x, ok := readTime(a[0])
	y, also := readTime(a[1])
	if !ok || !also {
		return Value{}
	}
	return compare(x, y)
}

func readDuration(v Value) (time.Duration, bool) {
	if v.kind == NumberKind {
		if d, ok := v.Fixed(9); ok {
			return time.Duration(d), true
		}
		return 0, false
	}
	if days, ok := strings.CutSuffix(v.str, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n > 100_000 || n < -100_000 {
			return 0, false
		}
		return time.Duration(n) * 24 * time.Hour, true
	}
	d, err := time.ParseDuration(v.str)
	return d, err == nil && len(v.str) < 100
}

func shift(v, by Value, sign time.Duration) Value {
	t, ok := readTime(v)
	d, also := readDuration(by)
	if !ok || !also {
		return Value{}
	}
	return Time(t.Add(sign * d))
}

func hourOfDay(t time.Time) Value { return Int(int64(t.Hour())) }

func weekday(t time.Time) Value { return String(strings.ToLower(t.Weekday().String())) }

func loadZone(name string) (*time.Location, error) {
	if name == "Local" || name == "" {
		return nil, fmt.Errorf("%q depends on the machine; name a zone such as Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no zone %q such as Europe/Berlin", name)
	}
	return zone, nil
}

func inZone(of func(time.Time) Value) callFunc {
	return func(_ *Scope, a []Value) Value {
		zone := time.UTC
		if len(a) == 2 {
			var err error
			if zone, err = loadZone(a[1].str); err != nil {
				return Value{}
			}
		}
		t, ok := readTime(a[0])
		if !ok {
			return Value{}
		}
		return of(t.In(zone))
	}
}

func prepareZone(of func(time.Time) Value) prepareFunc {
	return func(known []*Value) (callFunc, int, error) {
		if len(known) < 2 || known[1] == nil {
			return nil, 0, nil
		}
		zone, err := loadZone(known[1].str)
		return func(_ *Scope, a []Value) Value {
			t, ok := readTime(a[0])
			if !ok {
				return Value{}
			}
			return of(t.In(zone))
		}, 1, err
	}
}
