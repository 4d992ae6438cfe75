package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// errZone means that a time zone is not known.
var errZone = errors.New("is no time zone")

// clock reads times of one notation.
type clock struct {
	layout string        // of package time; empty: a number
	unit   time.Duration // of a number since 1970
	yearly bool          // the year is not written
	zone   *time.Location
}

// newClock knows the names of time_format; everything else is a layout.
func newClock(format, timezone string) (clock, error) {
	zone, err := time.LoadLocation(timezone)
	if err != nil || timezone == "Local" {
		return clock{}, fmt.Errorf("%q %w; write one such as Europe/Berlin, or UTC", timezone, errZone)
	}
	c := clock{zone: zone}
	switch format {
	case "", "rfc3339":
		c.layout = time.RFC3339
	case "unix":
		c.unit = time.Second
	case "unixms":
		c.unit = time.Millisecond
	case "unixus":
		c.unit = time.Microsecond
	case "unixns":
		c.unit = time.Nanosecond
	case "asctime":
		c.layout = time.ANSIC
	case "syslog":
		c.layout, c.yearly = time.Stamp, true
	case "rfc1123":
		c.layout = time.RFC1123Z
	case "clf":
		c.layout = "02/Jan/2006:15:04:05 -0700"
	default:
		if err := checkLayout(format); err != nil {
			return clock{}, err
		}
		c.layout, c.yearly = format, !hasYear(format)
	}
	return c, nil
}

// checkLayout makes sure that a layout tells a day and a time.
func checkLayout(layout string) error {
	day := time.Date(2034, time.November, 27, 22, 43, 58, 0, time.UTC)
	read, err := time.Parse(layout, day.Format(layout))
	if err != nil || read.Month() != day.Month() || read.Day() != day.Day() || read.Hour() != day.Hour() {
		return fmt.Errorf("%q is no way to write a time: name one (rfc3339, unix, unixms, unixus, unixns, asctime, syslog, rfc1123, clf), or write 2006-01-02 15:04:05 as it would be written", layout)
	}
	return nil
}

func hasYear(layout string) bool {
	a, b := time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC().AddDate(7, 0, 0)
	return yearOf(layout, a) != yearOf(layout, b)
}

func yearOf(layout string, at time.Time) int {
	read, err := time.Parse(layout, at.Format(layout))
	if err != nil {
		return 0
	}
	return read.Year()
}

// read returns the zero time for what it cannot read. A time without a year is the
// latest that is not more than a day after the file was last written.
func (c *clock) read(text string, written time.Time) time.Time {
	if c.layout == "" {
		return c.number(text)
	}
	at, err := time.ParseInLocation(c.layout, text, c.zone)
	if err != nil {
		return time.Time{}
	}
	if !c.yearly {
		return at
	}
	limit := written.Add(24 * time.Hour)
	for year := limit.In(c.zone).Year(); ; year-- {
		dated := time.Date(year, at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), at.Location())
		if dated.Day() == at.Day() && !dated.After(limit) { // 29 February is not in each year
			return dated
		}
		if limit.Year()-year > 8 {
			return time.Time{}
		}
	}
}

// number reads a number since 1970, with or without a fraction.
func (c *clock) number(text string) time.Time {
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	unit := int64(c.unit)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return time.Time{}
	}
	if fraction == "" {
		return time.Unix(0, n*unit).UTC()
	}
	part, err := strconv.ParseFloat("0."+fraction, 64)
	if err != nil || part < 0 {
		return time.Time{}
	}
	if strings.HasPrefix(whole, "-") {
		part = -part
	}
	return time.Unix(0, n*unit+int64(math.Round(part*float64(unit)))).UTC()
}
