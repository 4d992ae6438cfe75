-- +goose Up

-- Signals of experimental rules: the newest of each.
CREATE TABLE experimental (
	id    TEXT PRIMARY KEY,
	rule  TEXT NOT NULL,
	place INTEGER NOT NULL, -- of its event in EVENTS: sequence, then 16 bits of index
	doc   BLOB NOT NULL,    -- without the payload
	raw   BLOB
) WITHOUT ROWID;
CREATE INDEX experimental_rule ON experimental (rule, place);
CREATE INDEX experimental_place ON experimental (place);
