-- +goose Up

-- How many of a case's signals wait: all, while an answer about it is pending.
ALTER TABLE cases ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
CREATE INDEX cases_waiting ON cases (waiting) WHERE waiting > 0;

CREATE INDEX ledger_hour ON ledger (hour, source);

-- How many cases there are, kept by the transactions that open and merge them, so that
-- nobody has to count.
CREATE TABLE case_count (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	n  INTEGER NOT NULL
);
INSERT INTO case_count (id, n) SELECT 1, count(*) FROM cases WHERE state != 'merged';

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
