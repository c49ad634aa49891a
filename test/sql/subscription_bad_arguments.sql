-- es_fetch and es_advance refuse NULL (22004) and impossible values (22023), without claiming or moving anything.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_bad_arguments;
CREATE SCHEMA t_subscription_bad_arguments AUTHORIZATION regress_es_subscription_bad_arguments;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT detail text, OUT hint text,
								OUT "schema" text, OUT "table" text, OUT "constraint" text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "constraint" = CONSTRAINT_NAME;
END
$$;

SET ROLE regress_es_subscription_bad_arguments;
SELECT es_create_store('t_subscription_bad_arguments');
SET eventstore.store = 't_subscription_bad_arguments';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}]', 0);
SELECT es_create_subscription('s');
SELECT command, code, message, hint FROM (VALUES
	-- es_fetch
	(1, 'SELECT es_fetch(NULL)'),
	(2, 'SELECT es_fetch(''none'')'),
	(3, 'SELECT es_fetch(''S'')'),
	(4, 'SELECT es_fetch(''s'', NULL)'),
	(5, 'SELECT es_fetch(''s'', 0)'),
	(6, 'SELECT es_fetch(''s'', -1)'),
	(7, 'SELECT es_fetch(''s'', 1, ''0'')'),
	(8, 'SELECT es_fetch(''s'', 1, ''-1 hour'')'),
	(9, 'SELECT es_fetch(''s'', schema_name => NULL)'),
	(10, 'SELECT es_fetch(''s'', schema_name => ''pg_catalog'')'),
	(11, 'SELECT es_fetch(''s'', schema_name => ''t_no_such_schema'')'),
	-- es_advance
	(12, 'SELECT es_advance(''none'', 0, 0, 1)'),
	(13, 'SELECT es_advance(NULL, 0, 0, 1)'),
	(14, 'SELECT es_advance(''s'', NULL, 0, 1)'),
	(15, 'SELECT es_advance(''s'', 0, NULL, 1)'),
	(16, 'SELECT es_advance(''s'', 0, 0, NULL)'),
	(17, 'SELECT es_advance(''s'', 0, 2, 1)'),
	(18, 'SELECT es_advance(''s'', 0, 0, -1)'),
	(19, 'SELECT es_advance(''s'', 1, 0, 1)'),
	(20, 'SELECT es_advance(''s'', -1, 0, 1)'),
	(21, 'SELECT es_advance(''s'', 0, 0, 1, schema_name => NULL)'),
	(22, 'SELECT es_advance(''s'', 0, 0, 1, schema_name => ''pg_catalog'')')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;
SELECT partition, position, epoch, claimed_until FROM es_subscription_status;

-- Without a store.
RESET eventstore.store;
SELECT command, code, message FROM (VALUES
	(1, 'SELECT es_create_subscription(''s'')'),
	(2, 'SELECT es_fetch(''s'')'),
	(3, 'SELECT es_advance(''s'', 0, 0, 1)'),
	(4, 'SELECT es_park(''s'', 1, ''x'')'),
	(5, 'SELECT es_unpark(''s'', 1)'),
	(6, 'SELECT es_reset_subscription(''s'')'),
	(7, 'SELECT es_drop_subscription(''s'')'),
	(8, 'SELECT * FROM es_subscription_status'),
	(9, 'CALL es_wait_for(''s'', 1, ''0'')')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;

SELECT es_drop_store('t_subscription_bad_arguments');
RESET ROLE;
DROP SCHEMA t_subscription_bad_arguments;
DROP ROLE regress_es_subscription_bad_arguments;
