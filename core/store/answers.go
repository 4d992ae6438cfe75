package store

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/decide"
)

// metaAnswers and an action's address are the key of its stream's cursor.
const metaAnswers = "answers:"

func (w *writer) cursors(c decide.Changes) {
	for _, address := range slices.Sorted(maps.Keys(c.Cursors)) {
		w.meta(metaAnswers+address, c.Cursors[address])
	}
}

// AnswerCursor is from where on an action's answers are wanted: after the last of which
// decide knows. It is nil before the first.
func (s *Store) AnswerCursor(ctx context.Context, action string) ([]byte, error) {
	var cursor []byte
	err := s.getMeta(ctx, metaAnswers+action, &cursor)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return cursor, err
}
