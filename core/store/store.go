// Package store keeps what Kelpie knows in SQLite: cases, signals, answers,
// intents, the journal of attempts, counts. It is the only package with SQL in it.
//
// Writes of all rooms go through one connection, a transaction at a time; reads
// go through others and see the last commit. A Store is safe for concurrent use.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

var (
	// ErrFull means that the disk had no room for a transaction. Nothing of it was
	// written; it may be tried again as it is.
	ErrFull = errors.New("no room on the disk")
	// ErrDisk means that the disk took nothing for another reason than room: it fails,
	// or nobody may write to it. Nothing was written; it may be tried again as it is.
	ErrDisk = errors.New("the disk can't be written")
	// ErrNotFound means that there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrNewer means that a newer Kelpie has changed the tables.
	ErrNewer = errors.New("the database was made by a newer kelpie")
)

// Store is the database of one Kelpie.
type Store struct {
	write  *sql.DB
	writer *writer
	turn   chan struct{} // holds one value while nobody writes
	line   line          // who waits for the turn
	read   *sql.DB
	close  func() error

	checkpoints *checkpointer
}

// Settings of a store.
type Settings struct {
	// Dir is the folder of the database's files. It is made if it is not there.
	Dir string
	// Relaxed leaves the last transactions to the operating system's care: a power
	// cut may lose them, a crash of Kelpie does not.
	Relaxed bool
}

// File is the database's name in Settings.Dir.
const File = "kelpie.db"

// readers is how many queries run at once.
const readers = 4

// Memory for pages, which is not Go's. The writer's pays; a reader forgets its own
// whenever somebody has written.
const (
	writeCache = "cache_size(-16384)" // KiB
	sideCache  = "cache_size(-2048)"
)

// Open opens the database, makes it if it is not there, and brings its tables up
// to date. It fails with ErrNewer if they are of a later version. A process opens a
// database once: the Close of a second Store would give up the first one's locks.
func Open(ctx context.Context, s Settings) (*Store, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	path := filepath.Join(s.Dir, File)
	err := create(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	level := "FULL"
	if s.Relaxed {
		level = "NORMAL"
	}
	st := &Store{turn: make(chan struct{}, 1)}
	st.close = sync.OnceValue(st.shut)
	if st.write, err = open(path, 1, "synchronous("+level+")", writeCache); err != nil {
		return nil, err
	}
	if err := st.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, classify(err)), st.write.Close())
	}
	if st.read, err = open(path, readers, "query_only(1)", sideCache); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err = st.startCheckpointer(path, level); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

// create makes the database's file if it is not there. SQLite gives the files beside it
// the same permissions. One that is there is not opened: to close it again would give up
// what this process has locked in it.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		err = f.Close()
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	return errors.Join(err, os.Chmod(path, 0o600))
}

func (s *Store) prepare(ctx context.Context) error {
	if err := settle(ctx, s.write); err != nil {
		return err
	}
	if err := migrate(ctx, s.write); err != nil {
		return err
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	s.writer = &writer{conn: conn, statements: map[string]*sql.Stmt{}}
	s.turn <- struct{}{}
	return nil
}

func open(path string, connections int, pragma, cache string) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", pragma,
		"wal_autocheckpoint(0)", "journal_size_limit(67108864)", cache,
		"temp_store(MEMORY)", // nothing that we hold is written anywhere else
	}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// settle writes what the write-ahead log holds into the database. A sync that failed
// before the last end may have left transactions in it that are read and are not on the
// disk: what came after them would go with them when the power goes.
func settle(ctx context.Context, db *sql.DB) error {
	var busy, frames, done int
	err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done)
	if err = classify(err); errors.Is(err, ErrFull) {
		return nil // it is tried again as the log grows
	}
	return err
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	var last int64
	for _, source := range p.ListSources() { // in no order
		last = max(last, source.Version)
	}
	if have > last {
		return fmt.Errorf("%w: its tables have version %d, this one knows version %d; use the newer kelpie, or another data folder", ErrNewer, have, last)
	}
	_, err = p.Up(ctx)
	return err
}

// Close waits for the transaction that is running, and closes the files. Nothing can
// be written after it.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	errs := []error{s.checkpoints.close()}
	<-s.turn // nobody writes after this
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	return errors.Join(append(errs, s.writer.close(), s.write.Close(), s.checkpoints.closeIndex())...)
}

// Result codes of SQLite (https://sqlite.org/rescode.html).
const (
	codeReadOnly     = 8
	codeIOErr        = 10
	codeFull         = 13
	codeCantOpen     = 14
	codeIOErrSHMSize = 10 | 19<<8
)

// classify turns what a caller decides by into this package's errors.
func classify(err error) error {
	var se *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case !errors.As(err, &se):
		return err
	}
	switch code := se.Code(); {
	case code&0xff == codeFull, code == codeIOErrSHMSize:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case code&0xff == codeReadOnly, code&0xff == codeIOErr, code&0xff == codeCantOpen:
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return err
}
