-- +goose Up

-- Questions are read by case, by state, and by whom they are asked.
CREATE TABLE questions (
	id          TEXT PRIMARY KEY,
	case_number INTEGER NOT NULL, -- of the case as first opened
	state       TEXT NOT NULL,
	opened      INTEGER NOT NULL,
	doc         BLOB NOT NULL
);
CREATE INDEX questions_case ON questions (case_number, opened, id);
CREATE INDEX questions_state ON questions (state, opened, id) WHERE state != 'answered';
CREATE INDEX questions_opened ON questions (opened, id);

CREATE TABLE question_addresses (
	address  TEXT NOT NULL, -- in lower case
	question TEXT NOT NULL,
	PRIMARY KEY (address, question)
) WITHOUT ROWID;
