-- Appends take part in transactions and savepoints: what is rolled back has not happened, and a refused append can be tried again.
SET client_min_messages = warning;
CREATE ROLE regress_es_savepoints;
CREATE SCHEMA t_savepoints AUTHORIZATION regress_es_savepoints;
SET ROLE regress_es_savepoints;
SELECT es_create_store('t_savepoints');
SET eventstore.store = 't_savepoints';
\set VERBOSITY terse

-- Rolled back, an append leaves nothing.
BEGIN;
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
ROLLBACK;
SELECT es_version('order-1'), (SELECT count(*) FROM t_savepoints.es_events) AS events, (SELECT count(*) FROM t_savepoints.es_tags) AS tags;

-- Two appends in one transaction: the second builds on the first.
BEGIN;
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SELECT es_version('order-1');
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
SELECT es_append('order-1', '[{"type": "Noted"}]');
SELECT version, type FROM es_read('order-1') ORDER BY version;
COMMIT;
SELECT es_version('order-1');

-- A conflict aborts the transaction, as any error.
BEGIN;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT es_append('order-1', '[{"type": "Shipped"}]', 3);
COMMIT;
SELECT es_version('order-1'), es_version('order-2');

-- A conflict as a row does not.
BEGIN;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 3);
COMMIT;
SELECT es_version('order-1'), es_version('order-2');

-- A conflict within a savepoint: roll back to it, read again, append again.
BEGIN;
SELECT es_append('order-3', '[{"type": "Placed"}]', 0);
SAVEPOINT attempt;
SELECT es_append('order-1', '[{"type": "Delivered"}]', 3);
ROLLBACK TO attempt;
SELECT es_append('order-1', '[{"type": "Delivered"}]', es_version('order-1'));
RELEASE attempt;
COMMIT;
SELECT es_version('order-1'), es_version('order-3');

-- The same for a missing aggregate, and for a call over several of which only one is refused.
BEGIN;
SAVEPOINT attempt;
SELECT es_append('order-4', '[{"type": "Placed"}]');
ROLLBACK TO attempt;
SELECT es_append('order-4', '[{"type": "Placed"}]', allow_create => true);
SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND mode <> 'SIReadLock' AND locktype NOT IN ('relation', 'virtualxid', 'transactionid') \gset
SAVEPOINT attempt;
SELECT es_append_many('[{"key": "order-4", "events": [{"type": "Paid"}]}, {"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0}, {"key": "order-6"}]');
ROLLBACK TO attempt;
-- The locks of the failed attempt are gone.
SELECT count(*) - :locks AS more_locks FROM pg_locks WHERE pid = pg_backend_pid() AND mode <> 'SIReadLock' AND locktype NOT IN ('relation', 'virtualxid', 'transactionid');
SELECT es_append('order-5', '[{"type": "Placed"}]', 0), es_append('order-4', '[{"type": "Paid"}]', 1);
COMMIT;
SELECT es_version('order-4'), es_version('order-5');

-- Rolling back to a savepoint undoes an append that succeeded, releasing it does not.
BEGIN;
SELECT es_append('order-5', '[{"type": "Paid"}]', 1);
SAVEPOINT a;
SELECT es_append('order-5', '[{"type": "Shipped", "tags": ["t"]}]', 2, request_id => 'r-1');
SAVEPOINT b;
SELECT es_append('order-5', '[{"type": "Delivered"}]', 3);
RELEASE b;
SELECT es_version('order-5');
ROLLBACK TO a;
SELECT es_version('order-5');
SELECT es_append('order-5', '[{"type": "Cancelled"}]', 2, request_id => 'r-1');
COMMIT;
SELECT version, type FROM es_read('order-5') ORDER BY version;

-- A creation undone by a savepoint, then done again.
BEGIN;
SAVEPOINT a;
SELECT es_append('order-7', '[{"type": "Placed"}]', 0);
ROLLBACK TO a;
SELECT es_version('order-7');
SELECT es_append('order-7', '[{"type": "Placed"}]', 0);
ROLLBACK TO a;
SELECT es_append('order-7', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
COMMIT;
SELECT es_version('order-7');

-- In PL/pgSQL: the loop that reads, decides, appends, and on a conflict starts again.
DO $$
DECLARE
	known bigint := 1;
	attempts integer := 0;
BEGIN
	LOOP
		attempts := attempts + 1;
		BEGIN
			PERFORM es_append('order-7', '[{"type": "Shipped"}]', known);
			EXIT;
		EXCEPTION WHEN SQLSTATE 'VE001' THEN
			known := es_version('order-7');
		END;
	END LOOP;
	RAISE WARNING 'done in % attempts', attempts;
END
$$;
SELECT es_version('order-7');

-- An exception after the append undoes it.
DO $$
BEGIN
	BEGIN
		PERFORM es_append('order-7', '[{"type": "Delivered"}]', 3);
		PERFORM 1 / 0;
	EXCEPTION WHEN division_by_zero THEN
		RAISE WARNING 'at version %', es_version('order-7');
	END;
	PERFORM es_append('order-7', '[{"type": "Returned"}]', 3);
END
$$;
SELECT version, type FROM es_read('order-7') ORDER BY version;

-- Many subtransactions in one transaction.
DO $$
BEGIN
	FOR n IN 1 .. 200 LOOP
		BEGIN
			PERFORM es_append('order-8', '[{"type": "Ticked"}]', n / 2 * 2, true);
		EXCEPTION WHEN SQLSTATE 'VE001' THEN
			PERFORM es_append('order-8', '[{"type": "Ticked"}]');
		END;
	END LOOP;
END
$$;
SELECT es_version('order-8'), count(*), count(DISTINCT version), max(version) FROM es_read('order-8');

-- In a procedure that commits between appends.
CREATE PROCEDURE t_savepoints.import()
LANGUAGE plpgsql
AS $$
BEGIN
	FOR n IN 1 .. 3 LOOP
		PERFORM es_append('order-9', '[{"type": "Imported"}]', n - 1);
		IF n = 2 THEN
			ROLLBACK;
			PERFORM es_append('order-9', '[{"type": "Again"}]', n - 1);
		END IF;
		COMMIT;
	END LOOP;
END
$$;
CALL t_savepoints.import();
SELECT version, type FROM es_read('order-9') ORDER BY version;
DROP PROCEDURE t_savepoints.import;

-- Within one statement that fails after the append.
SELECT es_append('order-10', '[{"type": "Placed"}]', 0) / 0;
SELECT es_version('order-10');

SELECT * FROM es_check_store('t_savepoints');
\set VERBOSITY default
SELECT es_drop_store('t_savepoints');
RESET ROLE;
DROP SCHEMA t_savepoints;
DROP ROLE regress_es_savepoints;
