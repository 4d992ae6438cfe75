-- +goose Up

-- enrich's own: what shadows are compared by.
CREATE TABLE shadow_answers (
	shadow TEXT NOT NULL, -- its address
	kind   TEXT NOT NULL,
	value  TEXT NOT NULL,
	at     INTEGER NOT NULL, -- nanoseconds since 1970: when either was last heard
	first  BLOB, -- what the one said that counts; NULL: nothing yet
	said   BLOB, -- what the shadow said
	PRIMARY KEY (shadow, kind, value)
);
CREATE INDEX shadow_answers_at ON shadow_answers (at);
CREATE INDEX shadow_answers_of ON shadow_answers (shadow, at);

CREATE TABLE shadow_hours (
	shadow TEXT NOT NULL,
	hour   INTEGER NOT NULL, -- seconds since 1970 of its start
	doc    BLOB NOT NULL,
	PRIMARY KEY (shadow, hour)
) WITHOUT ROWID;
CREATE INDEX shadow_hours_hour ON shadow_hours (hour);
