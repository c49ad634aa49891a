-- Fill the store that es_create_store() made in this database: 10,000 aggregates
-- with 5 events each, written round by round, so that the events of an aggregate
-- lie apart as they do in a grown log.

SET eventstore.allow_direct_writes = on;
\set QUIET on

INSERT INTO es_aggregates (key, version)
SELECT 7000000000000000 + k, :events_per_aggregate
FROM generate_series(0, :aggregates - 1) AS k;

INSERT INTO es_events (position, version, recorded_at, id, key, type, data)
SELECT nextval('es_position_seq'), version, clock_timestamp(), gen_random_uuid(),
	7000000000000000 + permuted * 7919 % :aggregates, :'type', :'data'
FROM generate_series(1, :events_per_aggregate) AS version, generate_series(0, :aggregates - 1) AS permuted;

VACUUM (ANALYZE);
