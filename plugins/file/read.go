package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/kelpie-sec/kelpie/sdk"
)

// blockSize is what is read at once: a line that does not fit is too large for an event.
const blockSize = sdk.MaxEvent + 2

// read reads what is new in a file, up to the size that it has now. changed tells that
// another file has taken its place.
func (w *watch) read(ctx context.Context, t *tracked) (changed bool, err error) {
	if t.handle != nil {
		if t.info, err = t.handle.Stat(); err != nil {
			return false, w.unreadable(t, err)
		}
	}
	if t.atEnd() {
		return false, w.settle(ctx, t)
	}
	if t.handle == nil {
		handle, info, err := openFile(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, w.unreadable(t, err)
		}
		t.info = info
		w.hold(t, handle)
	}
	if !t.verify(t.info.Size()) {
		w.log.Info("a file was truncated or written anew, and is read from its beginning", "path", t.path, "offset", t.offset)
		t.closeHandle()
		t.info, t.seen = nil, nil
		return true, nil
	}
	t.grown = w.now()
	if err := w.lines(ctx, t, t.info.Size()); err != nil {
		return false, w.unreadable(t, err)
	}
	t.seen = t.info
	return false, w.settle(ctx, t)
}

// unreadable tells of a file that cannot be read now; other errors end the session.
func (w *watch) unreadable(t *tracked, err error) error {
	var failed *fs.PathError
	if !errors.As(err, &failed) {
		return err
	}
	w.complain(err)
	t.closeHandle()
	return nil
}

// lines reads the complete lines of an open file up to size.
func (w *watch) lines(ctx context.Context, t *tracked, size int64) error {
	for t.offset < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		if t.large != nil {
			if done, err := w.skim(ctx, t, size); err != nil || !done {
				return err
			}
			continue
		}
		block, err := w.block(t, size)
		if err != nil {
			return err
		}
		used, err := w.split(ctx, t, block)
		w.batch.keep(used)
		if err != nil {
			return err
		}
		switch {
		case used > 0:
		case len(block) == blockSize:
			t.large = newLarge()
		default:
			return nil // a line that is being written
		}
	}
	return nil
}

// block reads on from the offset.
func (w *watch) block(t *tracked, size int64) ([]byte, error) {
	block := w.batch.room(int(min(blockSize, size-t.offset)))
	n, err := t.handle.ReadAt(block, t.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	t.learn(block[:n])
	return block[:n], nil
}

// split puts the complete lines of a block into the batch, and returns how many bytes
// they have.
func (w *watch) split(ctx context.Context, t *tracked, block []byte) (used int, err error) {
	begin := t.offset
	advance := func() { t.advance(block[t.offset-begin : used]) }
	defer advance()
	for {
		n := bytes.IndexByte(block[used:], '\n')
		if n < 0 {
			return used, nil
		}
		offset := begin + int64(used)
		line, skipped := trim(block[used:used+n], offset)
		if len(line) > 0 {
			e, ok := w.event(t, line, offset+int64(skipped))
			if ok && !w.batch.fits(&e) {
				advance()
				if err := w.batch.send(ctx, true); err != nil {
					return used, err
				}
			}
			if ok {
				w.batch.add(e)
			}
		}
		used += n + 1
	}
}

// trim takes the byte order mark and the carriage return off a line that stands at an
// offset, and returns how many bytes are gone from its beginning. Of an empty line
// nothing is left.
func trim(line []byte, offset int64) (_ []byte, skipped int) {
	if offset == 0 {
		if rest, ok := bytes.CutPrefix(line, []byte("\xef\xbb\xbf")); ok {
			line, skipped = rest, 3
		}
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	for _, c := range line {
		if c != ' ' && c != '\t' {
			return line, skipped
		}
	}
	return nil, skipped
}

// event makes an event of a line that stands at an offset, if it is to be one.
func (w *watch) event(t *tracked, line []byte, offset int64) (sdk.Event, bool) {
	at := place{path: t.path, offset: offset, sum: crc32.Checksum(line, castagnoli)}
	if t.rest.is(offset, int64(len(line)), at.sum) {
		return sdk.Event{}, false
	}
	at.print = t.fingerprintAt(offset + int64(len(line)))
	if len(line) > sdk.MaxEvent {
		return at.oversize(line[:sdk.OversizeHead], int64(len(line)), sha256.Sum256(line)), true
	}
	return w.reader.event(line, at, t.info.ModTime())
}

// settle deals with a file at whose end nothing has happened for a while. One that was
// renamed or deleted is done: its last line is reported, newline or not. Of the others
// it is if it is a whole JSON object.
func (w *watch) settle(ctx context.Context, t *tracked) error {
	if w.now().Sub(t.grown) < grace {
		return nil
	}
	if now := (judged{t.seen.Size(), !t.placed || w.wasRotated(t)}); t.offset < now.size && t.judged != now {
		t.judged = now
		if !now.done && (w.config.Format == formatText || t.large != nil) {
			return nil
		}
		if err := w.finish(ctx, t, !now.done); err != nil {
			return err
		}
	}
	if !t.placed {
		t.closeHandle()
	}
	return nil
}

// wasRotated tells whether a file has the name of another that the pattern finds, with
// a number or a date.
func (w *watch) wasRotated(t *tracked) bool {
	dir, name := filepath.Split(t.path)
	return slices.ContainsFunc(w.files, func(other *tracked) bool {
		otherDir, base := filepath.Split(other.path)
		return other.placed && otherDir == dir && isRotated(base, name)
	})
}

// finish reports the last line of a file although it has no newline, with whole only if
// it is a JSON object. Behind an object the cursor goes on. Before everything else it
// stays: should the line grow, it becomes another event, and nothing of it is lost.
func (w *watch) finish(ctx context.Context, t *tracked, whole bool) error {
	if t.seen == nil || t.offset >= t.seen.Size() {
		return nil
	}
	if t.large != nil {
		e := w.largeEvent(t)
		t.rest = &rest{t.offset, t.large.length, t.large.crc}
		return w.batch.addNext(ctx, e)
	}
	if t.handle == nil {
		if !t.placed {
			return nil
		}
		handle, info, err := openFile(t.path)
		if err != nil {
			return w.unreadable(t, err)
		}
		t.info = info
		w.hold(t, handle)
		if !t.verify(info.Size()) {
			return nil
		}
	}
	block, err := w.block(t, t.seen.Size())
	if err != nil {
		return w.unreadable(t, err)
	}
	line, skipped := trim(block, t.offset)
	object := w.config.Format != formatText && json.Valid(line)
	if len(line) == 0 || bytes.IndexByte(line, '\n') >= 0 || whole && !object {
		return nil
	}
	offset := t.offset + int64(skipped)
	e, ok := w.event(t, line, offset)
	if !ok {
		return nil
	}
	w.batch.keep(len(block))
	if err := w.batch.addNext(ctx, e); err != nil {
		return err
	}
	if object {
		t.advance(block)
	} else {
		t.rest = &rest{offset, int64(len(line)), crc32.Checksum(line, castagnoli)}
	}
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
