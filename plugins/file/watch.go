package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
			w.complain(err)
		case info.Mode().IsRegular():
			found = append(found, candidate{p, info})
		case !isPattern(path):
			w.complain(&fs.PathError{Op: "read", Path: p, Err: errNotRegular})
		}
	}
	if len(found) == 0 && len(w.troubles) == 0 {
		w.complain(w.nothing(path))
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

// complain keeps what is to be told at the end of the round.
func (w *watch) complain(err error) { w.troubles = append(w.troubles, err) }

// trouble sums up what was complained of, if anything was.
func (w *watch) trouble() error {
	switch n := len(w.troubles); n {
	case 0:
		return nil
	case 1:
		return w.troubles[0]
	default:
		return fmt.Errorf("%w; and %d more like it", w.troubles[0], n-1)
	}
}

// report tells what is wrong, and how many bytes are to be read yet.
func (w *watch) report() {
	var behind int64
	for _, t := range w.files {
		if t.info != nil && (t.placed || t.handle != nil) {
			behind += max(0, t.info.Size()-t.offset)
		}
	}
	err := w.trouble()
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
