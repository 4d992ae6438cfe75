package host

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// maxCount bounds the observables and the techniques of one event.
const maxCount = 1024

// eventDecoder reads one event. What the contract does not allow becomes the event's
// problem, with which it is set aside.
type eventDecoder struct {
	event  *model.Event
	at     wireTime
	breach string // the first
}

func decodeEvent(e *model.Event, data []byte) error {
	d := eventDecoder{event: e}
	if err := eachField(data, d.field); err != nil {
		return err
	}
	e.Time = d.at.time()
	d.bound()
	switch {
	case d.breach == "":
	case e.Problem == "":
		e.Problem = "the plugin sent an event " + d.breach
	default:
		e.Problem += "; and the plugin sent an event " + d.breach
	}
	return nil
}

func (d *eventDecoder) field(f field) error {
	e := d.event
	switch f.kind {
	case protowire.VarintType:
		switch f.number {
		case 6:
			severity := int(min(100, max(0, int32(f.varint))))
			e.Severity = &severity
		case 9:
			stopped := f.varint != 0
			e.Stopped = &stopped
		}
		return nil
	case protowire.BytesType:
	default:
		return nil
	}
	switch f.number {
	case 1:
		e.ID = d.text("id", f.bytes)
	case 2:
		e.Revision = d.text("revision", f.bytes)
	case 3:
		e.Raw = f.bytes
	case 4:
		return d.at.decode(f.bytes)
	case 5:
		e.Title = d.text("title", f.bytes)
	case 7:
		return d.observable(f.bytes)
	case 8:
		if len(e.Techniques) == maxCount {
			d.spoil(fmt.Sprintf("that has more than %d techniques", maxCount))
			return nil
		}
		e.Techniques = append(e.Techniques, d.text("technique", f.bytes))
	case 10:
		e.Link = d.text("link", f.bytes)
	case 11:
		e.Problem = d.text("problem", f.bytes)
	case 12:
		return d.oversize(f.bytes)
	}
	return nil
}

func (d *eventDecoder) observable(data []byte) error {
	if len(d.event.Observables) == maxCount {
		d.spoil(fmt.Sprintf("that has more than %d observables", maxCount))
		return nil
	}
	var o sdk.Observable
	err := eachField(data, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			o.Kind = d.text("observable's kind", f.bytes)
		case f.is(2, protowire.BytesType):
			o.Value = d.text("observable", f.bytes)
		case f.is(3, protowire.VarintType):
			o.Role = roleModel(pluginv1.Role(int32(f.varint)))
		}
		return nil
	})
	d.event.Observables = append(d.event.Observables, o)
	return err
}

func (d *eventDecoder) oversize(data []byte) error {
	if d.event.Oversize == nil {
		d.event.Oversize = &sdk.Oversize{}
	}
	o := d.event.Oversize
	return eachField(data, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			o.Place = d.text("place", f.bytes)
		case f.is(2, protowire.VarintType):
			o.Length = int64(f.varint)
		case f.is(3, protowire.BytesType):
			if copy(o.SHA256[:], f.bytes) != len(o.SHA256) || len(f.bytes) != len(o.SHA256) {
				d.spoil(fmt.Sprintf("that has a sha256 of %d bytes", len(f.bytes)))
			}
		}
		return nil
	})
}

// bound holds the event against the contract's bounds.
func (d *eventDecoder) bound() {
	e := d.event
	if e.ID == "" {
		d.spoil("that has no id")
	}
	if len(e.Raw) <= sdk.MaxEvent {
		return
	}
	d.spoil(fmt.Sprintf("that has %d bytes, more than %d", len(e.Raw), sdk.MaxEvent))
	if e.Oversize == nil {
		e.Oversize = &sdk.Oversize{Length: int64(len(e.Raw)), SHA256: sha256.Sum256(e.Raw)}
	}
	e.Raw = e.Raw[:sdk.OversizeHead:sdk.OversizeHead]
}

func (d *eventDecoder) spoil(why string) {
	if d.breach == "" {
		d.breach = why
	}
}

// text is a copy, so that what is kept of an event does not keep its batch. One that
// is not valid UTF-8 is quoted, which keeps different ones different.
func (d *eventDecoder) text(name string, data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	d.spoil("whose " + name + " is not valid UTF-8")
	return strconv.QuoteToASCII(string(data))
}

func roleModel(r pluginv1.Role) sdk.Role {
	switch r {
	case pluginv1.Role_ROLE_SUBJECT:
		return sdk.Subject
	case pluginv1.Role_ROLE_INDICATOR:
		return sdk.Indicator
	}
	return sdk.NoRole
}
