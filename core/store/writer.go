package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// writer writes rows through one connection until something fails. Statements are
// prepared once. It is used by whoever has the store's turn.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	err        error
}

// statement is prepared when it is first used. The driver watches over contexts that
// can end, at a price for each row; a transaction is not cut off anyway.
func (w *writer) statement(query string) *sql.Stmt {
	if w.err != nil {
		return nil
	}
	if s := w.statements[query]; s != nil {
		return s
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		w.err = fmt.Errorf("%s: %w", query, err)
		return nil
	}
	w.statements[query] = s
	return s
}

// exec does nothing after a failure.
func (w *writer) exec(query string, args ...any) {
	s := w.statement(query)
	if w.err == nil {
		_, w.err = s.Exec(args...)
	}
}

// count is exec that tells how many rows were written.
func (w *writer) count(query string, args ...any) int64 {
	s := w.statement(query)
	if w.err != nil {
		return 0
	}
	var r sql.Result
	if r, w.err = s.Exec(args...); w.err != nil {
		return 0
	}
	var n int64
	n, w.err = r.RowsAffected()
	return n
}

// scan reads one row; ErrNotFound if there is none.
func (w *writer) scan(query string, args []any, to ...any) error {
	s := w.statement(query)
	if w.err != nil {
		return w.err
	}
	return classify(s.QueryRow(args...).Scan(to...))
}

func (w *writer) json(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("encoding %T: %w", v, err)
	}
	return data
}

func (w *writer) meta(key string, value any) {
	w.exec(`INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
		key, string(w.json(value)))
}

func (w *writer) close() error {
	if w == nil {
		return nil
	}
	var errs []error
	for _, s := range w.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}
