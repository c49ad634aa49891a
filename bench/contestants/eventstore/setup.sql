-- A store as users have it.  With bulk, filled before its keys are made, as a restore does.

\ir ../common.sql
CREATE EXTENSION eventstore;
SELECT es_create_store('bench');
SET eventstore.allow_direct_writes = on;
\if :bulk
	ALTER TABLE es_aggregates DROP CONSTRAINT es_aggregates_pkey;
	ALTER TABLE es_events DROP CONSTRAINT es_events_pkey, DROP CONSTRAINT es_events_position_key;
\endif
INSERT INTO es_aggregates (key, version)
SELECT bench_key(number, :key_length), :events FROM generate_series(0, :aggregates - 1) AS number;
INSERT INTO es_events (position, version, recorded_at, id, key, type, data)
SELECT nextval('es_position_seq'), version, clock_timestamp(), gen_random_uuid(), key, :'type', :'data'
FROM bench_events(:aggregates, :events, :key_length);
\if :bulk
	SET maintenance_work_mem = '1GB';
	ALTER TABLE es_aggregates ADD CONSTRAINT es_aggregates_pkey PRIMARY KEY (key) WITH (fillfactor = 90);
	ALTER TABLE es_events ADD CONSTRAINT es_events_pkey PRIMARY KEY (key, version),
		ADD CONSTRAINT es_events_position_key UNIQUE (position);
\endif

-- For es_execute(): the command is what it decides.
CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	RETURN command;
END
$$;

\set events_table es_events
\ir ../findings.sql
