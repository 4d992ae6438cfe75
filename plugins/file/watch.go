package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// maxOpen is how many files are kept open, so that what is renamed or deleted can be
	// read to its end.
	maxOpen = 64
	// grace is how long a file that lost its name must have been quiet before it is
	// closed.
	grace = 5 * time.Second
	// forget is after when a file that is not found any more leaves the cursor.
	forget = 24 * time.Hour
	// cursorEvery is how often a cursor goes out by itself, after lines that made no
	// event.
	cursorEvery = 10 * time.Second
)

// watch is one session: it keeps track of the files and reads them in turn. It is for
// one goroutine.
type watch struct {
	config *config
	log    *slog.Logger
	now    func() time.Time
	reader *reader
	batch  *batch

	files  []*tracked
	copies map[string]copied // paths of further copies of files that are tracked
	opened uint64
	atEnd  bool // the files found next are read from their end

	looking  time.Duration // how long it took to find the files, last time
	troubles []error
	told     string
	sentAt   time.Time
}

// copied is a file with the content of one that is tracked, as of when it was compared.
type copied struct {
	info fs.FileInfo
	of   *tracked
}

// candidate is a file that the pattern finds.
type candidate struct {
	path string
	info fs.FileInfo
}

// round looks where the files are and reads what is new in them. again tells that one
// of them was replaced and is to be looked at once more.
func (w *watch) round(ctx context.Context) (again bool, err error) {
	w.troubles = w.troubles[:0]
	began := time.Now()
	w.place(w.scan())
	w.atEnd, w.looking = false, time.Since(began)
	for _, t := range w.inOrder() {
		changed, err := w.read(ctx, t)
		if err != nil {
			return false, err
		}
		again = again || changed
	}
	w.forgetGone()
	if err := w.flush(ctx); err != nil {
		return false, err
	}
	w.report()
	return again, nil
}

// flush sends what is in the batch, or else a cursor that has moved for long.
func (w *watch) flush(ctx context.Context) error {
	now := w.now()
	due := w.sentAt.IsZero() || now.Sub(w.sentAt) >= cursorEvery
	if due {
		w.sentAt = now
	}
	return w.batch.flush(ctx, due)
}

// scan finds the files, the oldest first.
func (w *watch) scan() []candidate {
	path := string(w.config.Path)
	paths := []string{path}
	if isPattern(path) {
		paths, _ = filepath.Glob(path) // Validate has seen the pattern
	}
	found := make([]candidate, 0, len(paths))
	for _, p := range paths {
		if isCompressed(p) {
			continue
		}
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone since, or not there yet
		case err != nil:
			w.trouble(err)
		case info.Mode().IsRegular():
			found = append(found, candidate{p, info})
		case !isPattern(path):
			w.trouble(&fs.PathError{Op: "read", Path: p, Err: errNotRegular})
		}
	}
	if len(found) == 0 && len(w.troubles) == 0 {
		w.trouble(w.nothing(path))
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return found
}

// nothing says why there is no file.
func (w *watch) nothing(path string) error {
	if !isPattern(path) {
		return fmt.Errorf("there is no file %s", path)
	}
	dir := filepath.Dir(path)
	for isPattern(dir) {
		dir = filepath.Dir(dir)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return err
	}
	return fmt.Errorf("no file matches %s", path)
}

// place says of each tracked file where it is, and tracks the files that are new.
func (w *watch) place(found []candidate) {
	byPath := make(map[string]*tracked, len(w.files))
	for _, t := range w.files {
		if t.placed {
			byPath[t.path] = t
		}
		t.placed = false
	}
	var moved []candidate
	for _, c := range found {
		t := byPath[c.path]
		if t != nil && !t.placed && t.info != nil && os.SameFile(t.info, c.info) && c.info.Size() >= t.offset {
			t.placed, t.info, t.lostAt = true, c.info, time.Time{}
			continue
		}
		moved = append(moved, c)
	}
	before := w.copies
	w.copies = map[string]copied{}
	for _, c := range moved {
		if known, ok := before[c.path]; ok && known.of.placed && same(known.info, c.info) {
			w.copies[c.path] = known
			continue
		}
		if err := w.admit(c); err != nil {
			w.trouble(err)
		}
	}
	for _, t := range w.files {
		if !t.placed && t.lostAt.IsZero() {
			w.lose(t, found)
		}
	}
}

