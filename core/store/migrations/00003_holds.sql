-- +goose Up

-- Holds are read by what they are on and by where they are.
DROP TABLE holds;
CREATE TABLE holds (
	id     TEXT PRIMARY KEY,
	action TEXT NOT NULL,
	target TEXT NOT NULL, -- its value
	state  TEXT NOT NULL,
	since  INTEGER NOT NULL,
	doc    BLOB NOT NULL
);
CREATE INDEX holds_action ON holds (action) WHERE state != 'released';
CREATE INDEX holds_state ON holds (state, since, id) WHERE state != 'released';
CREATE INDEX holds_target ON holds (target);
CREATE INDEX holds_since ON holds (since, id);
