package match

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// observables sets the signal's observables: the map's, for the roles that it has,
// and else the connector's. What is no such value is left out, and noted.
func (w *Worker) observables(p *Pipeline, e *model.Event, m *model.Signal) {
	mapped := p.Map.Subjects != nil || p.Map.Indicators != nil || p.Map.Observables != nil
	if !mapped {
		for _, o := range e.Observables {
			add(m, o.Kind, o.Value, o.Role)
		}
	} else {
		w.role(p.Map.Subjects, sdk.Subject, m)
		w.role(p.Map.Indicators, sdk.Indicator, m)
		w.role(p.Map.Observables, sdk.NoRole, m)
	}
	m.Observables = sortObservables(m.Observables)
}

func (w *Worker) role(p *expr.Program, role sdk.Role, m *model.Signal) {
	for kind, v := range w.eval(p).Fields() {
		for leaf := range v.Leaves() {
			switch leaf.Kind() {
			case expr.StringKind, expr.NumberKind:
				add(m, kind, leaf.Text(), role)
			default:
				note(m, "%s %s: not a text", kind, leaf.Kind())
			}
		}
	}
}

func add(m *model.Signal, kind, value string, role sdk.Role) {
	if value == "" {
		return
	}
	if len(m.Observables) >= maxObservables {
		note(m, "more than %d observables; the rest is left out", maxObservables)
		return
	}
	o, err := sdk.Canonical(kind, value)
	if err != nil {
		note(m, "%s", err)
		return
	}
	o.Role = role
	m.Observables = append(m.Observables, o)
}

// note keeps what of an event could not be read, bounded whatever comes.
func note(m *model.Signal, format string, args ...any) {
	text := clip(fmt.Sprintf(format, args...), 256)
	if n := len(m.Notes); n < maxNotes && (n == 0 || m.Notes[n-1] != text) {
		m.Notes = append(m.Notes, text)
	}
}

// clip shortens s to at most n bytes, at the end of a character. Bytes that are no
// character become one that says so, as they would, and grow, on their way to decide.
func clip(s string, n int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	if len(s) <= n {
		return s
	}
	const dots = "…"
	n -= len(dots)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + dots
}

// layouts of times as logs write them; those without a zone are read in the
// pipeline's.
var layouts = []string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05.999999999-0700",
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999-0700",
	"2006-01-02 15:04:05.999999999 -0700",
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999",
	"Mon Jan _2 15:04:05 2006",
	"Mon, 02 Jan 2006 15:04:05 -0700",
	"02/Jan/2006:15:04:05 -0700",
}

// Numbers at or above these are read as milliseconds, microseconds and nanoseconds
// since 1970 instead of seconds: as seconds they would lie after the year 5138.
const (
	asMillis = 1e11
	asMicros = 1e14
	asNanos  = 1e17
)

// eventTime reads a time: RFC 3339 and what logs write instead, or a number since
// 1970.
func eventTime(v expr.Value, zone *time.Location) (time.Time, bool) {
	if v.Kind() == expr.NumberKind {
		f, ok := v.Float()
		switch {
		case !ok || f < 0:
			return time.Time{}, false
		case f >= asNanos:
			return time.Unix(0, int64(f)), f < 1e19/2
		case f >= asMicros:
			return time.UnixMicro(int64(f)), true
		case f >= asMillis:
			return time.UnixMilli(int64(f)), true
		}
		return time.UnixMicro(int64(f * 1e6)), true
	}
	s, ok := v.Str()
	if !ok || len(s) > 64 {
		return time.Time{}, false
	}
	if zone == nil {
		zone = time.UTC
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
