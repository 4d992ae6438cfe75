package oncall

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
	"github.com/teambition/rrule-go"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/zone"
)

// Calendar reads the shifts of an iCalendar file (RFC 5545) that are within a time. Each
// event is a shift, of those whom it invites or else whom its summary names; local is the
// zone of times without one.
func Calendar(content []byte, local *time.Location, from, to time.Time) ([]model.Shift, error) {
	if bytes.Count(content, []byte("BEGIN:")) > 8*MaxEvents {
		return nil, fmt.Errorf("it has more than %d events", MaxEvents)
	}
	parsed, err := ics.ParseCalendar(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("not an iCalendar file: %w", err)
	}
	events := parsed.Events()
	if len(events) > MaxEvents {
		return nil, fmt.Errorf("it has more than %d events", MaxEvents)
	}
	c := calendar{shifts: shifts{from: from, to: to}, zones: map[string]*time.Location{"": local}, moved: map[string][]time.Time{}}
	var all []event
	for i, component := range events {
		e, err := c.event(component.Properties)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		if !e.instance.IsZero() {
			c.moved[e.uid] = append(c.moved[e.uid], e.instance)
		}
		all = append(all, e)
	}
	for i := range all {
		if err := c.expand(&all[i]); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return c.sorted(), nil
}

// calendar is what is known while one is read.
type calendar struct {
	shifts
	zones map[string]*time.Location // by TZID
	// moved are the times of events that recur for which there are events of their own.
	moved map[string][]time.Time
	steps int
}

// event is a VEVENT.
type event struct {
	uid       string
	from      time.Time
	lasts     time.Duration // by the clocks of its zone
	people    []string
	rule      string
	more      []time.Time // RDATE
	except    []time.Time // EXDATE
	instance  time.Time   // RECURRENCE-ID
	cancelled bool
}

func (c *calendar) event(properties []ics.IANAProperty) (e event, err error) {
	var summary string
	var invited []string
	var ends time.Time
	var lasts string
	day := false
	for i := range properties {
		p := &properties[i].BaseProperty
		var problem error
		switch strings.ToUpper(p.IANAToken) {
		case "UID":
			e.uid = p.Value
		case "SUMMARY":
			summary = p.Value
		case "ATTENDEE":
			invited = append(invited, attendee(p))
		case "STATUS":
			e.cancelled = strings.EqualFold(p.Value, "CANCELLED")
		case "DTSTART":
			day = !strings.Contains(p.Value, "T")
			e.from, problem = c.time(p, p.Value)
		case "DTEND":
			ends, problem = c.time(p, p.Value)
		case "DURATION":
			lasts = p.Value
		case "RECURRENCE-ID":
			e.instance, problem = c.time(p, p.Value)
		case "RRULE":
			if e.rule != "" {
				problem = errors.New("it has two rules")
			}
			e.rule = p.Value
		case "EXRULE":
			problem = errors.New("EXRULE is not read, which calendars have given up")
		case "EXDATE":
			e.except, problem = c.times(e.except, p)
		case "RDATE":
			e.more, problem = c.times(e.more, p)
		}
		if problem != nil {
			return e, fmt.Errorf("%.40s: %w", p.IANAToken, problem)
		}
	}
	if e.from.IsZero() {
		return e, errors.New("it has no DTSTART")
	}
	if e.people = people(invited); len(e.people) == 0 {
		e.people = people(strings.FieldsFunc(summary, func(r rune) bool { return r == ',' || r == ';' }))
	}
	switch {
	case !ends.IsZero():
		e.lasts = shown(ends.In(e.from.Location())).Sub(shown(e.from))
	case lasts != "":
		e.lasts, err = span(lasts)
	case day:
		e.lasts = 24 * time.Hour
	}
	if err == nil && (e.lasts < 0 || e.lasts > maxShift) {
		err = fmt.Errorf("it lasts less than nothing, or more than %d days", int(maxShift/(24*time.Hour)))
	}
	return e, err
}

// attendee is the address of who is invited, or else the name.
func attendee(p *ics.BaseProperty) string {
	scheme, address, ok := strings.Cut(p.Value, ":")
	if ok && strings.EqualFold(scheme, "mailto") && strings.Contains(address, "@") {
		return address
	}
	for name, values := range p.ICalParameters {
		if strings.EqualFold(name, "CN") && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// shown is what clocks in a time's zone show, as if that were UTC.
func shown(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// after is what clocks of its zone show so much later: a shift from eight to eight is one
// also where they are changed.
func after(t time.Time, lasts time.Duration) time.Time {
	s := shown(t).Add(lasts)
	return time.Date(s.Year(), s.Month(), s.Day(), s.Hour(), s.Minute(), s.Second(), 0, t.Location())
}

func (c *calendar) expand(e *event) error {
	if e.cancelled || len(e.people) == 0 {
		return nil
	}
	starts := append([]time.Time{e.from}, e.more...)
	if e.rule != "" {
		recurring, err := c.recurring(e)
		if err != nil {
			return err
		}
		starts = append(recurring, e.more...)
	}
	except := e.except
	if e.instance.IsZero() {
		except = append(slices.Clone(except), c.moved[e.uid]...)
	}
	without := make(map[int64]bool, len(except))
	for _, t := range except {
		without[t.Unix()] = true
	}
	for _, start := range starts {
		if without[start.Unix()] {
			continue
		}
		if err := c.add(start, after(start, e.lasts), e.people); err != nil {
			return err
		}
	}
	return nil
}

var errRule = errors.New("its rule takes too long to work out")

// recurring are the beginnings of an event that recurs, as far as they matter.
func (c *calendar) recurring(e *event) ([]time.Time, error) {
	if len(e.rule) > 1000 {
		return nil, errors.New("its rule is too long")
	}
	option, err := rrule.StrToROptionInLocation(e.rule, e.from.Location())
	if err != nil {
		return nil, fmt.Errorf("its rule %.60q: %w", e.rule, err)
	}
	if option.Freq > rrule.DAILY {
		return nil, fmt.Errorf("its rule %.60q recurs within a day", e.rule)
	}
	option.Dtstart = e.from
	rule, err := rrule.NewRRule(*option)
	if err != nil {
		return nil, fmt.Errorf("its rule %.60q: %w", e.rule, err)
	}
	if !possible(option) {
		return nil, nil
	}
	var starts []time.Time
	for next := rule.Iterator(); ; {
		if c.steps++; c.steps > maxSteps {
			return nil, errRule
		}
		start, ok := next()
		if !ok || !start.Before(c.to) {
			return starts, nil
		}
		if after(start, e.lasts).After(c.from) {
			starts = append(starts, start)
		}
	}
}

// possible tells whether a rule can have a day at all: of one that can't, the library
// looks at every day up to the year 9999.
func possible(o *rrule.ROption) bool {
	if len(o.Bymonth) == 0 || len(o.Bymonthday) == 0 {
		return true
	}
	for _, month := range o.Bymonth {
		most := 31
		switch month {
		case 2:
			most = 29
		case 4, 6, 9, 11:
			most = 30
		}
		for _, day := range o.Bymonthday {
			if max(day, -day) <= most {
				return true
			}
		}
	}
	return false
}

func (c *calendar) times(all []time.Time, p *ics.BaseProperty) ([]time.Time, error) {
	for value := range strings.SplitSeq(p.Value, ",") {
		if c.steps++; c.steps > maxSteps {
			return nil, errRule
		}
		begin, _, _ := strings.Cut(value, "/") // of a period its beginning
		t, err := c.time(p, begin)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// time of a property: a day, or a time in UTC, in a zone or in none.
func (c *calendar) time(p *ics.BaseProperty, text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse("20060102T150405Z", text); err == nil {
		return plausible(t)
	}
	id := ""
	for name, values := range p.ICalParameters {
		if strings.EqualFold(name, "TZID") && len(values) > 0 {
			id = values[0]
		}
	}
	in, err := c.zone(id)
	if err != nil {
		return time.Time{}, err
	}
	for _, layout := range []string{"20060102T150405", "20060102T1504", "20060102"} {
		if t, err := time.ParseInLocation(layout, text, in); err == nil {
			return plausible(t)
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time", text)
}

func plausible(t time.Time) (time.Time, error) {
	if t.Year() < 1970 || t.Year() > 2200 {
		return t, fmt.Errorf("the year %d", t.Year())
	}
	return t, nil
}

// zone finds a zone by its TZID: a name of the IANA list, also behind a prefix, or of
// Windows.
func (c *calendar) zone(id string) (*time.Location, error) {
	if z := c.zones[id]; z != nil {
		return z, nil
	}
	name := strings.Trim(id, `"`)
	if iana, ok := windows[name]; ok {
		name = iana
	}
	for {
		z, err := zone.Load(name)
		if err == nil && name != "" {
			c.zones[id] = z
			return z, nil
		}
		_, rest, more := strings.Cut(name, "/")
		if !more {
			return nil, fmt.Errorf("the time zone %.60q is not known", id)
		}
		name = rest
	}
}

// span is a DURATION: "P7D", "PT12H30M", "P1DT12H".
func span(text string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "+"), "P")
	units := map[rune]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour}
	var all time.Duration
	n, digits := 0, 0
	for _, r := range rest {
		switch {
		case r >= '0' && r <= '9' && digits < 6:
			n, digits = n*10+int(r-'0'), digits+1
		case r == 'T' && digits == 0:
			units = map[rune]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}
		case units[r] > 0 && digits > 0:
			all += min(time.Duration(n)*units[r], 2*maxShift)
			all = min(all, 2*maxShift)
			n, digits = 0, 0
		default:
			ok = false
		}
	}
	if !ok || digits > 0 || rest == "" {
		return 0, fmt.Errorf("%.40q is no duration", text)
	}
	return all, nil
}
