-- +goose Up

-- What waits goes by the score of its case, then by its deadline, then by age.
ALTER TABLE intents ADD COLUMN score INTEGER NOT NULL DEFAULT 0;                       -- hundredths
ALTER TABLE intents ADD COLUMN deadline INTEGER NOT NULL DEFAULT 9223372036854775807; -- nanoseconds since 1970; none comes last
CREATE INDEX intents_urgent ON intents (action, score DESC, deadline, place, id) WHERE state = 'pending';

ALTER TABLE asks ADD COLUMN severity INTEGER NOT NULL DEFAULT 0;
CREATE INDEX asks_urgent ON asks (enrichment, severity DESC, place, id) WHERE state = 'pending';
