-- Positions without gaps, from a row that everybody updates; a row for each aggregate.

\ir ../hand-insert/tables.sql
CREATE TABLE counter (position bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO counter SELECT max(position) FROM events;
CREATE TABLE aggregates (key text COLLATE "C" PRIMARY KEY, version bigint NOT NULL);
INSERT INTO aggregates SELECT key, max(version) FROM events GROUP BY key;
\ir ../aggregates.sql
