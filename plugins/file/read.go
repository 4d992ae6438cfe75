package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// blockSize is what is read at once: a line that does not fit is too large for an event.
const blockSize = sdk.MaxEvent + 2

// read reads what is new in a file, up to the size that it has now. changed tells that
// another file has taken its place.
func (w *watch) read(ctx context.Context, t *tracked) (changed bool, err error) {
	if t.atEnd() {
		return false, w.settle(ctx, t)
	}
	if t.handle == nil {
		handle, info, err := openFile(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			w.trouble(err)
			return false, nil
		}
		t.info = info
		w.hold(t, handle)
	}
	info, err := t.handle.Stat()
	if err != nil {
		w.trouble(err)
		return false, nil
	}
	if !t.verify(info.Size()) {
		w.log.Info("a file was truncated, or written anew; it is read from its beginning", "path", t.path, "offset", t.offset)
		t.closeHandle()
		t.info, t.seen = nil, nil
		return true, nil
	}
	t.info = info
	err = w.lines(ctx, t, info.Size())
	var failed *fs.PathError
	switch {
	case errors.As(err, &failed):
		w.trouble(err)
		return false, nil
	case err != nil:
		return false, err
	}
	t.seen = info
	return false, w.settle(ctx, t)
}

// lines reads the complete lines of an open file up to size.
func (w *watch) lines(ctx context.Context, t *tracked, size int64) error {
	for t.offset < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		if t.large != nil {
			done, err := w.skim(ctx, t, size)
			if err != nil || !done {
				return err
			}
			continue
		}
		block := w.batch.room(int(min(blockSize, size-t.offset)))
		n, err := t.handle.ReadAt(block, t.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		block = block[:n]
		t.learn(block)
		used, err := w.split(ctx, t, block)
		w.batch.keep(block[:used])
		if err != nil {
			return err
		}
		switch {
		case used > 0:
			t.grown = w.now()
		case len(block) == blockSize:
			t.large = &large{sum: sha256.New()}
		default:
			return nil // a line that is being written
		}
	}
	return nil
}

// split puts the lines of a block into the batch and returns how many bytes they have.
func (w *watch) split(ctx context.Context, t *tracked, block []byte) (used int, err error) {
	for {
		n := bytes.IndexByte(block[used:], '\n')
		if n < 0 {
			return used, nil
		}
		line, skip := trim(block[used:used+n], t.offset)
		if len(line) > 0 {
			if err := w.add(ctx, t, line, t.offset+int64(skip)); err != nil {
				return used, err
			}
		}
		used += n + 1
		t.advance(int64(n+1), block[max(0, used-max(n+1, tailLength)):used])
	}
}

// trim takes the byte order mark and the carriage return off a line that stands at an
// offset, and returns how many bytes are gone from its beginning.
func trim(line []byte, offset int64) (_ []byte, skipped int) {
	if offset == 0 {
		if rest, ok := bytes.CutPrefix(line, []byte("\xef\xbb\xbf")); ok {
			line, skipped = rest, 3
		}
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(bytes.TrimLeft(line[:min(len(line), 256)], " \t")) == 0 && len(bytes.TrimSpace(line)) == 0 {
		return nil, skipped
	}
	return line, skipped
}

// add makes an event of a line that stands at an offset.
func (w *watch) add(ctx context.Context, t *tracked, line []byte, offset int64) error {
	sum := crc32.Checksum(line, castagnoli)
	if t.rest.is(offset, len(line), sum) {
		return nil
	}
	at := place{t: t, offset: offset, end: offset + int64(len(line)), sum: sum}
	if len(line) > sdk.MaxEvent {
		return w.batch.addLarge(ctx, at, line[:sdk.OversizeHead], int64(len(line)), sha256.Sum256(line))
	}
	return w.batch.add(ctx, at, line)
}

// large is a line too large for an event, of which only the beginning is kept.
type large struct {
	length int64 // read so far
	head   []byte
	tail   []byte
	sum    hash.Hash
	crc    uint32
}

// take adds a part of the line.
func (l *large) take(part []byte) {
	l.length += int64(len(part))
	if room := sdk.OversizeHead - len(l.head); room > 0 {
		l.head = append(l.head, part[:min(room, len(part))]...)
	}
	_, _ = l.sum.Write(part) // never fails
	l.crc = crc32.Update(l.crc, castagnoli, part)
	l.keepTail(part)
}

func (l *large) keepTail(part []byte) {
	l.tail = append(l.tail, part[max(0, len(part)-tailLength):]...)
	l.tail = append(l.tail[:0], l.tail[max(0, len(l.tail)-tailLength):]...)
}

// skim reads on in a line that is too large, and reports it at its end.
func (w *watch) skim(ctx context.Context, t *tracked, size int64) (done bool, err error) {
	l := t.large
	block := w.batch.scratch()
	for t.offset+l.length < size {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := t.handle.ReadAt(block[:min(int64(len(block)), size-t.offset-l.length)], t.offset+l.length)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n == 0 {
			return false, nil // it was cut off meanwhile
		}
		t.grown = w.now()
		end := bytes.IndexByte(block[:n], '\n')
		if end < 0 {
			l.take(block[:n])
			continue
		}
		l.take(block[:end])
		l.keepTail([]byte{'\n'})
		if err := w.addLarge(ctx, t); err != nil {
			return false, err
		}
		t.advance(l.length+1, l.tail)
		t.large = nil
		return true, nil
	}
	return false, nil
}

func (w *watch) addLarge(ctx context.Context, t *tracked) error {
	l := t.large
	at := place{t: t, offset: t.offset, end: t.offset + l.length, sum: l.crc}
	if t.rest.is(at.offset, int(l.length), l.crc) {
		return nil
	}
	return w.batch.addLarge(ctx, at, l.head, l.length, [32]byte(l.sum.Sum(nil)))
}

// settle reports the last line of a file without a newline when nothing more is to be
// expected: of a file that has lost its name, once it is quiet, which is then closed;
// and a JSON object that is complete.
func (w *watch) settle(ctx context.Context, t *tracked) error {
	quiet := w.now().Sub(latest(t.grown, t.info.ModTime()))
	switch {
	case !t.placed && quiet >= grace:
		if err := w.finish(ctx, t); err != nil {
			return err
		}
		t.closeHandle()
	case t.placed && quiet >= grace && w.config.Format != formatText && t.offset < t.info.Size() && t.large == nil:
		return w.finish(ctx, t)
	}
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// finish reports the last line of a file although it has no newline. The cursor stays
// before it: should the line grow, it is another event, and nothing of it is lost.
func (w *watch) finish(ctx context.Context, t *tracked) error {
	return nil
}

// endOfLines returns where the last complete line of a file ends.
func endOfLines(f io.ReaderAt, size int64) (int64, error) {
	block := make([]byte, 64<<10)
	for end := size; end > 0; {
		begin := max(0, end-int64(len(block)))
		n, err := f.ReadAt(block[:end-begin], begin)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(block[:n], '\n'); i >= 0 {
			return begin + int64(i) + 1, nil
		}
		end = begin
	}
	return 0, nil
}
