-- The functions that read the log refuse NULL (22004) and impossible values (22023), and say which argument.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_bad_arguments;
CREATE SCHEMA t_feed_bad_arguments AUTHORIZATION regress_es_feed_bad_arguments;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

SET ROLE regress_es_feed_bad_arguments;

-- Without a store.
SELECT command, code, message
FROM (VALUES (1, 'SELECT es_horizon()'), (2, 'SELECT es_read_all()'), (3, 'CALL es_wait(0, ''0'')'), (4, 'CALL es_wait_for(''s'', 0, ''0'')'),
			 (5, 'SELECT es_sync_position()'), (6, 'SELECT es_start_worker()'), (7, 'SELECT es_stop_worker()')) AS c (n, command),
	 pg_temp.refusal(command) ORDER BY n;
SET eventstore.store = 't_no_such_schema';
SELECT code, message FROM pg_temp.refusal('SELECT es_horizon()');
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all()');
SET eventstore.store = 't_feed_bad_arguments';
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all()');

SELECT es_create_store('t_feed_bad_arguments');
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SELECT command, code, message FROM (VALUES
	-- es_read_all
	(1, 'SELECT es_read_all(NULL)'),
	(2, 'SELECT es_read_all(0, NULL)'),
	(3, 'SELECT es_read_all(-1)'),
	(4, 'SELECT es_read_all((-9223372036854775808)::bigint)'),
	(5, 'SELECT es_read_all(0, -1)'),
	(6, 'SELECT es_read_all(0, 1, NULL, -1)'),
	-- es_partition
	(11, 'SELECT es_partition(''order-1'', 0)'),
	(12, 'SELECT es_partition(''order-1'', -1)'),
	-- es_wait
	(21, 'CALL es_wait(NULL, ''0'')'),
	(22, 'CALL es_wait(0, NULL)'),
	(23, 'CALL es_wait(-1, ''0'')'),
	(24, 'CALL es_wait(0, ''-1 second'')'),
	-- es_start_worker
	(31, 'SELECT es_start_worker('''')'),
	(32, 'SELECT es_start_worker(repeat(''x'', 64))'),
	(33, 'SELECT es_start_worker(every => NULL)'),
	(34, 'SELECT es_start_worker(every => ''0'')'),
	(35, 'SELECT es_start_worker(every => ''-1 second'')'),
	(36, 'SELECT es_start_worker(every => ''1 hour'')')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;

-- NULL in, NULL out.
SELECT es_partition(NULL, 2) IS NULL AS a, es_partition('order-1', NULL) IS NULL AS b;

SELECT es_drop_store('t_feed_bad_arguments');
RESET ROLE;
DROP SCHEMA t_feed_bad_arguments;
DROP ROLE regress_es_feed_bad_arguments;
