package oncall

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/zone"
)

func calendarOf(events ...string) []byte {
	text := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//\n"
	for i, e := range events {
		text += fmt.Sprintf("BEGIN:VEVENT\nUID:e%d\n%s\nEND:VEVENT\n", i, strings.ReplaceAll(e, "; ", "\n"))
	}
	return []byte(strings.ReplaceAll(text+"END:VCALENDAR\n", "\n", "\r\n"))
}

func shown1(shifts []model.Shift) (all []string) {
	for _, s := range shifts {
		all = append(all, s.From.Format("01-02T15:04")+" "+s.To.Format("01-02T15:04")+" "+strings.Join(s.People, "+"))
	}
	return all
}

func TestCalendar(t *testing.T) {
	berlin, err := zone.Load("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		events []string
		want   []string
	}{
		"once": {
			[]string{"DTSTART:20260321T080000Z; DTEND:20260322T080000Z; SUMMARY:kim"},
			[]string{"03-21T08:00 03-22T08:00 kim"},
		},
		"begun before": {
			[]string{"DTSTART:20260319T080000Z; DTEND:20260320T080000Z; SUMMARY:kim", "DTSTART:20260318T080000Z; DTEND:20260319T080000Z; SUMMARY:ann"},
			[]string{"03-19T08:00 03-20T08:00 kim"},
		},
		"weekly, over the change of the clocks": {
			[]string{"DTSTART;TZID=Europe/Berlin:20260105T080000; DTEND;TZID=Europe/Berlin:20260112T080000; RRULE:FREQ=WEEKLY;INTERVAL=2; ATTENDEE;CN=Kim:mailto:kim@example.org; SUMMARY:Netsec"},
			[]string{"03-16T07:00 03-23T07:00 kim@example.org", "03-30T06:00 04-06T06:00 kim@example.org"},
		},
		"by a name of Windows": {
			[]string{"DTSTART;TZID=W. Europe Standard Time:20260321T080000; DURATION:PT12H; SUMMARY:kim"},
			[]string{"03-21T07:00 03-21T19:00 kim"},
		},
		"in the zone of the schedule": {
			[]string{"DTSTART:20260321T080000; DURATION:P1D; SUMMARY:kim"},
			[]string{"03-21T07:00 03-22T07:00 kim"},
		},
		"whole days": {
			[]string{"DTSTART;VALUE=DATE:20260321; DTEND;VALUE=DATE:20260323; SUMMARY:kim\\, ann", "DTSTART;VALUE=DATE:20260324; SUMMARY:lee"},
			[]string{"03-20T23:00 03-22T23:00 kim+ann", "03-23T23:00 03-24T23:00 lee"},
		},
		"but for some": {
			[]string{"DTSTART:20260320T080000Z; DTEND:20260320T200000Z; RRULE:FREQ=DAILY;COUNT=4; EXDATE:20260321T080000Z,20260322T080000Z; SUMMARY:kim"},
			[]string{"03-20T08:00 03-20T20:00 kim", "03-23T08:00 03-23T20:00 kim"},
		},
		"and some more": {
			[]string{"DTSTART:20260320T080000Z; DURATION:PT1H; RRULE:FREQ=DAILY;UNTIL=20260320T235959Z; RDATE:20260325T080000Z; SUMMARY:kim"},
			[]string{"03-20T08:00 03-20T09:00 kim", "03-25T08:00 03-25T09:00 kim"},
		},
		"swapped": {
			[]string{
				"UID:w; DTSTART:20260320T080000Z; DTEND:20260321T080000Z; RRULE:FREQ=DAILY;COUNT=2; SUMMARY:kim",
				"UID:w; RECURRENCE-ID:20260321T080000Z; DTSTART:20260321T090000Z; DTEND:20260322T080000Z; SUMMARY:ann",
			},
			[]string{"03-20T08:00 03-21T08:00 kim", "03-21T09:00 03-22T08:00 ann"},
		},
		"cancelled, of nobody, of no time": {
			[]string{
				"DTSTART:20260321T080000Z; DTEND:20260322T080000Z; STATUS:CANCELLED; SUMMARY:kim",
				"DTSTART:20260321T080000Z; DTEND:20260322T080000Z", "DTSTART:20260321T080000Z; SUMMARY:kim",
			},
			nil,
		},
		"never":              {[]string{"DTSTART:20260101T080000Z; DURATION:PT1H; RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30; SUMMARY:kim"}, nil},
		"beyond the horizon": {[]string{"DTSTART:20270101T080000Z; DURATION:PT1H; SUMMARY:kim"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Calendar(calendarOf(c.events...), berlin, from, from.Add(Horizon))
			if err != nil {
				t.Fatal(err)
			}
			var within []string
			for _, s := range shown1(got) {
				if len(within) < len(c.want) || c.want == nil {
					within = append(within, s)
				}
			}
			if diff := cmp.Diff(c.want, within); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCalendarComplaints(t *testing.T) {
	from := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
	many := make([]string, MaxEvents+1)
	for i := range many {
		many[i] = "DTSTART:20200101T080000Z; SUMMARY:kim"
	}
	crowd := make([]string, MaxShifts+1)
	for i := range crowd {
		crowd[i] = "DTSTART:20260321T080000Z; DURATION:PT1H; SUMMARY:p" + fmt.Sprint(i)
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"no calendar":  {[]byte("from,to,person\n"), "not an iCalendar file"},
		"no start":     {calendarOf("SUMMARY:kim"), "it has no DTSTART"},
		"no time":      {calendarOf("DTSTART:tomorrow; SUMMARY:kim"), `DTSTART: "tomorrow" is no time`},
		"no zone":      {calendarOf("DTSTART;TZID=Mars:20260321T080000; SUMMARY:kim"), `the time zone "Mars" is not known`},
		"within a day": {calendarOf("DTSTART:20260321T080000Z; DURATION:PT1S; RRULE:FREQ=SECONDLY; SUMMARY:kim"), "recurs within a day"},
		"no rule":      {calendarOf("DTSTART:20260321T080000Z; DURATION:PT1S; RRULE:FREQ=SOMETIMES; SUMMARY:kim"), "its rule"},
		"too long":     {calendarOf("DTSTART:20200321T080000Z; DURATION:P9999W; SUMMARY:kim"), "it lasts"},
		"ends before":  {calendarOf("DTSTART:20260321T080000Z; DTEND:20260320T080000Z; SUMMARY:kim"), "it lasts"},
		"no duration":  {calendarOf("DTSTART:20260321T080000Z; DURATION:long; SUMMARY:kim"), "is no duration"},
		"many events":  {calendarOf(many...), "more than 5000 events"},
		"many shifts":  {calendarOf(crowd...), "it has too many shifts"},
		"another year": {calendarOf("DTSTART:99990321T080000Z; SUMMARY:kim"), "the year 9999"},
		"two rules":    {calendarOf("DTSTART:20260321T080000Z; RRULE:FREQ=DAILY; RRULE:FREQ=DAILY; SUMMARY:kim"), "two rules"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Calendar(c.content, time.UTC, from, from.Add(Horizon))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// FuzzCalendar: whatever a file holds, it is read within bounds or refused.
func FuzzCalendar(f *testing.F) {
	f.Add(calendarOf("DTSTART;TZID=Europe/Berlin:20260105T080000; DTEND:20260112T080000Z; RRULE:FREQ=WEEKLY;INTERVAL=2; ATTENDEE:mailto:kim@example.org"))
	f.Add(calendarOf("DTSTART;VALUE=DATE:20260321; DURATION:P2D; RRULE:FREQ=MONTHLY;BYDAY=-1MO; EXDATE:20260330; SUMMARY:kim"))
	f.Add(calendarOf("DTSTART:20260105T080000Z; RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30; RDATE:20260330T080000Z/PT1H; RECURRENCE-ID:20260105T080000Z"))
	f.Add([]byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\n"))
	from := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 1<<16 {
			return
		}
		began := time.Now()
		shifts, err := Calendar(content, time.UTC, from, from.Add(Horizon))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if err != nil {
			return
		}
		if len(shifts) > MaxShifts {
			t.Errorf("%d shifts", len(shifts))
		}
		for i, s := range shifts {
			if !s.To.After(s.From) || !s.To.After(from) || len(s.People) == 0 || i > 0 && s.From.Before(shifts[i-1].From) {
				t.Errorf("shift %d is %+v", i, s)
			}
		}
	})
}
