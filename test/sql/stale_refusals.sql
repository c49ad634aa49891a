-- A visibly stale expected version is refused before any lock is taken or transaction id assigned.
SET client_min_messages = warning;
CREATE ROLE regress_es_stale_refusals;
CREATE SCHEMA t_stale_refusals AUTHORIZATION regress_es_stale_refusals;
SET ROLE regress_es_stale_refusals;
SELECT es_create_store('t_stale_refusals');
SET eventstore.store = 't_stale_refusals';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);

-- What this transaction holds, but for the locks on tables and indexes that every statement takes.
CREATE VIEW pg_temp.holds AS
	SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS xid,
		   (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype NOT IN ('relation', 'virtualxid') AND mode <> 'SIReadLock') AS locks;

-- As rows, at each level.
BEGIN;
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 1);
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 3);
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 0, true);
SELECT * FROM pg_temp.holds;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 1);
SELECT * FROM pg_temp.holds;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 1);
SELECT * FROM pg_temp.holds;
COMMIT;

-- As errors, caught.
BEGIN;
DO $$
BEGIN
	PERFORM es_append('order-1', '[{"type": "Shipped"}]', 1);
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	RAISE WARNING '%', SQLERRM;
END
$$;
SELECT * FROM pg_temp.holds;
COMMIT;

-- The row bears no mark of it.
SELECT xmax FROM t_stale_refusals.es_aggregates WHERE key = 'order-1';

-- Nor does a repeat take more than it must: it looks under the row's lock, and writes nothing.
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2, request_id => 'r-1');
BEGIN;
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 2, request_id => 'r-1');
COMMIT;

-- Reading takes neither.
BEGIN;
SELECT es_version('order-1'), (SELECT count(*) FROM es_read('order-1')) AS events, (SELECT count(*) FROM es_find_request('order-1', 'r-1')) AS requests;
SELECT * FROM pg_temp.holds;
COMMIT;

DROP VIEW pg_temp.holds;
SELECT es_drop_store('t_stale_refusals');
RESET ROLE;
DROP SCHEMA t_stale_refusals;
DROP ROLE regress_es_stale_refusals;
