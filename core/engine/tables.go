package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/sdk/table"
)

// tablesDir holds the files of tables, each by its hash: as they were when something
// was decided by them, so that it can be decided again.
const tablesDir = "tables"

// shelf keeps the files of tables.
type shelf struct {
	dir   string
	known atomic.Pointer[config.Known] // the tables of the configuration that was put last
}

// kept is from where decide takes tables.
func (s *shelf) kept() config.Kept {
	return config.Kept{Read: s.get, Known: func() config.Known {
		if known := s.known.Load(); known != nil {
			return *known
		}
		return nil
	}}
}

var hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// get is a version of a table's file.
func (s *shelf) get(hash string) ([]byte, error) {
	if !hashForm.MatchString(hash) {
		return nil, fmt.Errorf("%q is no version of a table", hash)
	}
	content, err := os.ReadFile(filepath.Join(s.dir, hash))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its version %.12s is not in %s, where it was kept: put that folder back as it was", hash, s.dir)
	}
	return content, err
}

// put keeps a configuration's tables, durably, before anything can be decided by them.
func (s *shelf) put(c *config.Config) error {
	s.known.Store(&c.Known)
	return s.keepAll(c.Source.Contents)
}

func (s *shelf) keepAll(contents map[string][]byte) error {
	for hash, content := range contents {
		if info, err := os.Stat(filepath.Join(s.dir, hash)); err == nil && info.Size() == int64(len(content)) {
			continue
		}
		if err := s.write(hash, content); err != nil {
			return fmt.Errorf("table: %w", err)
		}
	}
	return nil
}

func (s *shelf) write(hash string, content []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	syncParent(s.dir)
	f, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, hash))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	syncParent(filepath.Join(s.dir, hash))
	return nil
}

// keep removes all but the contents of these hashes.
func (s *shelf) keep(needed map[string]bool) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		if !needed[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}

// clearShelf removes what nothing is decided by any more, neither now nor when a start
// goes on from a checkpoint. All that was announced must have been decided.
func (f *flow) clearShelf(ctx context.Context) {
	needed := map[string]bool{}
	checkpoint, err := f.k.store.Checkpoint(ctx)
	if err == nil {
		var hashes []string
		hashes, err = f.k.store.TablesSince(ctx, checkpoint.Before.Seq)
		for _, hash := range hashes {
			needed[hash] = true
		}
	}
	if err == nil {
		for hash := range f.changes.generation().Config.Source.Contents {
			needed[hash] = true
		}
		err = f.k.tables.keep(needed)
	}
	if err != nil && ctx.Err() == nil {
		f.logger.Warn("old versions of tables were not removed", "error", err)
	}
}

// tableInterval is how often it is looked whether a table's file has changed. A file is
// read when it has been as it is for one interval.
const tableInterval = time.Second

// tableWatch is what is known of the tables' files.
type tableWatch struct {
	mu    sync.Mutex
	files map[string]*tableFile // by address
}

type tableFile struct {
	taken   time.Time   // when its content came into force, if that was while Kelpie runs
	seen    os.FileInfo // at the latest look
	read    os.FileInfo // when it was read
	under   *generation // by which it was read
	trouble string
	since   time.Time
}

// followTables puts each new version of a table's file in force.
func (f *flow) followTables(ctx context.Context) error {
	if f.options.Once {
		return nil // which decides by what it was started with
	}
	f.clearShelf(ctx)
	for pause(ctx, tableInterval) {
		tables := f.changes.generation().Config.Tables
		f.tables.retain(tables)
		for _, t := range tables {
			f.lookAtTable(ctx, t)
		}
	}
	return nil
}

// retain forgets the files of tables that are gone.
func (w *tableWatch) retain(tables []config.Table) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = map[string]*tableFile{}
	}
	for address := range w.files {
		if !slices.ContainsFunc(tables, func(t config.Table) bool { return t.Address == address }) {
			delete(w.files, address)
		}
	}
	for _, t := range tables {
		if w.files[t.Address] == nil {
			w.files[t.Address] = &tableFile{}
		}
	}
}

