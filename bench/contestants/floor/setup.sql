-- The least that keeps an event: a number and the data.

\ir ../common.sql
CREATE TABLE events (id bigserial PRIMARY KEY, data jsonb NOT NULL);
INSERT INTO events (data) SELECT :'data' FROM bench_events(:aggregates, :events, :key_length);
CREATE VIEW bench_count AS SELECT count(*) FROM events;
CREATE VIEW bench_findings AS SELECT NULL::text AS finding WHERE false;
