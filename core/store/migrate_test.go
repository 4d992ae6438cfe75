package store

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestIntentsOfBefore: what an intent was planned with stood in its document, up to
// version 6, and is found when the tables have been brought up to date.
func TestIntentsOfBefore(t *testing.T) {
	dir := t.TempDir()
	db, err := open(filepath.Join(dir, File), 1, "synchronous(FULL)", writeCache)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	with, without := anIntent(1, "c-1", epoch0), anIntent(2, "c-1", epoch0)
	with.Parameters = []byte(`{"text":"a \"b\" ü","none":null,"n":[1,2.50,{}]}`)
	with.Target.Known = []byte(`{"asset":{"roles":["domain_controller"],"seen":null}}`)
	for _, doc := range []string{
		`{"id":"` + with.ID + `","case":"c-1","target":{"kind":"address","value":"` + with.Target.Value + `","known":` + string(with.Target.Known) + `},"parameters":` + string(with.Parameters) + `,"because":"score 80.00","state":"done"}`,
		`{"id":"` + without.ID + `","case":"c-1","target":{"kind":"address","value":"` + without.Target.Value + `"},"because":"score 80.00","state":"done"}`,
	} {
		if _, err := db.Exec(`INSERT INTO intents (id, case_id, action, state, planned, place, doc)
			VALUES (json_extract(?1, '$.id'), 'c-1', 'action.mail', 'done', 1, 1, CAST(?1 AS BLOB))`, doc); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	for _, want := range []model.Intent{with, without} {
		got, err := s.Intent(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want.Parameters)+" "+string(want.Target.Known), string(got.Parameters)+" "+string(got.Target.Known)); diff != "" {
			t.Error(diff)
		}
		if got.Target.Value != want.Target.Value || got.State != model.IntentDone || got.Because != want.Because {
			t.Errorf("%+v", got)
		}
	}
	done, err := s.Intents(t.Context(), IntentQuery{State: model.IntentDone})
	if err != nil || len(done) != 2 {
		t.Errorf("%d are done, %v", len(done), err)
	}
}
