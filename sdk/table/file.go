package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Settled is the age from which a file's time of change is trusted. A younger file
// may change again without a change of its time, and its writer may not be done.
const Settled = 2 * time.Second

// ErrChanging says that a file changed while it was read. Reading it again later
// helps.
var ErrChanging = errors.New("changed while it was read")

// File follows a file on disk. Its methods are safe for concurrent use.
type File struct {
	path    string
	options Options
	now     func() time.Time
	current atomic.Pointer[Table]

	mu      sync.Mutex // one reading at a time
	seen    stamp      // of the last reading
	trouble error      // of the last reading
}

// stamp is by what a change of a file is noticed without reading it.
type stamp struct {
	size    int64
	changed time.Time
	inode   uint64
	settled bool
}

// FormatOf tells the format of a file by its name.
func FormatOf(path string) (Format, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv", ".tsv":
		return CSV, nil
	case ".ndjson", ".jsonl", ".json":
		return NDJSON, nil
	}
	return "", fmt.Errorf("%s: the name tells no format; give csv or ndjson", path)
}

// Open reads a file for the first time. Without Options.Format the name tells it.
func Open(path string, options Options) (*File, error) {
	if options.Format == "" {
		format, err := FormatOf(path)
		if err != nil {
			return nil, err
		}
		options.Format = format
		if strings.EqualFold(filepath.Ext(path), ".tsv") && options.Separator == 0 {
			options.Separator = '\t'
		}
	}
	f := &File{path: path, options: options, now: time.Now}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Table is the content as last read without error. It never is nil.
func (f *File) Table() *Table { return f.current.Load() }

// Reload reads the file if it changed since the last reading, and tells whether
// the table is another one now. With an error the old table stays; the error is
// the same again until the file changes.
func (f *File) Reload() (changed bool, err error) { return f.reload(nil) }

// reload reads only a file that has this stamp, if one is given.
func (f *File) reload(only *stamp) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		f.seen = stamp{}
		return false, err
	}
	if seen := f.stampOf(info); seen == f.seen && seen.settled {
		return false, f.trouble
	}
	var table *Table
	table, f.seen, f.trouble = f.read(only)
	if f.trouble != nil {
		return false, f.trouble
	}
	if old := f.current.Load(); old != nil && old.Version() == table.Version() {
		return false, nil
	}
	f.current.Store(table)
	return true, nil
}

func (f *File) read(only *stamp) (*Table, stamp, error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	if !before.Mode().IsRegular() {
		return nil, stamp{}, &Error{Path: f.path, Reason: "is not a regular file"}
	}
	changing := &fs.PathError{Op: "read", Path: f.path, Err: ErrChanging}
	seen := f.stampOf(before)
	if only != nil && seen != *only {
		return nil, stamp{}, changing
	}
	table, parseErr := Parse(file, f.path, f.options)
	after, err := file.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	if after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, stamp{}, changing
	}
	return table, seen, parseErr
}

func (f *File) stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), changed: info.ModTime(), settled: f.now().Sub(info.ModTime()).Abs() >= Settled}
	s.inode = inode(info)
	return s
}

// Follow reloads the file again and again until ctx ends, when it is Settled and has
// been as it is for one interval: while a file is cut short, its new size can be seen
// with its old time. Follow calls report after a change, with nil, and when something
// is wrong, with the error; the same error is reported once, and nil when it has passed.
func (f *File) Follow(ctx context.Context, every time.Duration, report func(error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var before stamp
	trouble := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var now stamp
		info, err := os.Stat(f.path)
		if err == nil {
			now = f.stampOf(info)
			if now != before || !now.settled {
				before = now
				continue
			}
		}
		changed, err := f.reload(&now)
		switch {
		case errors.Is(err, ErrChanging): // next time
		case err != nil && err.Error() != trouble:
			trouble = err.Error()
			report(err)
		case err == nil && (changed || trouble != ""):
			trouble = ""
			report(nil)
		}
	}
}
