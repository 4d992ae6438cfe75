package eventlog

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The header travels at the head of the message's body, not in NATS headers:
// the server refuses headers beyond 64 KiB, and a cursor may be larger.
//
//	version  one byte, 1, or 2 where the maker of the cursor follows it
//	id       uvarint length, bytes
//	cursor   uvarint length, bytes
//	maker    plugin and connector, each uvarint length, bytes; cursor version, uvarint
//	total    uvarint
//	count    uvarint
//	payload  the rest
const (
	frameVersion = 1
	frameMade    = 2
)

const (
	// MaxCursor is the size limit of a cursor in bytes.
	MaxCursor = 256 << 10
	// MaxPayload is the size limit in bytes of what one message carries,
	// header included.
	MaxPayload = maxMessage - frameRoom

	maxMessage = 8 << 20 // the server's max_payload, NATS headers included
	frameRoom  = 4 << 10 // for NATS headers and the frame's fixed fields
	maxID      = 256
)

// frame is one message's body, taken apart. Its slices point into the body.
type frame struct {
	id      string
	cursor  []byte
	maker   Maker
	total   uint64
	count   uint64
	payload []byte
}

func (f frame) check() error {
	switch {
	case f.id == "" || len(f.id) > maxID:
		return fmt.Errorf("message id has %d bytes: it must have 1 to %d", len(f.id), maxID)
	case len(f.maker.Plugin)+len(f.maker.Connector) > maxID || f.maker.CursorVersion < 0:
		return fmt.Errorf("the cursor's maker %+v has no name or version as plugins have them", f.maker)
	case len(f.cursor) > MaxCursor:
		return fmt.Errorf("cursor of %d bytes: %w", len(f.cursor), ErrTooLarge)
	case len(f.cursor)+len(f.payload) > MaxPayload:
		return fmt.Errorf("message of %d bytes: %w", len(f.cursor)+len(f.payload), ErrTooLarge)
	}
	return nil
}

func (f frame) append(b []byte) []byte {
	if f.maker == (Maker{}) {
		b = append(b, frameVersion)
	} else {
		b = append(b, frameMade)
	}
	b = appendBytes(b, f.id)
	b = appendBytes(b, f.cursor)
	if f.maker != (Maker{}) {
		b = appendBytes(b, f.maker.Plugin)
		b = appendBytes(b, f.maker.Connector)
		b = binary.AppendUvarint(b, uint64(f.maker.CursorVersion))
	}
	b = binary.AppendUvarint(b, f.total)
	b = binary.AppendUvarint(b, f.count)
	return append(b, f.payload...)
}

func parseFrame(b []byte) (frame, error) {
	if len(b) == 0 || b[0] != frameVersion && b[0] != frameMade {
		return frame{}, fmt.Errorf("header has no known version: %w", ErrDamaged)
	}
	var f frame
	made := b[0] == frameMade
	id, b, ok1 := cutBytes(b[1:])
	cursor, b, ok2 := cutBytes(b)
	var maker Maker
	if made {
		plugin, rest, ok := cutBytes(b)
		connector, rest, also := cutBytes(rest)
		version, rest, all := cutUvarint(rest)
		if !ok || !also || !all || version > math.MaxInt32 {
			return frame{}, fmt.Errorf("header is cut short: %w", ErrDamaged)
		}
		maker, b = Maker{Plugin: string(plugin), Connector: string(connector), CursorVersion: int(version)}, rest
	}
	total, b, ok3 := cutUvarint(b)
	count, b, ok4 := cutUvarint(b)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return frame{}, fmt.Errorf("header is cut short: %w", ErrDamaged)
	}
	f = frame{id: string(id), cursor: cursor, maker: maker, total: total, count: count, payload: b}
	return f, nil
}

// appendPart adds one part of a joined message; splitParts is its inverse.
func appendPart(b, part []byte) []byte { return appendBytes(b, part) }

// splitParts returns the parts of a joined message, which point into b.
func splitParts(b []byte) ([][]byte, error) {
	var parts [][]byte
	for len(b) > 0 {
		part, rest, ok := cutBytes(b)
		if !ok {
			return nil, fmt.Errorf("part %d is cut short: %w", len(parts), ErrDamaged)
		}
		parts, b = append(parts, part), rest
	}
	return parts, nil
}

// partSize returns how many bytes a part of n bytes takes in a joined message.
func partSize(n int) int {
	size := 1 + n
	for v := n; v >= 0x80; v >>= 7 {
		size++
	}
	return size
}

func appendBytes[T string | []byte](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func cutUvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func cutBytes(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := cutUvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
