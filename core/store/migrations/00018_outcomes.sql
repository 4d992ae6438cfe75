-- +goose Up

-- Which rules have reported which cases, for figures by rule. Rules have numbers here, so
-- that a row is small.
CREATE TABLE rule_names (
	number INTEGER PRIMARY KEY,
	rule   TEXT NOT NULL UNIQUE
);
CREATE TABLE case_rules (
	case_number INTEGER NOT NULL,
	rule        INTEGER NOT NULL,
	opened      INTEGER NOT NULL, -- seconds since 1970
	outcome     TEXT NOT NULL,    -- empty: it is open
	PRIMARY KEY (case_number, rule)
) WITHOUT ROWID;
INSERT INTO rule_names (rule)
	SELECT DISTINCT j.value FROM cases c, json_each(CASE WHEN json_valid(CAST(c.doc AS TEXT)) THEN CAST(c.doc AS TEXT) ELSE '{}' END, '$.rules') j WHERE c.state != 'merged' ORDER BY 1;
INSERT INTO case_rules
	SELECT c.number, n.number, CAST(strftime('%s', json_extract(CAST(c.doc AS TEXT), '$.opened_at')) AS INTEGER), ''
	FROM cases c, json_each(CASE WHEN json_valid(CAST(c.doc AS TEXT)) THEN CAST(c.doc AS TEXT) ELSE '{}' END, '$.rules') j JOIN rule_names n ON n.rule = j.value WHERE c.state != 'merged';
CREATE INDEX case_rules_rule ON case_rules (rule, opened, outcome);
CREATE INDEX case_rules_ended ON case_rules (rule, opened) WHERE outcome != '';

-- Cases that have ended, as far as their outcome is measured.
CREATE TABLE ended_cases (
	case_number INTEGER PRIMARY KEY,
	doc         BLOB NOT NULL
);
