-- es_advance is a compare-and-set: from another cursor or epoch than the subscription's it is refused (VE008), with the facts.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_cursor_moved;
CREATE SCHEMA t_subscription_cursor_moved AUTHORIZATION regress_es_subscription_cursor_moved;

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

SET ROLE regress_es_subscription_cursor_moved;
SELECT es_create_store('t_subscription_cursor_moved');
SET eventstore.store = 't_subscription_cursor_moved';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}, {"type": "C"}, {"type": "D"}]', 0);
SELECT es_create_subscription('s');

-- A consumer that was overtaken.
SELECT es_advance('s', 0, 0, 2);
\x on
SELECT code, message, detail::jsonb AS detail, position(E'\n' in detail) = 0 AS one_line, hint, "schema", "table", "constraint"
FROM pg_temp.refusal($$SELECT es_advance('s', 0, 0, 2)$$);
SELECT code, message, detail::jsonb AS detail FROM pg_temp.refusal($$SELECT es_advance('s', 0, 1, 3)$$);
SELECT code, message, detail::jsonb AS detail FROM pg_temp.refusal($$SELECT es_advance('s', 0, 3, 4)$$);
-- Another epoch.
SELECT code, message, detail::jsonb AS detail FROM pg_temp.refusal($$SELECT es_advance('s', 0, 2, 3, 7)$$);
\x off
SELECT position, epoch FROM t_subscription_cursor_moved.es_subscriptions;
-- The right one, given or not.
SELECT es_advance('s', 0, 2, 3, 0);

-- Under a lease only its holder advances, with the epoch that it was given.
SELECT from_position, to_position, epoch, type FROM es_fetch('s', 1, '1 hour');
\x on
SELECT code, message, detail::jsonb AS detail FROM pg_temp.refusal($$SELECT es_advance('s', 0, 3, 4)$$);
SELECT code, message, detail::jsonb AS detail FROM pg_temp.refusal($$SELECT es_advance('s', 0, 3, 4, 0)$$);
SELECT code, message, detail::jsonb AS detail FROM pg_temp.refusal($$SELECT es_advance('s', 0, 3, 4, 2)$$);
\x off
SELECT es_advance('s', 0, 3, 4, 1);
SELECT position, epoch FROM t_subscription_cursor_moved.es_subscriptions;

-- A reset fences whoever was at work, even if the cursor comes back to where it was.
SELECT es_reset_subscription('s', 2);
SELECT from_position, to_position, epoch, type FROM es_fetch('s', 1);
SELECT es_reset_subscription('s', 2);
SELECT code, message FROM pg_temp.refusal($$SELECT es_advance('s', 0, 2, 3, 2)$$);
SELECT es_advance('s', 0, 2, 3, 3);

-- The refusal undoes what was done with it in a transaction.
CREATE TABLE t_subscription_cursor_moved.total (n integer);
BEGIN;
INSERT INTO t_subscription_cursor_moved.total SELECT count(*) FROM es_fetch('s');
\set VERBOSITY sqlstate
SELECT es_advance('s', 0, 2, 4);
\set VERBOSITY default
COMMIT;
SELECT * FROM t_subscription_cursor_moved.total;

-- Each partition has its own.
SELECT es_create_subscription('p', partitions => 2);
SELECT es_advance('p', 1, 0, 4);
SELECT code, message FROM pg_temp.refusal($$SELECT es_advance('p', 1, 0, 4)$$);
SELECT es_advance('p', 0, 0, 4);

-- What psql shows.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT es_advance('p', 1, 0, 4);

DROP TABLE t_subscription_cursor_moved.total;

SELECT es_drop_store('t_subscription_cursor_moved');
RESET ROLE;
DROP SCHEMA t_subscription_cursor_moved;
DROP ROLE regress_es_subscription_cursor_moved;
