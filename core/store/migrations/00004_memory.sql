-- +goose Up

-- Cases that have left decide's memory: its own, and no part of what was decided.
CREATE TABLE settled (
	number   INTEGER PRIMARY KEY,
	case_key INTEGER NOT NULL, -- hash of the case's id
	last     INTEGER NOT NULL, -- nanoseconds since 1970, of its last event
	changed  INTEGER NOT NULL, -- nanoseconds since 1970 of decide's time, when its newest signal came
	keys     BLOB,             -- hashes of its values, 8 bytes each; NULL: it is not found by them
	doc      BLOB NOT NULL
);
CREATE INDEX settled_case ON settled (case_key);
CREATE INDEX settled_last ON settled (last) WHERE keys IS NOT NULL;

-- By which values a case that is not over is found.
CREATE TABLE settled_values (
	hash   INTEGER NOT NULL,
	number INTEGER NOT NULL, -- of settled
	PRIMARY KEY (hash, number)
) WITHOUT ROWID;

-- Hashes of what has left memory, 8 bytes each, in the order of leaving. Some may be
-- back since.
CREATE TABLE away (
	number INTEGER PRIMARY KEY,
	hashes BLOB NOT NULL
);

-- What came back before an input was applied, for its replay.
CREATE TABLE recalls (
	place INTEGER PRIMARY KEY, -- of the input
	doc   BLOB NOT NULL
);