func (f *flow) lookAtTable(ctx context.Context, t config.Table) {
	file := f.tables.files[t.Address] // only this goroutine writes, apart from the trouble
	info, err := os.Stat(t.Path)
	if err != nil {
		file.seen, file.read = nil, nil
		f.tableTrouble(t, unreadable(t.Path, err))
		return
	}
	before := file.seen
	file.seen = info
	now := f.changes.generation()
	settled := time.Since(info.ModTime()).Abs() >= table.Settled
	if !sameFile(before, info) || !settled || sameFile(file.read, info) && file.under == now {
		return
	}
	content, err := t.Read()
	if after, changed := os.Stat(t.Path); changed != nil || !sameFile(info, after) {
		return // next time
	}
	if err == nil && config.HashOf(content) != t.Hash {
		err = f.renewTable(ctx, now, t.Address, content)
	}
	if ctx.Err() != nil || errors.Is(err, errStopping) || errors.Is(err, errOutdated) {
		return
	}
	file.read, file.under = info, f.changes.generation()
	if err != nil {
		f.tableTrouble(t, err.Error())
		return
	}
	f.tableTrouble(t, "")
}

func unreadable(path string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no " + path
	}
	return err.Error()
}

func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// tableTrouble notes what is wrong with a table's file; "": nothing.
func (f *flow) tableTrouble(t config.Table, why string) {
	f.tables.mu.Lock()
	file := f.tables.files[t.Address]
	before := file.trouble
	if file.trouble = why; before != why {
		file.since = f.k.clock.now()
	}
	f.tables.mu.Unlock()
	switch {
	case why != "" && why != before:
		f.logger.Error("a table's file is not taken; the version before it counts", "table", t.Address, "error", why)
	case why == "" && before != "":
		f.logger.Info("a table's file is as it should be again", "table", t.Address)
	}
}

func (w *tableWatch) take(address string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[address].taken = at
}

// versions are the tables' contents that are in force.
func (w *tableWatch) versions(g *generation) []api.Table {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []api.Table
	for _, t := range g.Config.Tables {
		since := g.since
		if file := w.files[t.Address]; file != nil && file.taken.After(since) {
			since = file.taken
		}
		all = append(all, api.Table{Table: t.Address, Rows: t.Rows, Version: t.Hash, Since: since})
	}
	return all
}

func (w *tableWatch) troubles() []api.Trouble {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []api.Trouble
	for address, file := range w.files {
		if file.trouble != "" {
			all = append(all, api.Trouble{
				What: address + ": " + file.trouble, Since: file.since, Waits: "nothing: the version before it counts",
				Do: "put the file right; it is read again by itself",
			})
		}
	}
	slices.SortFunc(all, func(a, b api.Trouble) int { return strings.Compare(a.What, b.What) })
	return all
}

// errOutdated: another configuration came into force in the meantime, which may have
// another file for the table.
var errOutdated = errors.New("another configuration is in force")

// renewTable puts another content of a table's file in force, and changes nothing else.
func (f *flow) renewTable(ctx context.Context, now *generation, address string, content []byte) error {
	if err := f.changes.begin(ctx); err != nil {
		return err
	}
	defer f.changes.end()
	if f.changes.generation() != now {
		return errOutdated
	}
	c, diags := now.Config.WithTable(address, content)
	if diags.HasErrors() {
		return errors.New(whyRefused(diags))
	}
	next := now.Configuration
	next.Config = c
	if _, sick := f.k.log.Sick(); sick != nil {
		return errLogSick
	}
	seq, err := f.announceChange(f.changes.life, now, next)
	if err != nil {
		return err
	}
	f.rematch(next)
	f.changes.renew(next)
	f.tables.take(address, f.k.clock.now())
	f.decided(f.changes.life, seq)
	f.responder.Apply(f.changes.withLeaving(c.Respond))
	f.clearShelf(f.changes.life)
	f.logger.Info("another version of a table is in force", "table", address, "config", next.hash(), "before", now.hash())
	return nil
}

// whyRefused is what the first error says.
func whyRefused(diags config.Diagnostics) string {
	for _, m := range config.Messages(diags, nil) {
		if m.Severity == "error" {
			return strings.TrimSuffix(m.Detail, ".")
		}
	}
	return ""
}
