-- A cursor beyond the end of the log is refused (VE007): the log is another one, restored or failed over.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_position_out_of_range;
CREATE SCHEMA t_feed_position_out_of_range AUTHORIZATION regress_es_feed_position_out_of_range;

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

SET ROLE regress_es_feed_position_out_of_range;
SELECT es_create_store('t_feed_position_out_of_range');
SET eventstore.store = 't_feed_position_out_of_range';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_create_subscription('s', after_position => 2);

-- The end itself is no error.
SELECT * FROM es_read_all(2);
\x on
SELECT * FROM pg_temp.refusal('SELECT es_read_all(3)');
SELECT * FROM pg_temp.refusal('SELECT es_read_all(9223372036854775807)');
\x off
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(3, max_count => 0)');
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(3, to_position => 1)');
SELECT code, message FROM pg_temp.refusal($$SELECT es_read_all(3, query => '[{"types": ["Placed"]}]')$$);
-- Nor does a cursor get there, or somebody wait for it to be passed.
SELECT command, code, message FROM (VALUES
	(1, 'CALL es_wait(3, ''0'')'),
	(2, 'SELECT es_create_subscription(''t'', after_position => 3)'),
	(3, 'SELECT es_advance(''s'', 0, 2, 3)'),
	(4, 'SELECT es_reset_subscription(''s'', 3)')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;
SELECT subscription, position, epoch FROM t_feed_position_out_of_range.es_subscriptions;
-- What psql shows.
\set SHOW_CONTEXT never
SELECT es_read_all(3);

-- What counts is the last position drawn, committed or not.
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
ROLLBACK;
SELECT * FROM es_read_all(3);
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(4)');

-- An older copy of the log: the cursor of a subscription says the same.
SELECT setval('t_feed_position_out_of_range.es_position_seq', 1);
SELECT code, message, "schema", "table", "constraint" FROM pg_temp.refusal($$SELECT es_fetch('s')$$);
SELECT code, message FROM pg_temp.refusal($$CALL es_wait(2, '1 hour')$$);

-- An empty log.
SELECT es_drop_store('t_feed_position_out_of_range');
SELECT es_create_store('t_feed_position_out_of_range');
SELECT * FROM es_read_all(0);
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(1)');

SELECT es_drop_store('t_feed_position_out_of_range');
RESET ROLE;
DROP SCHEMA t_feed_position_out_of_range;
DROP ROLE regress_es_feed_position_out_of_range;
