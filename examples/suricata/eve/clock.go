package eve

import "time"

// timeLayout is Suricata's: RFC 3339 but for the zone, which has no colon.
const timeLayout = "2006-01-02T15:04:05.000000-0700"

const (
	timeLength = len("2006-01-02T15:04:05.000000+0000")
	fractionAt = len("2006-01-02T15:04:05.")
	zoneAt     = len("2006-01-02T15:04:05.000000")
)

// clock keeps a time as text. Only the fraction changes from one event to the next as a rule, and formatting a whole
// time would cost as much as the rest of an event.
type clock struct {
	at     time.Time
	second int64
	text   [timeLength]byte
}

func (c *clock) set(at time.Time) {
	c.at = at
	if second := at.Unix(); c.text[0] == 0 || second != c.second {
		c.second = second
		at.UTC().AppendFormat(c.text[:0], timeLayout)
	}
	micros := at.Nanosecond() / 1000
	for i := zoneAt - 1; i >= fractionAt; i-- {
		c.text[i] = byte('0' + micros%10)
		micros /= 10
	}
}
