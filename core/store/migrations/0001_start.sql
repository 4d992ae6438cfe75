-- +goose Up

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;


-- What decide knows. Each row's document is the value as JSON; the columns beside
-- it are those that are searched by. "seq" is the INPUTS message that last wrote it.
CREATE TABLE signals (
	id     TEXT PRIMARY KEY,
	rule   TEXT NOT NULL,
	source TEXT NOT NULL,
	time   INTEGER NOT NULL, -- nanoseconds since 1970
	doc    BLOB NOT NULL,    -- without the payload
	raw    BLOB              -- the payload as it came
) WITHOUT ROWID;
CREATE INDEX signals_time ON signals (time);

CREATE TABLE cases (
	id      TEXT PRIMARY KEY,
	state   TEXT NOT NULL,
	score   INTEGER NOT NULL, -- hundredths
	first   INTEGER NOT NULL,
	last    INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	doc     BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX cases_score ON cases (state, score DESC, id);

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
	doc        BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX asks_observable ON asks (kind, value);
CREATE INDEX asks_pending ON asks (enrichment, asked) WHERE state = 'pending';

CREATE TABLE answers (
	ask TEXT PRIMARY KEY,
	doc BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE intents (
	id      TEXT PRIMARY KEY,
	case_id TEXT NOT NULL,
	state   TEXT NOT NULL,
	verb    TEXT NOT NULL,
	planned INTEGER NOT NULL,
	doc     BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX intents_case ON intents (case_id);
CREATE INDEX intents_state ON intents (state, planned);

CREATE TABLE holds (
	id  TEXT PRIMARY KEY,
	doc BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE ledger (
	source TEXT NOT NULL,
	hour   INTEGER NOT NULL, -- seconds since 1970 of its start
	doc    BLOB NOT NULL,
	PRIMARY KEY (source, hour)
) WITHOUT ROWID;

CREATE TABLE config_versions (
	hash TEXT PRIMARY KEY,
	seq  INTEGER NOT NULL,
	doc  BLOB NOT NULL
) WITHOUT ROWID;

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
) WITHOUT ROWID;
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
CREATE INDEX attempts_claimed ON attempts (intent) WHERE state = 'claimed';
