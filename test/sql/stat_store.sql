-- es_stat_store counts refusals and repeats, also those that end in a rollback, and estimates the rest.
SET client_min_messages = warning;
SELECT es_create_store('t_stat_store'), es_create_store('t_stat_store_2');
SET eventstore.store = 't_stat_store';

-- The server's own statistics come with a delay, but for this.
CREATE FUNCTION pg_temp.flushed() RETURNS boolean
LANGUAGE sql
AS 'SELECT pg_stat_force_next_flush(); SELECT true';

CREATE VIEW pg_temp.counters AS
SELECT store, conflicts, refusals, repeats FROM es_stat_store WHERE store ~ '^t_stat_store' ORDER BY store;

SELECT * FROM pg_temp.counters;
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0, request_id => 'r-1');

-- As errors.
\set VERBOSITY sqlstate
SELECT es_append('order-1', '[{"type": "Shipped"}]', 1);
SELECT es_append('order-2', '[{"type": "Shipped"}]');
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2, request_id => 'r-1');
SELECT es_append('order-1', '[{"type": "Shipped"}]', -1);
\set VERBOSITY default
SELECT * FROM pg_temp.counters;

-- As rows; rolled back; caught; in a savepoint.  Nothing is locked, and no transaction id assigned.
BEGIN;
SELECT status FROM es_try_append('order-1', '[{"type": "Shipped"}]', 7);
SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS xid,
	   (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN (SELECT oid FROM pg_class WHERE relname ~ '^es_.*s_seq$')) AS locks;
ROLLBACK;
DO $$
BEGIN
	PERFORM es_append('order-1', '[{"type": "Shipped"}]', 7);
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	NULL;
END
$$;
BEGIN;
SAVEPOINT a;
SELECT status FROM es_try_append('order-1', '[{"type": "Shipped"}]', 7);
ROLLBACK TO a;
COMMIT;
SELECT * FROM pg_temp.counters;

-- Entry by entry.
SELECT status FROM es_append_each('[
	{"key": "order-1", "events": [{"type": "Shipped"}], "expected_version": 9},
	{"key": "order-1", "events": [{"type": "Shipped"}]},
	{"key": "order-1", "events": [{"type": "Shipped"}], "expected_version": 0},
	{"key": "order-3", "events": [{"type": "Shipped"}]}]');
SELECT status FROM es_try_append_many('[
	{"key": "order-1", "events": [{"type": "Returned"}], "expected_version": 9},
	{"key": "order-1", "events": [{"type": "Returned"}], "conditions": [{"query": [{"tags": ["t"]}], "after": 0}]},
	{"key": "order-2"}]');
SELECT * FROM pg_temp.counters;
SELECT es_append('order-4', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT status FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Returned"}], "conditions": [{"query": [{"tags": ["t"]}], "after": 0}]}]');
SELECT * FROM pg_temp.counters;

-- Repeats, and where there is nothing to count.
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0, request_id => 'r-1');
SELECT status FROM es_append_many('[{"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0}, {"key": "order-6", "events": [{"type": "Placed"}], "expected_version": 0}]', 'r-2');
SELECT status FROM es_append_many('[{"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0}, {"key": "order-6", "events": [{"type": "Placed"}], "expected_version": 0}]', 'r-2');
SELECT count(*) FROM es_find_request('order-1', 'r-1');
SELECT * FROM pg_temp.counters;

-- Commands.
CREATE FUNCTION pg_temp.decide(key text, version bigint, command jsonb) RETURNS jsonb
LANGUAGE sql
RETURN '[{"type": "Noted"}]'::jsonb;
SELECT * FROM es_execute('order-1', 'pg_temp.decide', request_id => 'r-3');
SELECT * FROM es_execute('order-1', 'pg_temp.decide', request_id => 'r-3');
CREATE FUNCTION pg_temp.decide_wrongly(command jsonb) RETURNS jsonb
LANGUAGE sql
RETURN '[{"key": "order-1", "events": [{"type": "Noted"}], "expected_version": 1}]'::jsonb;
CREATE FUNCTION pg_temp.decide_on_nothing(command jsonb) RETURNS jsonb
LANGUAGE sql
RETURN '[{"key": "order-2", "events": [{"type": "Noted"}]}]'::jsonb;
\set VERBOSITY sqlstate
SELECT * FROM es_execute_many('{order-1}', 'pg_temp.decide_wrongly', max_retries => 2);
SELECT * FROM es_execute_many('{order-1}', 'pg_temp.decide_on_nothing', max_retries => 2);
\set VERBOSITY default
SELECT * FROM pg_temp.counters;

-- The other store has counters of its own.
SET eventstore.store = 't_stat_store_2';
SELECT status FROM es_try_append('order-1', '[{"type": "Placed"}]', 1);
SET eventstore.store = 't_stat_store';
SELECT * FROM pg_temp.counters;

-- The rest.  What is rolled back has been appended, too.
BEGIN;
SELECT es_append('order-9', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
ROLLBACK;
SELECT pg_temp.flushed();
SELECT aggregates, events, bytes > 0 AS has_bytes, appends, appended_events, last_position, horizon, horizon_lag, in_flight, in_flight_since, watermark, watermark_at
FROM es_stat_store WHERE store = 't_stat_store';
SELECT (SELECT count(*) FROM t_stat_store.es_aggregates) AS aggregates, (SELECT count(*) FROM t_stat_store.es_events) AS events;

-- lastval() is the caller's.
CREATE TEMPORARY SEQUENCE mine;
SELECT nextval('mine');
SELECT status FROM es_try_append('order-1', '[{"type": "Shipped"}]', 7);
SELECT lastval();

-- Without its sequences a store counts nothing, and works; upgrading brings them back.
DROP SEQUENCE t_stat_store.es_conflicts_seq, t_stat_store.es_repeats_seq;
ALTER SEQUENCE t_stat_store.es_refusals_seq SET LOGGED;
SELECT status FROM es_try_append('order-1', '[{"type": "Shipped"}]', 7);
SELECT status FROM es_try_append('order-2', '[{"type": "Shipped"}]');
SELECT status FROM es_try_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0, request_id => 'r-1');
CREATE TABLE t_stat_store.es_repeats_seq (last_value bigint);
SELECT status FROM es_try_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0, request_id => 'r-1');
SELECT * FROM pg_temp.counters;
DROP TABLE t_stat_store.es_repeats_seq;
SELECT es_upgrade_store('t_stat_store');
SELECT status FROM es_try_append('order-1', '[{"type": "Shipped"}]', 7);
SELECT * FROM pg_temp.counters;

SELECT es_drop_store('t_stat_store'), es_drop_store('t_stat_store_2');
SELECT relname FROM pg_class WHERE relnamespace IN ('t_stat_store'::regnamespace, 't_stat_store_2'::regnamespace);
SELECT * FROM pg_temp.counters;
DROP SCHEMA t_stat_store, t_stat_store_2;
