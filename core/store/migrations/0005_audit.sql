-- +goose Up

-- The audit: entries are only ever added.
CREATE TABLE audit (
	seq    INTEGER PRIMARY KEY,
	place  INTEGER NOT NULL, -- of the commit that wrote it; 0: not decide's
	hash   BLOB NOT NULL,
	record BLOB NOT NULL
);
-- +goose StatementBegin
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN
	SELECT RAISE(ABORT, 'the audit is only added to');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit BEGIN
	SELECT RAISE(ABORT, 'the audit is only added to');
END;
-- +goose StatementEnd
