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

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrFull means that the disk had no room for a transaction. Nothing of it was
// written; it may be tried again as it is.
var ErrFull = errors.New("no room on the disk")

// ErrNotFound means that there is no such row.
var ErrNotFound = errors.New("not found")

// Store is the database of one Kelpie.
type Store struct {
	write *sql.DB // one connection
	read  *sql.DB
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

// Open opens the database, makes it if it is not there, and brings its tables up
// to date.
func Open(ctx context.Context, s Settings) (*Store, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	sync := "FULL"
	if s.Relaxed {
		sync = "NORMAL"
	}
	path := filepath.Join(s.Dir, File)
	write, err := open(path, sync, 1)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, write); err != nil {
		write.Close()
		return nil, fmt.Errorf("store %s: %w", path, classify(err))
	}
	read, err := open(path, sync, readers)
	if err != nil {
		write.Close()
		return nil, err
	}
	return &Store{write: write, read: read}, nil
}

func open(path, sync string, connections int) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"journal_mode(WAL)", "synchronous(" + sync + ")", "busy_timeout(5000)",
		"wal_autocheckpoint(4000)", "cache_size(-65536)", "foreign_keys(1)",
	}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
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
	_, err = p.Up(ctx)
	return err
}

// Close waits for the transaction that is running, and closes the files.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
}

// transact runs do in a write transaction: all of it is durable when transact
// returns nil, and none of it was done otherwise.
func (s *Store) transact(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	if err := do(tx); err != nil {
		// A full disk has rolled back already; there is nothing to add to err.
		tx.Rollback() //nolint:errcheck
		return classify(err)
	}
	return classify(tx.Commit())
}

// Result codes of SQLite (https://sqlite.org/rescode.html).
const (
	codeIOErr = 10
	codeFull  = 13
)

// classify turns what a caller decides by into this package's errors.
func classify(err error) error {
	var se *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case errors.As(err, &se) && se.Code()&0xff == codeFull:
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
