package decide

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// encoder writes a snapshot: unsigned varints, and texts after their length.
type encoder struct {
	w   *bufio.Writer
	buf [binary.MaxVarintLen64]byte
	err error
}

func (e *encoder) bytes(b []byte) {
	e.uint(uint64(len(b)))
	e.w.Write(b)
}

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	e.w.WriteString(s)
}

func (e *encoder) uint(n uint64) { e.w.Write(e.buf[:binary.PutUvarint(e.buf[:], n)]) }

func (e *encoder) int(n int64) { e.w.Write(e.buf[:binary.PutVarint(e.buf[:], n)]) }

func (e *encoder) bool(b bool) {
	if b {
		e.uint(1)
		return
	}
	e.uint(0)
}

func (e *encoder) time(t time.Time) {
	e.int(t.Unix())
	e.uint(uint64(t.Nanosecond()))
}

func (e *encoder) json(v any) {
	text, err := json.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.bytes(text)
}

// decoder reads what encoder wrote. After something that does not fit, err is set
// and every value is zero.
type decoder struct {
	r   *bufio.Reader
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format+": %w", append(args, ErrSnapshot)...)
	}
}

func (d *decoder) uint() uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d.r)
	if err != nil {
		d.fail("cut short")
		return 0
	}
	return n
}

func (d *decoder) int() int64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(d.r)
	if err != nil {
		d.fail("cut short")
		return 0
	}
	return n
}

// below reads a number that must be less than n.
func (d *decoder) below(n int) int {
	v := d.uint()
	if v >= uint64(max(n, 0)) {
		d.fail("number %d where there are %d", v, n)
		return 0
	}
	return int(v)
}

func (d *decoder) bool() bool { return d.uint() == 1 }

// chunk bounds what a lie about a length can make us allocate.
const chunk = 1 << 20

func (d *decoder) bytes() []byte {
	n := d.uint()
	var b []byte
	for n > 0 && d.err == nil {
		part := min(n, chunk)
		at := len(b)
		b = append(b, make([]byte, part)...)
		if _, err := io.ReadFull(d.r, b[at:]); err != nil {
			d.fail("cut short")
			return nil
		}
		n -= part
	}
	return b
}

func (d *decoder) text() string { return string(d.bytes()) }

func (d *decoder) time() time.Time {
	sec, nsec := d.int(), d.uint()
	return time.Unix(sec, int64(nsec%1e9)).UTC()
}

func (d *decoder) json(v any) { d.unmarshal(d.bytes(), v) }

func (d *decoder) unmarshal(b []byte, v any) {
	if d.err != nil {
		return
	}
	if err := json.Unmarshal(b, v); err != nil {
		d.fail("%T: %v", v, err)
	}
}

// each reads a count, and calls f so often, but for a failure.
func (d *decoder) each(f func(i int)) {
	n := d.uint()
	for i := 0; uint64(i) < n && d.err == nil; i++ {
		f(i)
	}
}
