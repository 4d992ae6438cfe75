package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/kelpie-sec/kelpie/sdk"
)

// large is a line too large for an event. Its beginning is kept, of the rest a hash.
type large struct {
	read   int64
	length int64 // of what was read, without a carriage return at its end
	head   []byte
	tail   []byte
	sum    hash.Hash
	crc    uint32
}

func newLarge() *large { return &large{sum: sha256.New()} }

// take adds what was read next, without the newline. A carriage return at its end
// belongs to the line if something comes after it.
func (l *large) take(part []byte) {
	if len(part) == 0 {
		return
	}
	if l.length < l.read {
		l.add([]byte{'\r'})
	}
	l.read += int64(len(part))
	l.add(bytes.TrimSuffix(part, []byte{'\r'}))
	l.end(part)
}

func (l *large) add(part []byte) {
	l.length += int64(len(part))
	if room := sdk.OversizeHead - len(l.head); room > 0 {
		l.head = append(l.head, part[:min(room, len(part))]...)
	}
	_, _ = l.sum.Write(part) // never fails
	l.crc = crc32.Update(l.crc, castagnoli, part)
}

// end keeps the last bytes, as they are in the file.
func (l *large) end(part []byte) {
	l.tail = append(l.tail, part[max(0, len(part)-tailLength):]...)
	l.tail = append(l.tail[:0], l.tail[max(0, len(l.tail)-tailLength):]...)
}

// skim reads on in a line that is too large, and reports it at its end.
func (w *watch) skim(ctx context.Context, t *tracked, size int64) (done bool, err error) {
	l := t.large
	block := w.batch.scratch()
	for t.offset+l.read < size {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		from := t.offset + l.read
		n, err := t.handle.ReadAt(block[:min(int64(len(block)), size-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n == 0 {
			break
		}
		newline := bytes.IndexByte(block[:n], '\n')
		if newline < 0 {
			l.take(block[:n])
			continue
		}
		l.take(block[:newline])
		if !t.rest.is(t.offset, l.length, l.crc) {
			if err := w.batch.addNext(ctx, w.largeEvent(t)); err != nil {
				return false, err
			}
		}
		l.end([]byte{'\n'})
		t.skip(l.read+1, l.tail)
		t.large = nil
		return true, nil
	}
	if t.offset+l.read > size {
		t.large = nil // it was cut off meanwhile
	}
	return false, nil
}

func (w *watch) largeEvent(t *tracked) sdk.Event {
	l := t.large
	at := place{path: t.path, offset: t.offset, print: t.fingerprintAt(t.offset + l.length), sum: l.crc}
	return at.oversize(bytes.Clone(l.head), l.length, [32]byte(l.sum.Sum(nil)))
}
