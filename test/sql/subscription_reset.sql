-- es_reset_subscription sends every partition to a position, forgets what is parked and ends leases; es_drop_subscription removes all of it.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_reset;
CREATE SCHEMA t_subscription_reset AUTHORIZATION regress_es_subscription_reset;

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

SET ROLE regress_es_subscription_reset;
SELECT es_create_store('t_subscription_reset');
SET eventstore.store = 't_subscription_reset';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}, {"type": "C"}]', 0);
SELECT es_create_subscription('s', '[{"types": ["A", "C"]}]', 2);
SELECT es_create_subscription('other');
SELECT es_advance('s', 0, 0, 3), es_advance('other', 0, 0, 2);
SELECT count(*) FROM es_fetch('s', 10, '1 hour');
SELECT es_park('s', 1, 'bad'), es_park('other', 1, 'bad');
SELECT subscription, partition, position, parked, epoch, claimed_until > now() AS leased FROM es_subscription_status;

-- Back to the beginning.
SELECT es_reset_subscription('s');
SELECT subscription, partition, position, lag, parked, epoch, claimed_until > now() AS leased, advanced_at FROM es_subscription_status WHERE subscription = 's';
SELECT subscription, position FROM t_subscription_reset.es_parked_events ORDER BY subscription, position;
-- The query stays.
SELECT partition, position, type FROM es_fetch('s');

-- To a position, forward too.
SELECT es_reset_subscription('s', 2);
SELECT partition, position, epoch FROM es_subscription_status WHERE subscription = 's';
SELECT es_reset_subscription('s', es_horizon());
SELECT partition, position, lag, epoch FROM es_subscription_status WHERE subscription = 's';
-- Taken back.
BEGIN;
SELECT es_reset_subscription('other', 0);
ROLLBACK;
SELECT position, parked, epoch FROM es_subscription_status WHERE subscription = 'other';

-- Dropped: nothing is left, and the name is free.
SELECT es_park('s', 1, 'bad');
SELECT es_drop_subscription('s');
SELECT subscription FROM t_subscription_reset.es_subscriptions UNION ALL SELECT subscription FROM t_subscription_reset.es_parked_events ORDER BY 1;
SELECT code, message FROM pg_temp.refusal($$SELECT es_fetch('s')$$);
SELECT es_create_subscription('s');
SELECT partition, position, parked, epoch FROM es_subscription_status WHERE subscription = 's';
SELECT position, type FROM es_fetch('s', 1);

-- Bad arguments.
SELECT command, code, message FROM (VALUES
	(1, 'SELECT es_reset_subscription(''none'')'),
	(2, 'SELECT es_reset_subscription(''s'', NULL)'),
	(3, 'SELECT es_reset_subscription(''s'', -1)'),
	(4, 'SELECT es_drop_subscription(''none'')'),
	(5, 'SELECT es_drop_subscription(''s'', schema_name => ''pg_catalog'')')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;

SELECT es_drop_store('t_subscription_reset');
RESET ROLE;
DROP SCHEMA t_subscription_reset;
DROP ROLE regress_es_subscription_reset;
