-- +goose Up

-- By which values a case that is not over is found. A hash is random to an index: in one
-- tree of all of them each is a page that is written. So they are in runs, one after the
-- other in the tree, each small enough that those of a commit share its pages; and small
-- runs that get no more are made one large one, a part with each commit.
CREATE TABLE settled_runs (
	run    INTEGER NOT NULL, -- of 16,384 numbers if not negative, else of eight times as many
	hash   INTEGER NOT NULL,
	number INTEGER NOT NULL, -- of settled
	PRIMARY KEY (run, hash, number)
) WITHOUT ROWID;
INSERT INTO settled_runs SELECT -1 - (number >> 17), hash, number FROM settled_values ORDER BY 1, 2, 3;
DROP TABLE settled_values;

-- A case that has left is found by the number of its row, which grows with time as its
-- own does; those that left before this by the hash of their id.
ALTER TABLE settled ADD COLUMN case_number INTEGER;
CREATE INDEX settled_number ON settled (case_number) WHERE case_number IS NOT NULL;
DROP INDEX settled_case;
CREATE INDEX settled_case ON settled (case_key) WHERE case_number IS NULL;

INSERT INTO meta (key, value) SELECT 'settled_merged', CAST(64 * coalesce(max(number) >> 17, 0) AS TEXT) FROM settled;

-- Cases that are new are counted by the transaction, once.
DROP TRIGGER cases_new;
