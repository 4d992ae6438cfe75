package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// scanner reads the columns of a row.
type scanner func(to ...any) error

// queryRows reads all rows of a query.
func queryRows[T any](ctx context.Context, s *Store, row func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := row(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, classify(rows.Err())
}

// queryDocs reads rows whose only column is a JSON document.
func queryDocs[T any](ctx context.Context, s *Store, query string, args ...any) ([]T, error) {
	return queryRows(ctx, s, func(scan scanner) (v T, err error) {
		var doc sql.RawBytes
		if err = scan(&doc); err == nil {
			err = unmarshal(doc, &v)
		}
		return v, err
	}, query, args...)
}

func getDoc[T any](ctx context.Context, s *Store, query string, args ...any) (T, error) {
	var v T
	var doc []byte
	if err := s.read.QueryRowContext(ctx, query, args...).Scan(&doc); err != nil {
		return v, classify(err)
	}
	return v, unmarshal(doc, &v)
}

func unmarshal(doc []byte, v any) error {
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("stored %T: %w", v, err)
	}
	return nil
}