// same tells whether nothing has happened to a file.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// admit finds out which tracked file a candidate is, or tracks it from now on.
func (w *watch) admit(c candidate) error {
	if c.info.Size() == 0 {
		return nil
	}
	handle, info, err := openFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t, head, tail := w.recognise(handle, info, c.path)
	switch {
	case t == nil:
		return w.begin(&tracked{path: c.path}, handle, info)
	case t.placed && info.Size() > t.info.Size() && !os.SameFile(info, t.info):
		// A copy that has grown since: what it has beyond the copied part is its own.
		return w.begin(t.fork(c.path), handle, info)
	case t.placed:
		_ = handle.Close()
		w.copies[c.path] = copied{c.info, t}
		return nil
	}
	t.found(head, tail)
	t.path, t.code = c.path, nil
	w.hold(t, handle)
	t.placed, t.info, t.lostAt = true, info, time.Time{}
	return nil
}

// begin tracks a file from now on. A new one is read from its beginning, or from the end
// of its last line.
func (w *watch) begin(t *tracked, handle *os.File, info fs.FileInfo) error {
	if err := w.fits(t); err != nil {
		_ = handle.Close()
		return err
	}
	w.files = append(w.files, t)
	w.hold(t, handle)
	t.placed, t.info = true, info
	if !w.atEnd || t.offset > 0 {
		return nil
	}
	end, err := endOfLines(handle, info.Size())
	if err != nil || end == 0 {
		return err
	}
	return t.jump(end)
}

// recognise finds the tracked file that an open one is: the same on disk, or one of the
// same content as far as it was read. Of several it prefers one that has lost its name,
// then the one of this name, then the one that was read furthest.
func (w *watch) recognise(handle *os.File, info fs.FileInfo, path string) (best *tracked, head, tail []byte) {
	prints := map[int]string{}
	rank := func(t *tracked) int {
		rank := 0
		if !t.placed {
			rank += 2
		}
		if t.path == path {
			rank++
		}
		return rank
	}
	for _, t := range w.files {
		if best != nil && cmp.Or(cmp.Compare(rank(best), rank(t)), cmp.Compare(best.offset, t.offset)) >= 0 {
			continue
		}
		if t.offset == 0 {
			if t.info != nil && os.SameFile(t.info, info) {
				best, head, tail = t, nil, nil
			}
			continue
		}
		if info.Size() < t.offset {
			continue
		}
		p := t.position()
		if _, ok := prints[p.Length]; !ok {
			head := make([]byte, p.Length)
			n, _ := handle.ReadAt(head, 0)
			prints[p.Length] = fingerprint(head[:n])
		}
		if prints[p.Length] != p.Fingerprint {
			continue
		}
		if h, l, ok := p.isAt(handle, info.Size()); ok {
			best, head, tail = t, h, l
		}
	}
	return best, head, tail
}

// fits makes sure that the cursor has room for one more file.
func (w *watch) fits(t *tracked) error {
	const entry = 140 // of the cursor, without the path
	size := entry + 2*len(t.path)
	for _, other := range w.files {
		if other.offset > 0 {
			size += len(other.encoded()) + 1
		} else {
			size += entry + 2*len(other.path)
		}
	}
	if size <= maxCursor {
		return nil
	}
	for i, other := range w.files { // the one that has been gone longest is first
		if !other.placed && other.handle == nil {
			w.files = slices.Delete(w.files, i, i+1)
			return w.fits(t)
		}
	}
	return fmt.Errorf("%s is not read: with %d files there are more than one cursor can hold; make path narrower, or move files that are done elsewhere", t.path, len(w.files))
}

// hold keeps a file open, and closes the one not used for longest if there are too many.
func (w *watch) hold(t *tracked, handle *os.File) {
	if t.handle != nil && t.handle != handle {
		_ = t.handle.Close()
	}
	w.opened++
	t.handle, t.used = handle, w.opened
	count := 0
	var oldest *tracked
	for _, other := range w.files {
		if other.handle == nil {
			continue
		}
		count++
		if other != t && other.placed && other.large == nil && (oldest == nil || other.used < oldest.used) {
			oldest = other
		}
	}
	if count > maxOpen && oldest != nil {
		oldest.closeHandle()
	}
}

// lose is called when a file is not where it was: it was renamed, deleted or truncated.
// What is left of it is found by its handle, or in the folder where it was.
func (w *watch) lose(t *tracked, found []candidate) {
	t.lostAt = w.now()
	t.grown = t.lostAt
	if t.handle != nil {
		info, err := t.handle.Stat()
		if err == nil && t.verify(info.Size()) && !replaced(info, found) {
			t.info = info
		} else {
			t.closeHandle()
		}
	}
	w.findRotated(t, found)
}

