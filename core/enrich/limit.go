package enrich

import "time"

// Used is what a source has used of its limits: observables asked about.
type Used struct {
	MinuteStart time.Time `json:"minute_start"`
	Minute      int       `json:"minute"`
	DayStart    time.Time `json:"day_start"`
	Day         int       `json:"day"`
}

// limit says how many may be asked now (at most want) and, if none, when again.
// Windows are fixed: a minute or day begins with its first use.
func (u *Used) limit(s Source, want int, now time.Time) (n int, again time.Time) {
	if now.Sub(u.MinuteStart) >= time.Minute || now.Before(u.MinuteStart) {
		u.MinuteStart, u.Minute = now, 0
	}
	if now.Sub(u.DayStart) >= 24*time.Hour || now.Before(u.DayStart) {
		u.DayStart, u.Day = now, 0
	}
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

func (u *Used) add(n int) {
	u.Minute += n
	u.Day += n
}
