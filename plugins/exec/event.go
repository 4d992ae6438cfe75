package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
)

// maxCursor bounds a cursor, in bytes. The contract takes more.
const maxCursor = 64 << 10

// control is a line that is no event: it tells where the program stands.
type control struct {
	Cursor     json.RawMessage `json:"cursor"`
	More       bool            `json:"more"`
	RetryAfter span            `json:"retry_after"`
}

// reader makes events of lines.
type reader struct {
	raw    bool
	idPath []string
}

func newReader(c *detectorConfig) reader {
	r := reader{raw: c.Format == formatRaw}
	if c.IDField != "" {
		r.idPath = strings.Split(c.IDField, ".")
	}
	return r
}

// read a line that is not blank. It is a control, or else an event; of one that cannot
// be read the event is what is known, with its problem. An error is one of a control:
// where the program stands is then not known.
func (r reader) read(text []byte) (*control, sdk.Event, error) {
	e := sdk.Event{Raw: text}
	if !utf8.Valid(text) {
		e.Problem = "not valid UTF-8"
		return nil, e, nil
	}
	var fields map[string]json.RawMessage
	if text[0] != '{' || json.Unmarshal(text, &fields) != nil {
		e.Problem = "not a JSON object"
		return nil, e, nil
	}
	if isControl(fields) {
		c, err := readControl(text)
		return c, sdk.Event{}, err
	}
	if r.raw {
		e.ID = lookup(fields, r.idPath)
		return nil, e, nil
	}
	if err := readEvent(fields, &e); err != nil {
		return nil, sdk.Event{Raw: text, Problem: err.Error()}, nil
	}
	return nil, e, nil
}

// isControl tells the objects that hold nothing but what a control does.
func isControl(fields map[string]json.RawMessage) bool {
	for name := range fields {
		if name != "cursor" && name != "more" && name != "retry_after" {
			return false
		}
	}
	return fields["cursor"] != nil || fields["retry_after"] != nil
}

func readControl(text []byte) (*control, error) {
	var c control
	if err := decode(text, &c); err != nil {
		return nil, fmt.Errorf("its cursor line %s: %w", excerpt(text), err)
	}
	if c.Cursor == nil {
		return &c, nil
	}
	var small bytes.Buffer
	if err := json.Compact(&small, c.Cursor); err != nil {
		return nil, err
	}
	switch c.Cursor = small.Bytes(); {
	case string(c.Cursor) == "null":
		return nil, errors.New("its cursor is null: let it print none, and the one before stays")
	case len(c.Cursor) > maxCursor:
		return nil, fmt.Errorf("its cursor has %d bytes, more than %d: let it keep the rest in a file of its own", len(c.Cursor), maxCursor)
	}
	return &c, nil
}

// members of a line that is an event, beside raw.
var members = map[string]func(json.RawMessage, *sdk.Event) error{
	"id":          func(v json.RawMessage, e *sdk.Event) error { return readName(v, &e.ID) },
	"revision":    func(v json.RawMessage, e *sdk.Event) error { return readName(v, &e.Revision) },
	"title":       func(v json.RawMessage, e *sdk.Event) error { return readText(v, &e.Title) },
	"link":        func(v json.RawMessage, e *sdk.Event) error { return readText(v, &e.Link) },
	"time":        func(v json.RawMessage, e *sdk.Event) error { return readTime(v, &e.Time) },
	"severity":    func(v json.RawMessage, e *sdk.Event) error { return readPercent(v, &e.Severity) },
	"stopped":     func(v json.RawMessage, e *sdk.Event) error { return readTruth(v, &e.Stopped) },
	"techniques":  func(v json.RawMessage, e *sdk.Event) error { return readTexts(v, &e.Techniques) },
	"observables": func(v json.RawMessage, e *sdk.Event) error { return readObservables(v, &e.Observables) },
}

