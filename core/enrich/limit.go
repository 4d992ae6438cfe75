package enrich

import "time"

// Used is what a source has used of its limits: observables asked about.
type Used struct {
	MinuteStart time.Time `json:"minute_start"`
	Minute      int       `json:"minute"`
	DayStart    time.Time `json:"day_start"`
	Day         int       `json:"day"`
}

// limited tells whether a source has limits of its own.
func (s *Source) limited() bool { return s.PerMinute > 0 || s.PerDay > 0 }

// limit says how many may be asked now (at most want) and, if none, when again.
// Windows are fixed: a minute or day begins with its first use.
func (u *Used) limit(s *Source, want int, now time.Time) (n int, again time.Time) {
	window(&u.MinuteStart, &u.Minute, time.Minute, now)
	window(&u.DayStart, &u.Day, 24*time.Hour, now)
	n = want
	if s.PerMinute > 0 {
		if left := s.PerMinute - u.Minute; left < n {
			n, again = max(left, 0), u.MinuteStart.Add(time.Minute)
		}
	}
	if s.PerDay > 0 {
		if left := s.PerDay - u.Day; left < n {
			n, again = max(left, 0), u.DayStart.Add(24*time.Hour)
		}
	}
	if n > 0 {
		again = time.Time{}
	}
	return n, again
}

// room is what the limits leave.
func (u Used) room(s *Source, now time.Time) (minute, day Room) {
	window(&u.MinuteStart, &u.Minute, time.Minute, now)
	window(&u.DayStart, &u.Day, 24*time.Hour, now)
	if s.PerMinute > 0 {
		minute = Room{s.PerMinute, max(0, s.PerMinute-u.Minute)}
	}
	if s.PerDay > 0 {
		day = Room{s.PerDay, max(0, s.PerDay-u.Day)}
	}
	return minute, day
}

// window begins anew when it is over. A clock that was set back makes it longer, and
// gives nothing away.
func window(start *time.Time, count *int, length time.Duration, now time.Time) {
	switch {
	case now.Before(*start):
		*start = now
	case now.Sub(*start) >= length:
		*start, *count = now, 0
	}
}

func (u *Used) add(n int) {
	u.Minute += n
	u.Day += n
}
