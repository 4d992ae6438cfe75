-- +goose Up

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

-- What decide knows. Each row's document is the value as JSON; the columns beside it
-- are those that are searched by. Ids are random to an index, so that tables with
-- documents are in the order of their numbers, and only their indexes are not.
CREATE TABLE signals (
	number INTEGER PRIMARY KEY, -- counts them; none is ever deleted
	id     TEXT NOT NULL UNIQUE,
	rule   TEXT NOT NULL,
	source TEXT NOT NULL,
	time   INTEGER NOT NULL, -- nanoseconds since 1970
	doc    BLOB NOT NULL,    -- without the payload
	raw    BLOB              -- the payload as it came
);

CREATE TABLE cases (
	id      TEXT PRIMARY KEY,
	state   TEXT NOT NULL,
	score   INTEGER NOT NULL, -- hundredths
	first   INTEGER NOT NULL,
	last    INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	doc     BLOB NOT NULL
);
CREATE INDEX cases_state ON cases (state, score DESC, id);
CREATE INDEX cases_score ON cases (score DESC, id) WHERE state != 'merged';

CREATE TABLE case_members (
	signal  TEXT PRIMARY KEY,
	case_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX case_members_case ON case_members (case_id);

CREATE TABLE case_aliases (
	alias   TEXT PRIMARY KEY,
	case_id TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE asks (
	id         TEXT PRIMARY KEY,
	enrichment TEXT NOT NULL,
	kind       TEXT NOT NULL,
	value      TEXT NOT NULL,
	state      TEXT NOT NULL,
	asked      INTEGER NOT NULL,
	place      INTEGER NOT NULL, -- of the commit that first wrote it; it never goes back
	doc        BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX asks_observable ON asks (kind, value, asked, id);
CREATE INDEX asks_pending ON asks (enrichment, place, id) WHERE state = 'pending';
CREATE INDEX asks_failed ON asks (enrichment) WHERE state = 'failed';

CREATE TABLE answers (
	ask TEXT PRIMARY KEY,
	doc BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE intents (
	id      TEXT PRIMARY KEY,
	case_id TEXT NOT NULL,
	action  TEXT NOT NULL,
	state   TEXT NOT NULL,
	planned INTEGER NOT NULL,
	place   INTEGER NOT NULL, -- of the commit that first wrote it; it never goes back
	doc     BLOB NOT NULL
);
CREATE INDEX intents_case ON intents (case_id);
CREATE INDEX intents_planned ON intents (planned, id);
CREATE INDEX intents_state ON intents (state, planned, id);
CREATE INDEX intents_pending ON intents (action, place, id) WHERE state = 'pending';

CREATE TABLE holds (
	id  TEXT PRIMARY KEY,
	doc BLOB NOT NULL
);

CREATE TABLE ledger (
	source TEXT NOT NULL,
	hour   INTEGER NOT NULL, -- seconds since 1970 of its start
	doc    BLOB NOT NULL,
	PRIMARY KEY (source, hour)
) WITHOUT ROWID;

CREATE TABLE config_versions (
	hash TEXT PRIMARY KEY,
	seq  INTEGER NOT NULL, -- of the INPUTS message that put it in force
	doc  BLOB NOT NULL
);

CREATE TABLE checkpoints (
	id   INTEGER PRIMARY KEY CHECK (id = 1),
	file TEXT NOT NULL,
	hash TEXT NOT NULL,
	seq  INTEGER NOT NULL
);

-- enrich's own.
CREATE TABLE lookup_cache (
	source  TEXT NOT NULL, -- plugin and configuration
	kind    TEXT NOT NULL,
	value   TEXT NOT NULL,
	expires INTEGER NOT NULL,
	doc     BLOB NOT NULL,
	PRIMARY KEY (source, kind, value)
);
CREATE INDEX lookup_cache_expires ON lookup_cache (expires);

CREATE TABLE quotas (
	source TEXT PRIMARY KEY,
	doc    BLOB NOT NULL
) WITHOUT ROWID;

-- respond's own: the journal of attempts.
CREATE TABLE attempts (
	intent    TEXT NOT NULL,
	number    INTEGER NOT NULL,
	epoch     INTEGER NOT NULL,
	claimed   INTEGER NOT NULL,
	not_after INTEGER NOT NULL,
	state     TEXT NOT NULL, -- claimed, then what became of it
	doc       BLOB NOT NULL,
	PRIMARY KEY (intent, number)
) WITHOUT ROWID;
