-- No lock and no unique key: isolation level SERIALIZABLE, and the client tries again.

\ir ../hand-insert/tables.sql
ALTER TABLE events DROP CONSTRAINT events_key_version_key;
CREATE INDEX ON events (key, version);
