-- +goose Up

-- What an intent was planned with stands beside its document, and is not read and
-- written again when its state changes.
ALTER TABLE intents ADD COLUMN parameters BLOB;
ALTER TABLE intents ADD COLUMN known BLOB; -- of its target
UPDATE intents SET
	parameters = CAST(json_extract(CAST(doc AS TEXT), '$.parameters') AS BLOB),
	known      = CAST(json_extract(CAST(doc AS TEXT), '$.target.known') AS BLOB),
	doc        = CAST(json_remove(CAST(doc AS TEXT), '$.parameters', '$.target.known') AS BLOB);

-- Ids are random to an index: each index of a row that is new or changes is a page
-- that is written. Nearly every intent ends as done, and is found by when it was
-- planned; cases are listed state by state.
DROP INDEX intents_state;
CREATE INDEX intents_state ON intents (state, planned, id) WHERE state != 'done';
DROP INDEX cases_score;
