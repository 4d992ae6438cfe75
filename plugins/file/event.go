package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
)

// place is where a line is: what makes its event's id.
type place struct {
	path   string
	offset int64
	print  string // fingerprint of the file
	sum    uint32 // of the line
}

// id is the same whenever and under whatever name the line is read again. The checksum
// tells apart lines of files that begin alike.
func (p place) id() string {
	id := make([]byte, 0, 64)
	id = append(id, p.print...)
	id = append(id, ':')
	id = strconv.AppendInt(id, p.offset, 10)
	id = append(id, ':')
	for shift := 28; shift >= 0; shift -= 4 {
		id = append(id, "0123456789abcdef"[p.sum>>shift&15])
	}
	return string(id)
}

// String is for people.
func (p place) String() string { return fmt.Sprintf("%s, byte %d", p.path, p.offset) }

// problem is an event that is set aside. What is wrong comes first, so that those with
// the same fault are counted together.
func (p place) problem(raw []byte, what string) sdk.Event {
	return sdk.Event{ID: p.id(), Raw: raw, Problem: what + ": " + p.String()}
}

func (p place) oversize(head []byte, length int64, sum [32]byte) sdk.Event {
	return sdk.Event{ID: p.id(), Raw: head, Oversize: &sdk.Oversize{Place: p.String(), Length: length, SHA256: sum}}
}

// reader makes events of lines. It is not for concurrent use.
type reader struct {
	config   *config
	patterns []pattern
	idPath   []string
	timePath []string
	clock    clock
}

func newReader(c *config) (*reader, error) {
	r := &reader{config: c}
	for _, text := range c.Patterns {
		p, err := compilePattern(text)
		if err != nil {
			return nil, err
		}
		r.patterns = append(r.patterns, p)
	}
	if c.IDField != "" {
		r.idPath = strings.Split(c.IDField, ".")
	}
	if c.TimeField != "" {
		r.timePath = strings.Split(c.TimeField, ".")
	}
	var err error
	r.clock, err = newClock(c.TimeFormat, c.Timezone)
	return r, err
}

// event makes an event of a line, or none. written is when the file was last written.
func (r *reader) event(line []byte, at place, written time.Time) (sdk.Event, bool) {
	raw := line
	if r.config.InvalidUTF8 != reject && !utf8.Valid(line) {
		raw = r.repair(line)
	}
	var problem string
	if r.config.Format == formatText {
		raw, problem = r.fromText(raw)
	} else {
		raw, problem = r.fromJSON(raw)
	}
	switch {
	case problem != "":
		return at.problem(line, problem), true
	case raw == nil:
		return sdk.Event{}, false
	}
	e := sdk.Event{Raw: raw}
	if r.idPath != nil {
		e.ID, _ = text(lookup(raw, r.idPath))
	}
	if e.ID == "" {
		e.ID = at.id()
	}
	if r.timePath != nil {
		if value, ok := text(lookup(raw, r.timePath)); ok {
			e.Time = r.clock.read(value, written)
		}
	}
	return e, true
}

// fromText makes a payload of a line, or says why it can make none. Nothing is for a line
// that is passed over.
func (r *reader) fromText(line []byte) (raw []byte, problem string) {
	if !utf8.Valid(line) {
		return nil, "not valid UTF-8"
	}
	if raw, ok := r.match(line); ok {
		return raw, ""
	}
	switch r.config.Unmatched {
	case unmatchedSkip:
		return nil, ""
	case unmatchedKeep:
		return appendMember(nil, "message", line), ""
	}
	return nil, "no pattern matches"
}

func (r *reader) fromJSON(line []byte) (raw []byte, problem string) {
	if first := bytes.TrimLeft(line, " \t"); first[0] != '{' {
		return nil, "not a JSON object"
	}
	if r.config.RepeatedKeys == join && hasRepeated(line) && json.Valid(line) {
		return joinRepeated(line), ""
	}
	return line, ""
}

// repair makes a line valid UTF-8. Read as Latin-1, each byte is a character.
func (r *reader) repair(line []byte) []byte {
	if r.config.InvalidUTF8 != latin1 {
		return bytes.ToValidUTF8(line, []byte("\uFFFD"))
	}
	out := make([]byte, 0, len(line)+len(line)/8)
	for _, c := range line {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}
