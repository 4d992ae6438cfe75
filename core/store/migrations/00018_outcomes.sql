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
CREATE INDEX case_rules_ended ON case_rules (rule, opened, case_number) WHERE outcome != '';

-- How many of them there are by day, so that counting a million takes as long as counting
-- the days.
CREATE TABLE rule_days (
	rule    INTEGER NOT NULL,
	day     INTEGER NOT NULL, -- since 1970, of when they were opened
	outcome TEXT NOT NULL,
	n       INTEGER NOT NULL,
	PRIMARY KEY (rule, day, outcome)
) WITHOUT ROWID;
-- +goose StatementBegin
CREATE TRIGGER case_rules_new AFTER INSERT ON case_rules BEGIN
	INSERT INTO rule_days VALUES (new.rule, new.opened / 86400, new.outcome, 1) ON CONFLICT (rule, day, outcome) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER case_rules_gone AFTER DELETE ON case_rules BEGIN
	UPDATE rule_days SET n = n - 1 WHERE rule = old.rule AND day = old.opened / 86400 AND outcome = old.outcome;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER case_rules_changed AFTER UPDATE ON case_rules BEGIN
	UPDATE rule_days SET n = n - 1 WHERE rule = old.rule AND day = old.opened / 86400 AND outcome = old.outcome;
	INSERT INTO rule_days VALUES (new.rule, new.opened / 86400, new.outcome, 1) ON CONFLICT (rule, day, outcome) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd

-- Cases that have ended, as far as their outcome is measured.
CREATE TABLE ended_cases (
	case_number INTEGER PRIMARY KEY,
	doc         BLOB NOT NULL
);

INSERT INTO rule_names (rule)
	SELECT DISTINCT j.value FROM cases c, json_each(CASE WHEN json_valid(CAST(c.doc AS TEXT)) THEN CAST(c.doc AS TEXT) ELSE '{}' END, '$.rules') j WHERE c.state != 'merged' ORDER BY 1;
INSERT INTO case_rules
	SELECT c.number, n.number, CAST(strftime('%s', json_extract(CAST(c.doc AS TEXT), '$.opened_at')) AS INTEGER), ''
	FROM cases c, json_each(CASE WHEN json_valid(CAST(c.doc AS TEXT)) THEN CAST(c.doc AS TEXT) ELSE '{}' END, '$.rules') j JOIN rule_names n ON n.rule = j.value WHERE c.state != 'merged';
