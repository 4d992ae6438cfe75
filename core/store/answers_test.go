package store

import (
	"testing"

	"github.com/kelpie-sec/kelpie/core/decide"
)

// TestAnswerCursors are replaced with the transaction that has them.
func TestAnswerCursors(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	want := func(cursor string) {
		t.Helper()
		got, err := s.AnswerCursor(t.Context(), "action.chat")
		if err != nil || string(got) != cursor || (got == nil) != (cursor == "") {
			t.Errorf("%q %v, want %q", got, err, cursor)
		}
	}
	want("")
	for n, cursor := range []string{"1", "2\x00\xff"} {
		c := decide.Changes{Position: decide.Position{Seq: uint64(n + 1)}, Cursors: map[string][]byte{"action.chat": []byte(cursor), "action.mail": []byte("x")}}
		if err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want(cursor)
	}
	if err := s.Commit(t.Context(), decide.Changes{Position: decide.Position{Seq: 3}}); err != nil {
		t.Fatal(err)
	}
	want("2\x00\xff")
}
