package store

import (
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// openAt makes the tables of an earlier version.
func openAt(t *testing.T, dir string, version int64) *sql.DB {
	t.Helper()
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
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestIntentsOfBefore: what an intent was planned with stood in its document, up to
// version 6, and is found when the tables have been brought up to date.
func TestIntentsOfBefore(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir, 6)
	with, without := anIntent(1, "c-1", epoch0), anIntent(2, "c-1", epoch0)
	with.Parameters = []byte(`{"text":"a \"b\" ü","none":null,"n":[1,2.50,{}]}`)
	with.Target.Known = []byte(`{"asset":{"roles":["domain_controller"],"seen":null}}`)
	if _, err := db.Exec(`INSERT INTO cases (id, state, score, first, last, updated, doc) VALUES ('c-1', 'open', 0, 0, 0, 0, x'')`); err != nil {
		t.Fatal(err)
	}
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

// TestNumbersOfBefore: what belonged to a row stood under its id, up to version 7, and
// is found by the row's number when the tables have been brought up to date.
func TestNumbersOfBefore(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir, 7)
	for _, q := range []string{
		`INSERT INTO cases (id, state, score, first, last, updated, doc) VALUES
			('c-9', 'open', 10, 1, 1, 1, CAST('{"id":"c-9","state":"open"}' AS BLOB)),
			('c-1', 'open', 20, 1, 1, 1, CAST('{"id":"c-1","state":"open"}' AS BLOB)),
			('c-5', 'merged', 0, 1, 1, 1, CAST('{"id":"c-5","state":"merged"}' AS BLOB))`,
		`INSERT INTO case_aliases VALUES ('c-5', 'c-1')`,
		`INSERT INTO signals (id, rule, source, time, doc) VALUES
			('s-2', 'r', 'd', 3, CAST('{"id":"s-2"}' AS BLOB)), ('s-1', 'r', 'd', 2, CAST('{"id":"s-1"}' AS BLOB)), ('s-3', 'r', 'd', 1, CAST('{"id":"s-3"}' AS BLOB))`,
		`INSERT INTO case_members VALUES ('s-1', 'c-1'), ('s-2', 'c-1'), ('s-3', 'c-9')`,
		`INSERT INTO asks (id, enrichment, kind, value, state, asked, place, severity, doc) VALUES
			('a-2', 'enrichment.x', 'ip', '10.0.0.1', 'known', 1, 1, 7, CAST('{"id":"a-2","enrichment":"enrichment.x","observable":{"kind":"ip","value":"10.0.0.1"}}' AS BLOB)),
			('a-1', 'enrichment.y', 'ip', '10.0.0.1', 'pending', 1, 2, 7, CAST('{"id":"a-1","enrichment":"enrichment.y","observable":{"kind":"ip","value":"10.0.0.1"}}' AS BLOB))`,
		`INSERT INTO answers VALUES ('a-2', CAST('{"ask":"a-2","state":"known"}' AS BLOB))`,
		`INSERT INTO intents (id, case_id, action, state, planned, place, doc) VALUES
			('i-2', 'c-1', 'action.mail', 'done', 1, 1, CAST('{"id":"i-2","case":"c-1","state":"done"}' AS BLOB)),
			('i-1', 'c-5', 'action.mail', 'pending', 2, 2, CAST('{"id":"i-1","case":"c-5","state":"pending"}' AS BLOB))`,
		`INSERT INTO attempts VALUES ('i-1', 1, 1, 1, 1, 'unknown', CAST('{"intent":"i-1","number":1}' AS BLOB)),
			('i-1', 2, 1, 1, 1, 'claimed', CAST('{"intent":"i-1","number":2}' AS BLOB)), ('i-2', 1, 1, 1, 1, 'done', CAST('{"intent":"i-2","number":1}' AS BLOB))`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir)
	got := map[string][]string{}
	note := func(what string, err error, ids ...string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got[what] = append(got[what], ids...)
	}
	cases, err := s.Cases(t.Context(), CaseQuery{})
	note("cases", err)
	for _, c := range cases {
		note("cases", nil, c.ID)
	}
	for _, id := range []string{"c-1", "c-9"} {
		signals, err := s.CaseSignals(t.Context(), id, false)
		note("signals of "+id, err)
		for _, g := range signals {
			note("signals of "+id, nil, g.ID)
		}
	}
	lookups, err := s.Lookups(t.Context(), []sdk.Observable{{Kind: sdk.IP, Value: "10.0.0.1"}})
	note("lookups", err)
	for _, l := range lookups {
		answered := "waits"
		if l.Reply != nil {
			answered = l.Reply.Ask
		}
		note("lookups", nil, l.Ask.ID+" "+answered)
	}
	intents, err := s.CaseIntents(t.Context(), []string{"c-1", "c-5"})
	note("intents", err)
	for _, in := range intents {
		_, attempts, err := s.Journal(t.Context(), in.ID)
		note("intents", err, fmt.Sprint(in.ID, " ", len(attempts)))
	}
	waiting, err := s.PendingIntents(t.Context(), "action.mail", 10)
	note("pending", err)
	for _, w := range waiting {
		note("pending", nil, w.Intent)
	}
	want := map[string][]string{
		"cases": {"c-1", "c-9"}, "signals of c-1": {"s-1", "s-2"}, "signals of c-9": {"s-3"},
		"lookups": {"a-2 a-2", "a-1 waits"}, "intents": {"i-2 1", "i-1 2"}, "pending": {"i-1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	counts, err := s.Counts(t.Context())
	if err != nil || counts.Cases != 2 || counts.Signals != 3 {
		t.Errorf("counts %+v, %v", counts, err)
	}
}
