package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/kelpie-sec/kelpie/sdk"
)

// batchVersion is the first byte of an encoded batch.
const batchVersion = 1

// ErrBatch means that bytes are no encoded batch.
var ErrBatch = errors.New("not an encoded batch")

// Flags of an encoded event.
const (
	hasSeverity = 1 << iota
	hasStopped
	wasStopped
	hasTime
	hasOversize
)

// AppendBatch appends b, encoded for the log, to dst. Lengths are unsigned
// varints, times are nanoseconds since 1970.
func AppendBatch(dst []byte, b *Batch) []byte {
	dst = append(dst, batchVersion)
	dst = appendString(dst, b.Source)
	dst = binary.AppendVarint(dst, b.Received.UnixNano())
	dst = binary.AppendUvarint(dst, uint64(len(b.Events)))
	for i := range b.Events {
		dst = appendEvent(dst, &b.Events[i])
	}
	return dst
}

func appendEvent(dst []byte, e *Event) []byte {
	var flags byte
	if e.Severity != nil {
		flags |= hasSeverity
	}
	if e.Stopped != nil {
		flags |= hasStopped
		if *e.Stopped {
			flags |= wasStopped
		}
	}
	if !e.Time.IsZero() {
		flags |= hasTime
	}
	if e.Oversize != nil {
		flags |= hasOversize
	}
	dst = append(dst, flags)
	dst = appendString(dst, e.ID)
	dst = appendString(dst, e.Revision)
	dst = binary.AppendUvarint(dst, uint64(len(e.Raw)))
	dst = append(dst, e.Raw...)
	dst = appendString(dst, e.Title)
	dst = appendString(dst, e.Link)
	dst = appendString(dst, e.Problem)
	if e.Severity != nil {
		dst = binary.AppendVarint(dst, int64(*e.Severity))
	}
	if !e.Time.IsZero() {
		dst = binary.AppendVarint(dst, e.Time.Unix())
		dst = binary.AppendUvarint(dst, uint64(e.Time.Nanosecond()))
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Techniques)))
	for _, t := range e.Techniques {
		dst = appendString(dst, t)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Observables)))
	for _, o := range e.Observables {
		dst = appendString(dst, o.Kind)
		dst = appendString(dst, o.Value)
		dst = appendString(dst, string(o.Role))
	}
	if e.Oversize != nil {
		dst = appendString(dst, e.Oversize.Place)
		dst = binary.AppendVarint(dst, e.Oversize.Length)
		dst = append(dst, e.Oversize.SHA256[:]...)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// DecodeBatch reads what AppendBatch wrote. The payloads and texts are parts of data,
// which must not be changed afterwards, and stays in memory as long as one of them
// does. Other bytes give ErrBatch.
func DecodeBatch(data []byte) (Batch, error) {
	r := batchReader{data: data}
	if r.byte() != batchVersion {
		return Batch{}, fmt.Errorf("version: %w", ErrBatch)
	}
	b := Batch{Source: r.string()}
	b.Received = time.Unix(0, r.varint()).UTC()
	n := r.count(8)
	b.Events = make([]Event, n)
	for i := range b.Events {
		r.event(&b.Events[i])
	}
	if r.bad || len(r.data) != 0 {
		return Batch{}, ErrBatch
	}
	return b, nil
}

// batchReader takes values from the front of data. After something that does not
// fit, bad is set and every value is zero.
type batchReader struct {
	data  []byte
	bad   bool
	words map[string]string // that word gave
}

func (r *batchReader) event(e *Event) {
	flags := r.byte()
	e.ID = r.string()
	e.Revision = r.string()
	e.Raw = r.bytes()
	e.Title = r.string()
	e.Link = r.string()
	e.Problem = r.string()
	if flags&hasSeverity != 0 {
		v := r.varint()
		s := int(max(math.MinInt32, min(math.MaxInt32, v)))
		e.Severity = &s
	}
	if flags&hasStopped != 0 {
		s := flags&wasStopped != 0
		e.Stopped = &s
	}
	if flags&hasTime != 0 {
		sec := r.varint()
		e.Time = time.Unix(sec, int64(r.uvarint()%1e9)).UTC()
	}
	if n := r.count(1); n > 0 {
		e.Techniques = make([]string, n)
		for i := range e.Techniques {
			e.Techniques[i] = r.string()
		}
	}
	if n := r.count(3); n > 0 {
		e.Observables = make([]sdk.Observable, n)
		for i := range e.Observables {
			e.Observables[i] = sdk.Observable{Kind: r.string(), Value: r.string(), Role: sdk.Role(r.string())}
		}
	}
	if flags&hasOversize != 0 {
		o := &sdk.Oversize{Place: r.string(), Length: r.varint()}
		if len(r.data) < len(o.SHA256) {
			r.fail()
			return
		}
		r.data = r.data[copy(o.SHA256[:], r.data):]
		e.Oversize = o
	}
}

func (r *batchReader) fail() { r.bad, r.data = true, nil }

func (r *batchReader) byte() byte {
	if len(r.data) == 0 {
		r.fail()
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *batchReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *batchReader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.data = r.data[n:]
	return v
}

// count reads a number of elements that take at least size bytes each, so that a
// lie can't make us allocate more than the data could hold.
func (r *batchReader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.data)/size) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *batchReader) bytes() []byte {
	n := r.count(1)
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *batchReader) string() string {
	b := r.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}
