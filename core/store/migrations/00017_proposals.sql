-- +goose Up

-- Proposals are read by state; there are far fewer than cases.
CREATE TABLE proposals (
	id          TEXT PRIMARY KEY,
	case_number INTEGER NOT NULL, -- of the case as first opened
	state       TEXT NOT NULL,
	made        INTEGER NOT NULL,
	doc         BLOB NOT NULL
);
CREATE INDEX proposals_case ON proposals (case_number, made, id);
CREATE INDEX proposals_state ON proposals (state, made, id);