// readEvent reads the members that are known. Without raw the whole line is the source's
// own, and may hold others too; beside raw one would be lost.
func readEvent(fields map[string]json.RawMessage, e *sdk.Event) error {
	raw, apart := fields["raw"]
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		set := members[name]
		switch {
		case set != nil:
			if err := set(fields[name], e); err != nil {
				return fmt.Errorf("%s %w", name, err)
			}
		case apart && name != "raw":
			return fmt.Errorf("%s is no member of an event, and outside of raw", excerpt([]byte(name)))
		}
	}
	if apart {
		if raw[0] != '{' {
			return errors.New("raw is no JSON object")
		}
		e.Raw = raw
	}
	return nil
}

// lookup is the text or number at a path of names, or nothing.
func lookup(fields map[string]json.RawMessage, path []string) string {
	var name string
	for i, part := range path {
		if i == len(path)-1 {
			_ = readName(fields[part], &name)
			return name
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(fields[part], &inner) != nil {
			return ""
		}
		fields = inner
	}
	return ""
}

// readName takes a text or a number.
func readName(v json.RawMessage, into *string) error {
	var number json.Number
	if json.Unmarshal(v, into) == nil {
		return nil
	}
	if json.Unmarshal(v, &number) != nil {
		return errors.New("is neither a text nor a number")
	}
	*into = number.String()
	return nil
}

func readText(v json.RawMessage, into *string) error {
	if json.Unmarshal(v, into) != nil {
		return errors.New("is no text")
	}
	return nil
}

func readTexts(v json.RawMessage, into *[]string) error {
	if json.Unmarshal(v, into) != nil {
		return errors.New("is no list of texts")
	}
	return nil
}

func readTruth(v json.RawMessage, into **bool) error {
	if json.Unmarshal(v, into) != nil {
		return errors.New("is neither true nor false")
	}
	return nil
}

func readTime(v json.RawMessage, into *time.Time) error {
	if json.Unmarshal(v, into) != nil {
		return errors.New("is not written as 2026-01-31T12:00:00Z")
	}
	return nil
}

func readPercent(v json.RawMessage, into **int) error {
	var n *int
	if json.Unmarshal(v, &n) != nil || n != nil && (*n < 0 || *n > 100) {
		return errors.New("is no whole number from 0 to 100")
	}
	*into = n
	return nil
}

// readObservables takes them as they are: what is no value of its kind is left out by
// the core, which notes it at the signal.
func readObservables(v json.RawMessage, into *[]sdk.Observable) error {
	if json.Unmarshal(v, into) != nil {
		return errors.New(`is no list of {"kind": …, "value": …, "role": …}`)
	}
	for _, o := range *into {
		switch {
		case !slices.Contains(sdk.Kinds(), o.Kind):
			return fmt.Errorf("has the kind %s; there are %s", excerpt([]byte(o.Kind)), strings.Join(sdk.Kinds(), ", "))
		case o.Role != sdk.NoRole && o.Role != sdk.Subject && o.Role != sdk.Indicator:
			return fmt.Errorf("has the role %s; there are subject and indicator", excerpt([]byte(o.Role)))
		}
	}
	return nil
}

// places make ids for lines that have none: from the cursor under which they were
// printed, so that the same are made when it is given again, the line itself and, since
// two equal lines are two events, a number.
type places struct {
	under []byte
	// seen counts equal lines, so that their order does not matter; nil: the number is
	// the line's own.
	seen map[[sha256.Size]byte]uint64
	n    uint64
}

func newPlaces(under []byte, counted bool) *places {
	p := &places{under: under}
	if counted {
		p.seen = map[[sha256.Size]byte]uint64{}
	}
	return p
}

func (p *places) id(text []byte) string {
	sum := sha256.Sum256(text)
	n := p.n
	p.n++
	if p.seen != nil {
		n = p.seen[sum]
		p.seen[sum]++
	}
	all := sha256.New()
	all.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p.under))))
	all.Write(p.under)
	all.Write(sum[:])
	all.Write(binary.BigEndian.AppendUint64(nil, n))
	return hex.EncodeToString(all.Sum(nil)[:16])
}
