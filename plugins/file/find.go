package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// copied is a file with the content of one that is tracked, as of when it was compared.
type copied struct {
	info fs.FileInfo
	of   *tracked
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
			w.complain(err)
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
				w.complain(err)
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
