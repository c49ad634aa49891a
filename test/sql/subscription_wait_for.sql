-- es_wait_for returns when all partitions of a subscription have got to a position, or fails when the time is over (57014).
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_wait_for;
CREATE SCHEMA t_subscription_wait_for AUTHORIZATION regress_es_subscription_wait_for;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT detail text, OUT hint text,
								OUT "schema" text, OUT "table" text, OUT "constraint" text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN query_canceled OR OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "constraint" = CONSTRAINT_NAME;
END
$$;

SET ROLE regress_es_subscription_wait_for;
SELECT es_create_store('t_subscription_wait_for');
SET eventstore.store = 't_subscription_wait_for';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}]', 0);
SELECT es_create_subscription('s', partitions => 2);

CALL es_wait_for('s', 0, '0');
CALL es_wait_for('s', -7, '0');
SELECT es_advance('s', 0, 0, 2);
-- The other partition is not there yet.
\set SHOW_CONTEXT never
CALL es_wait_for('s', 1, '0');
CALL es_wait_for('s', 1, '1 millisecond');
SELECT es_advance('s', 1, 0, 1);
CALL es_wait_for('s', 1, '1 hour');
CALL es_wait_for(subscription => 's', to_position => 1, timeout => '1 hour');
SELECT code, message, hint FROM pg_temp.refusal($$CALL es_wait_for('s', 2, '0')$$);

-- In a transaction block it waits no less, and sees what the transaction itself advances.
BEGIN;
CALL es_wait_for('s', 1, '1 hour');
SELECT es_advance('s', 1, 1, 2);
CALL es_wait_for('s', 2, '1 hour');
SAVEPOINT a;
CALL es_wait_for('s', 3, '1 millisecond');
ROLLBACK TO a;
CALL es_wait_for('s', 2, '0');
ROLLBACK;
SELECT code FROM pg_temp.refusal($$CALL es_wait_for('s', 2, '0')$$);

-- A snapshot that never sees it move is refused.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT code, message, hint FROM pg_temp.refusal($$CALL es_wait_for('s', 1, '0')$$);
ROLLBACK;

-- From PL/pgSQL the error can be caught by name.
DO $$
BEGIN
	CALL es_wait_for('s', 2, '1 millisecond');
EXCEPTION WHEN query_canceled THEN
	RAISE WARNING '%', SQLERRM;
END
$$;

-- A write is read by its own writer: append, wait for the read model, read.
SELECT es_append('order-1', '[{"type": "C"}]', 2);
SELECT last_position FROM es_try_append('order-1', '[{"type": "D"}]', 3) \gset
SELECT es_advance('s', 0, 2, 4), es_advance('s', 1, 1, 4);
CALL es_wait_for('s', :last_position, '1 hour');

-- Bad arguments.
SELECT command, code, message FROM (VALUES
	(1, 'CALL es_wait_for(NULL, 1, ''0'')'),
	(2, 'CALL es_wait_for(''s'', NULL, ''0'')'),
	(3, 'CALL es_wait_for(''s'', 1, NULL)'),
	(4, 'CALL es_wait_for(''s'', 1, ''-1 second'')'),
	(5, 'CALL es_wait_for(''none'', 0, ''0'')'),
	(6, 'CALL es_wait_for(''S'', 0, ''0'')')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;

SELECT es_drop_store('t_subscription_wait_for');
RESET ROLE;
DROP SCHEMA t_subscription_wait_for;
DROP ROLE regress_es_subscription_wait_for;
