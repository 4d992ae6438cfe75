-- +goose Up

-- Ids are random to an index: each index that begins with one is a page of its own that
-- is written for each row, and has to come from the disk once there are many. What
-- belongs to a row is therefore found by that row's number, which grows with time, and
-- only the rows themselves by their ids.

CREATE TABLE cases_new (
	number  INTEGER PRIMARY KEY,
	id      TEXT NOT NULL UNIQUE,
	state   TEXT NOT NULL,
	score   INTEGER NOT NULL, -- hundredths
	first   INTEGER NOT NULL,
	last    INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	waiting INTEGER NOT NULL DEFAULT 0, -- of its signals: all, while an answer about it is pending
	doc     BLOB NOT NULL
);
INSERT INTO cases_new SELECT rowid, id, state, score, first, last, updated, waiting, doc FROM cases ORDER BY rowid;
DROP TABLE cases;
ALTER TABLE cases_new RENAME TO cases;
CREATE INDEX cases_state ON cases (state, score DESC, number);
CREATE INDEX cases_waiting ON cases (waiting) WHERE waiting > 0;
-- +goose StatementBegin
CREATE TRIGGER cases_new AFTER INSERT ON cases WHEN new.state != 'merged' BEGIN
	UPDATE case_count SET n = n + 1 WHERE id = 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER cases_state AFTER UPDATE OF state ON cases WHEN (new.state = 'merged') != (old.state = 'merged') BEGIN
	UPDATE case_count SET n = n + (new.state != 'merged') - (old.state != 'merged') WHERE id = 1;
END;
-- +goose StatementEnd

CREATE TABLE members (
	signal      INTEGER PRIMARY KEY, -- its number
	case_number INTEGER NOT NULL
);
INSERT INTO members SELECT s.number, c.number FROM case_members m
	JOIN signals s ON s.id = m.signal JOIN cases c ON c.id = m.case_id ORDER BY s.number;
CREATE INDEX members_case ON members (case_number);
DROP TABLE case_members;

CREATE TABLE asks_new (
	number     INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	enrichment TEXT NOT NULL,
	kind       TEXT NOT NULL,
	value      TEXT NOT NULL,
	state      TEXT NOT NULL,
	asked      INTEGER NOT NULL,
	place      INTEGER NOT NULL, -- of the commit that first wrote it; it never goes back
	severity   INTEGER NOT NULL DEFAULT 0,
	doc        BLOB NOT NULL,
	answer     BLOB              -- NULL: none yet
);
INSERT INTO asks_new (id, enrichment, kind, value, state, asked, place, severity, doc, answer)
	SELECT a.id, a.enrichment, a.kind, a.value, a.state, a.asked, a.place, a.severity, a.doc, r.doc
	FROM asks a LEFT JOIN answers r ON r.ask = a.id ORDER BY a.place, a.id;
DROP TABLE asks;
DROP TABLE answers;
ALTER TABLE asks_new RENAME TO asks;
CREATE INDEX asks_observable ON asks (kind, value, asked, id);
CREATE INDEX asks_pending ON asks (enrichment, place, id) WHERE state = 'pending';
CREATE INDEX asks_urgent ON asks (enrichment, severity DESC, place, id) WHERE state = 'pending';
CREATE INDEX asks_failed ON asks (enrichment) WHERE state = 'failed';

CREATE TABLE intents_new (
	number      INTEGER PRIMARY KEY,
	id          TEXT NOT NULL UNIQUE,
	case_number INTEGER NOT NULL,
	action      TEXT NOT NULL,
	state       TEXT NOT NULL,
	planned     INTEGER NOT NULL,
	place       INTEGER NOT NULL, -- of the commit that first wrote it; it never goes back
	score       INTEGER NOT NULL DEFAULT 0,                   -- hundredths
	deadline    INTEGER NOT NULL DEFAULT 9223372036854775807, -- nanoseconds since 1970; none comes last
	doc         BLOB NOT NULL,
	parameters  BLOB,
	known       BLOB -- of its target
);
INSERT INTO intents_new
	SELECT i.rowid, i.id, c.number, i.action, i.state, i.planned, i.place, i.score, i.deadline, i.doc, i.parameters, i.known
	FROM intents i JOIN cases c ON c.id = i.case_id ORDER BY i.rowid;

CREATE TABLE attempts_new (
	intent    INTEGER NOT NULL, -- its number
	number    INTEGER NOT NULL,
	epoch     INTEGER NOT NULL,
	claimed   INTEGER NOT NULL,
	not_after INTEGER NOT NULL,
	state     TEXT NOT NULL, -- claimed, then what became of it
	doc       BLOB NOT NULL,
	PRIMARY KEY (intent, number)
) WITHOUT ROWID;
INSERT INTO attempts_new
	SELECT i.rowid, a.number, a.epoch, a.claimed, a.not_after, a.state, a.doc
	FROM attempts a JOIN intents i ON i.id = a.intent ORDER BY i.rowid, a.number;
DROP TABLE attempts;
ALTER TABLE attempts_new RENAME TO attempts;

DROP TABLE intents;
ALTER TABLE intents_new RENAME TO intents;
CREATE INDEX intents_case ON intents (case_number);
CREATE INDEX intents_planned ON intents (planned, id);
CREATE INDEX intents_state ON intents (state, planned, id) WHERE state != 'done';
CREATE INDEX intents_pending ON intents (action, place, id) WHERE state = 'pending';
CREATE INDEX intents_urgent ON intents (action, score DESC, deadline, place, id) WHERE state = 'pending';
