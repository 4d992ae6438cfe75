package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// writer writes rows through one connection until something fails. Statements are
// prepared once. It is used by whoever has the store's turn.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	err        error
	writes     int       // statements that were to change something
	trail      *trailEnd // nil: not known
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
func (w *writer) exec(query string, args ...any) { w.run(query, args) }

// count is exec that tells how many rows were written.
func (w *writer) count(query string, args ...any) (n int64) {
	if r := w.run(query, args); r != nil {
		n, w.err = r.RowsAffected()
	}
	return n
}

// number is exec that tells the number of the row that was added. RETURNING does that
// too, by a temporary table, which takes longer than adding the row.
func (w *writer) number(query string, args ...any) (n int64) {
	if r := w.run(query, args); r != nil {
		n, w.err = r.LastInsertId()
	}
	return n
}

// add is exec that tells the number of the row, if one was added.
func (w *writer) add(query string, args ...any) (number int64, added bool) {
	r := w.run(query, args)
	if r == nil {
		return 0, false
	}
	var n int64
	if n, w.err = r.RowsAffected(); n == 1 && w.err == nil {
		number, w.err = r.LastInsertId()
	}
	return number, n == 1
}

// atOnce is how many rows one statement adds: each statement has its price.
const atOnce = 32

// many adds rows whose columns are all in args, one after the other, to what insert
// begins.
func (w *writer) many(insert string, columns int, args []any) {
	row := "(" + strings.Repeat("?, ", columns-1) + "?)"
	for n := atOnce * columns; len(args) >= n; args = args[n:] {
		w.exec(insert+" VALUES "+row+strings.Repeat(", "+row, atOnce-1), args[:n]...)
	}
	for ; len(args) > 0; args = args[columns:] {
		w.exec(insert+" VALUES "+row, args[:columns]...)
	}
}

func (w *writer) run(query string, args []any) (r sql.Result) {
	s := w.statement(query)
	if w.err != nil {
		return nil
	}
	w.writes++
	if r, w.err = s.Exec(args...); w.err != nil {
		return nil
	}
	return r
}

// scan reads one row; ErrNotFound if there is none. After any other error nothing more
// is done: the database may have rolled the transaction back.
func (w *writer) scan(query string, args []any, to ...any) error {
	s := w.statement(query)
	if w.err != nil {
		return w.err
	}
	err := classify(s.QueryRow(args...).Scan(to...))
	if err != nil && !errors.Is(err, ErrNotFound) {
		w.err = err
	}
	return err
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