// replaced tells whether a file on disk has a name that the pattern finds: then it is
// another file's by now.
func replaced(info fs.FileInfo, found []candidate) bool {
	return slices.ContainsFunc(found, func(c candidate) bool { return os.SameFile(c.info, info) })
}

// findRotated looks for a file under the names that rotation gives. What was rotated
// after it, while nobody looked, is read too.
func (w *watch) findRotated(t *tracked, found []candidate) {
	dir, base := filepath.Split(t.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // scan has told
	}
	var rotated []candidate
	for _, e := range entries {
		if !isRotated(base, e.Name()) || isCompressed(e.Name()) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err == nil && info.Mode().IsRegular() && info.Size() > 0 && !replaced(info, found) {
			rotated = append(rotated, candidate{filepath.Join(dir, e.Name()), info})
		}
	}
	slices.SortStableFunc(rotated, func(a, b candidate) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	after := false
	for _, c := range rotated {
		handle, info, err := openFile(c.path)
		if err != nil {
			continue
		}
		is, head, tail := w.recognise(handle, info, t.path)
		switch {
		case is == t:
			after = true
			t.found(head, tail)
			if t.handle != nil || info.Size() == t.offset && w.now().Sub(info.ModTime()) > grace {
				_ = handle.Close() // it is open already, or done
				continue
			}
			t.info = info
			w.hold(t, handle)
		case is == nil && after:
			next := &tracked{path: t.path, info: info, lostAt: t.lostAt, grown: t.lostAt}
			if err := w.fits(next); err != nil {
				w.trouble(err)
				_ = handle.Close()
				continue
			}
			w.files = append(w.files, next)
			w.hold(next, handle)
		default:
			_ = handle.Close()
		}
	}
	if !after && t.info != nil && t.handle == nil && t.offset > 0 {
		w.log.Info("a file is gone; what was written to it after it was last read is not known", "path", t.path, "offset", t.offset)
	}
}

// isRotated tells whether rotation gives such a name: a number or a date after the name,
// or before its extension.
func isRotated(base, name string) bool {
	marked := func(rest string) bool {
		return len(rest) > 1 && strings.ContainsRune(".-_", rune(rest[0])) && rest[1] >= '0' && rest[1] <= '9'
	}
	if rest, ok := strings.CutPrefix(name, base); ok && marked(rest) {
		return true
	}
	ext := filepath.Ext(base)
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(base, ext))
	return ok && ext != "" && strings.HasSuffix(rest, ext) && marked(strings.TrimSuffix(rest, ext))
}

// inOrder lists the files to be read: first those that have lost their names, since what
// is in them is older, and then as they were last written.
func (w *watch) inOrder() []*tracked {
	var order []*tracked
	for _, t := range w.files {
		if t.info != nil && (t.placed || t.handle != nil) {
			order = append(order, t)
		}
	}
	slices.SortStableFunc(order, func(a, b *tracked) int {
		if a.placed != b.placed {
			if b.placed {
				return -1
			}
			return 1
		}
		return a.info.ModTime().Compare(b.info.ModTime())
	})
	return order
}

// forgetGone closes files that have lost their names and are quiet, and takes those out
// of the cursor that have been gone for long.
func (w *watch) forgetGone() {
	now := w.now()
	w.files = slices.DeleteFunc(w.files, func(t *tracked) bool {
		if t.placed || t.handle != nil {
			return false
		}
		return t.offset == 0 || now.Sub(t.lostAt) > forget
	})
}

// trouble is told at the end of the round.
func (w *watch) trouble(err error) { w.troubles = append(w.troubles, err) }

// report tells what is wrong, and how many bytes are to be read yet.
func (w *watch) report() {
	var behind int64
	for _, t := range w.files {
		if t.info != nil && (t.placed || t.handle != nil) {
			behind += max(0, t.info.Size()-t.offset)
		}
	}
	var err error
	if n := len(w.troubles); n > 0 {
		err = w.troubles[0]
		if n > 1 {
			err = fmt.Errorf("%w; and %d more like it", err, n-1)
		}
	}
	text := fmt.Sprint(err)
	if err != nil && text != w.told {
		w.log.Warn("not everything can be read", "error", err)
	}
	w.told = text
	w.batch.out.Status(err, behind, "bytes")
}

func (w *watch) close() {
	for _, t := range w.files {
		t.closeHandle()
	}
}
