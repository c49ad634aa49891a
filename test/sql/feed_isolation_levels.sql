-- Above READ COMMITTED the log is read up to the watermark, and not at all without one: the transaction's snapshot is older than any horizon.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_isolation_levels;
CREATE SCHEMA t_feed_isolation_levels AUTHORIZATION regress_es_feed_isolation_levels;

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

SET ROLE regress_es_feed_isolation_levels;
SELECT es_create_store('t_feed_isolation_levels');
SET eventstore.store = 't_feed_isolation_levels';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_create_subscription('s');

BEGIN ISOLATION LEVEL READ UNCOMMITTED;
SELECT position FROM es_read_all();
SELECT es_horizon();
COMMIT;

\x on
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.refusal('SELECT es_read_all()');
SELECT * FROM pg_temp.refusal('SELECT es_horizon()');
SELECT * FROM pg_temp.refusal('CALL es_wait(0, ''1 second'')');
SELECT * FROM pg_temp.refusal('SELECT * FROM es_subscription_status');
SELECT * FROM pg_temp.refusal('SELECT es_fetch(''s'')');
COMMIT;
\x off
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all()');
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(0, 10, ''[{"types": ["Paid"]}]'')');
SELECT code, message FROM pg_temp.refusal('SELECT es_horizon()');
SELECT code, message FROM pg_temp.refusal('SELECT es_fetch(''s'')');
-- Bad cursors and bad arguments come first.
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(3)');
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(-1)');
COMMIT;
SET default_transaction_isolation = 'repeatable read';
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all()');
RESET default_transaction_isolation;

-- With a watermark, as the worker keeps one.
INSERT INTO t_feed_isolation_levels.es_watermark (position) VALUES (1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT position, type FROM es_read_all();
SELECT position, type FROM es_read_all(query => '[{"types": ["Paid"]}]');
SELECT * FROM es_read_all(1);
-- A horizon that another session has found on the primary is not reached here yet.
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(0, 10, to_position => 2)');
SELECT es_horizon();
CALL es_wait(0, '1 hour');
SELECT subscription, position, lag FROM es_subscription_status;
-- es_fetch has to see its claim.
SELECT code, message FROM pg_temp.refusal('SELECT es_fetch(''s'')');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY;
SELECT position, type FROM es_read_all();
COMMIT;
-- READ COMMITTED does not look at it.
SELECT position, type FROM es_read_all();
SELECT es_horizon();
-- A cursor beyond the watermark is not beyond the end.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM es_read_all(2);
CALL es_wait(2, '0');
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(3)');
COMMIT;

-- On a logical replica, which has the rows and the watermark but not the sequence, the watermark is all there is.
SELECT setval('t_feed_isolation_levels.es_position_seq', 1, false);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT position, type FROM es_read_all();
SELECT * FROM es_read_all(1);
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(2)');
SELECT es_horizon();
COMMIT;

SELECT es_drop_store('t_feed_isolation_levels');
RESET ROLE;
DROP SCHEMA t_feed_isolation_levels;
DROP ROLE regress_es_feed_isolation_levels;
