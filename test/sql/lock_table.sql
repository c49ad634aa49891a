-- No input exhausts the lock table: a call over very many absent keys takes few locks.
SET client_min_messages = warning;
CREATE ROLE regress_es_lock_table;
CREATE SCHEMA t_lock_table AUTHORIZATION regress_es_lock_table;
SET ROLE regress_es_lock_table;
SELECT es_create_store('t_lock_table');
SET eventstore.store = 't_lock_table';

-- The heavyweight locks of this session that do not stand for a relation, a transaction or its snapshot.
CREATE VIEW pg_temp.own_locks AS
	SELECT locktype FROM pg_locks
	WHERE pid = pg_backend_pid() AND mode <> 'SIReadLock'
		AND locktype NOT IN ('relation', 'virtualxid', 'transactionid', 'spectoken');

-- 100,000 absent keys: created in one call, guarded in one call, locked in one call.
BEGIN;
SELECT status, count(*), min(version), max(version)
FROM es_append_many((SELECT jsonb_agg(jsonb_build_object('key', 'order-' || n, 'events', '[{"type": "Placed"}]'::jsonb, 'expected_version', 0))
					 FROM generate_series(1, 100000) AS n))
GROUP BY status;
SELECT count(*) <= 64 AS few_locks FROM pg_temp.own_locks;
COMMIT;
SELECT count(*), min(version), max(version) FROM t_lock_table.es_aggregates;
SELECT count(*), count(DISTINCT key) FROM t_lock_table.es_events;
BEGIN;
SELECT status, count(*), min(version), max(version)
FROM es_append_many((SELECT jsonb_agg(jsonb_build_object('key', 'absent-' || n, 'expected_version', 0)) FROM generate_series(1, 100000) AS n))
GROUP BY status;
SELECT count(*) <= 64 AS few_locks FROM pg_temp.own_locks;
COMMIT;
BEGIN;
SELECT count(*), max(version) FROM es_lock(ARRAY(SELECT 'absent-' || n FROM generate_series(1, 100000) AS n));
SELECT count(*) <= 64 AS few_locks FROM pg_temp.own_locks;
COMMIT;

-- Around the number of keys from which they are locked together.
CREATE FUNCTION pg_temp.locks_of(keys integer)
RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append_many((SELECT jsonb_agg(jsonb_build_object('key', 'few-' || n, 'expected_version', 0)) FROM generate_series(1, keys) AS n));
	RETURN (SELECT count(*) FROM pg_temp.own_locks);
END
$$;
SELECT pg_temp.locks_of(1) <= 2 AS of_1;
SELECT pg_temp.locks_of(64) <= 65 AS of_64;
SELECT pg_temp.locks_of(65) <= 65 AS of_65;
SELECT pg_temp.locks_of(66) <= 65 AS of_66;

-- Nor does a long transaction of many calls, such as an import.
CREATE FUNCTION pg_temp.quarter_of_the_lock_table()
RETURNS bigint
LANGUAGE sql
AS $$ SELECT current_setting('max_locks_per_transaction')::bigint * current_setting('max_connections')::bigint / 4 $$;
BEGIN;
SELECT count(es_append('import-' || n, '[{"type": "Imported"}]', 0)) FROM generate_series(1, 20000) AS n;
SELECT count(*) < pg_temp.quarter_of_the_lock_table() AS few_locks FROM pg_temp.own_locks;
COMMIT;
BEGIN;
SELECT count(es_append('import-b-' || n, '[{"type": "Imported"}]', allow_create => true)) FROM generate_series(1, 20000) AS n;
SELECT count(*) < pg_temp.quarter_of_the_lock_table() AS few_locks FROM pg_temp.own_locks;
COMMIT;
BEGIN;
SELECT count(*) FROM generate_series(1, 20000) AS n, LATERAL es_lock(ARRAY['import-c-' || n]);
SELECT count(*) < pg_temp.quarter_of_the_lock_table() AS few_locks FROM pg_temp.own_locks;
COMMIT;
SELECT count(*) FROM t_lock_table.es_aggregates WHERE key LIKE 'import-%';

-- 100,000 keys of which one is refused: nothing half-done.
SELECT status, count(*), min(version), max(version)
FROM es_try_append_many((SELECT jsonb_agg(jsonb_build_object('key', 'half-' || n, 'events', '[{"type": "Placed"}]'::jsonb,
															 'expected_version', CASE WHEN n = 99999 THEN 1 ELSE 0 END))
						 FROM generate_series(1, 100000) AS n))
GROUP BY status ORDER BY status;
SELECT count(*) FROM t_lock_table.es_aggregates WHERE key LIKE 'half-%';
SELECT count(*) FROM t_lock_table.es_events WHERE key LIKE 'half-%';

-- 10,000 tags of one event, and 10,000 tagged events.
BEGIN;
SELECT es_append('tags-1', jsonb_build_array(jsonb_build_object('type', 'T', 'tags', (SELECT jsonb_agg('tag:' || n) FROM generate_series(1, 10000) AS n))), 0);
SELECT es_append('tags-1', (SELECT jsonb_agg(jsonb_build_object('type', 'T', 'tags', jsonb_build_array('tag:' || n))) FROM generate_series(1, 10000) AS n), 1);
SELECT count(*) <= 64 AS few_locks FROM pg_temp.own_locks;
COMMIT;
SELECT count(*), count(DISTINCT tag) FROM t_lock_table.es_tags;

DROP VIEW pg_temp.own_locks;
DROP FUNCTION pg_temp.locks_of, pg_temp.quarter_of_the_lock_table;
SELECT es_drop_store('t_lock_table');
RESET ROLE;
DROP SCHEMA t_lock_table;
DROP ROLE regress_es_lock_table;
