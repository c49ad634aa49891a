-- es_wait returns the horizon: at once if it is above the position, else when the timeout is over.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_wait;
CREATE SCHEMA t_feed_wait AUTHORIZATION regress_es_feed_wait;

SET ROLE regress_es_feed_wait;
SELECT es_create_store('t_feed_wait');
SET eventstore.store = 't_feed_wait';
CALL es_wait(0, '0');
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
CALL es_wait(0, '1 hour');
CALL es_wait(1, '1 hour', NULL);
CALL es_wait(after_position => 1, timeout => '1 hour');
CALL es_wait(2, '0');
CALL es_wait(2, '1 millisecond');
CALL es_wait(1, 'P100000Y');

-- In a transaction block; the own appends count.
BEGIN;
CALL es_wait(1, '1 hour');
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
CALL es_wait(2, '1 hour');
-- It cannot give up the transaction while it sleeps, and so does not sleep long.
CALL es_wait(3, '1 hour');
ROLLBACK;
CALL es_wait(2, '1 hour');
CALL es_wait(3, '0');

-- From PL/pgSQL.
DO $$
DECLARE
	horizon bigint;
BEGIN
	CALL es_wait(2, '1 hour', horizon);
	RAISE WARNING '%', horizon;
	-- Where the transaction cannot be ended, it does not sleep long.
	BEGIN
		CALL es_wait(3, '1 hour', horizon);
		RAISE WARNING '%', horizon;
	EXCEPTION WHEN division_by_zero THEN
	END;
END
$$;
CREATE FUNCTION pg_temp.wait(after_position bigint)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	horizon bigint;
BEGIN
	CALL es_wait(after_position, '1 hour', horizon);
	RETURN horizon;
END
$$;
SELECT pg_temp.wait(0), pg_temp.wait(3);

-- A procedure that has written something can still undo it: the transaction is not ended behind its back.
CREATE PROCEDURE pg_temp.append_and_wait()
LANGUAGE plpgsql
AS $$
DECLARE
	horizon bigint;
BEGIN
	PERFORM es_append('order-2', '[{"type": "Placed"}]', 0);
	CALL es_wait(3, '1 hour', horizon);
	RAISE WARNING '%', horizon;
	ROLLBACK;
END
$$;
CALL pg_temp.append_and_wait();
SELECT position, key, type FROM es_read_all(2);

-- No snapshot, lock or transaction is left behind.
CALL es_wait(0, '0');
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';

DROP PROCEDURE pg_temp.append_and_wait();
DROP FUNCTION pg_temp.wait(bigint);

SELECT es_drop_store('t_feed_wait');
RESET ROLE;
DROP SCHEMA t_feed_wait;
DROP ROLE regress_es_feed_wait;
