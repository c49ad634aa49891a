-- es_create_subscription makes a named reader: a cursor for each of its partitions, and the query that it wants.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_create;
CREATE SCHEMA t_subscription_create AUTHORIZATION regress_es_subscription_create;

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

SET ROLE regress_es_subscription_create;
SELECT es_create_store('t_subscription_create');
SET eventstore.store = 't_subscription_create';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_create_subscription('all');
SELECT es_create_subscription('some', '[{"types": ["Paid"]}, {"tags": ["t"]}]', 3, 1);
SELECT es_create_subscription(subscription => 'from now on', after_position => es_horizon());
SELECT es_create_subscription(repeat('é', 256));
SELECT es_create_subscription('most partitions', partitions => 1024);

SELECT left(subscription, 20) AS subscription, count(*), min(partition), max(partition), min(partitions), min(position), max(epoch), min(query::text) AS query, max(claimed_by)
FROM t_subscription_create.es_subscriptions GROUP BY subscription ORDER BY subscription;
SELECT subscription, position, type FROM (VALUES ('all'), ('from now on'), ('some')) AS s (subscription), es_fetch(subscription) ORDER BY subscription, position;

-- A name is taken once; nothing of the second attempt stays.
SELECT code, message FROM pg_temp.refusal($$SELECT es_create_subscription('all')$$);
SELECT code, message FROM pg_temp.refusal($$SELECT es_create_subscription('some', partitions => 7)$$);
SELECT count(*) FROM t_subscription_create.es_subscriptions WHERE subscription IN ('all', 'some');
-- Another spelling is another name.
SELECT es_create_subscription('All');

-- It is part of the transaction.
BEGIN;
SELECT es_create_subscription('rolled back');
SELECT position FROM es_fetch('rolled back', 1);
ROLLBACK;
SELECT code, message, hint FROM pg_temp.refusal($$SELECT es_fetch('rolled back')$$);

-- Bad arguments.
SELECT command, code, message FROM (VALUES
	(1, 'SELECT es_create_subscription(NULL)'),
	(2, 'SELECT es_create_subscription('''')'),
	(3, 'SELECT es_create_subscription(repeat(''x'', 513))'),
	(4, 'SELECT es_create_subscription(''bad'', partitions => NULL)'),
	(5, 'SELECT es_create_subscription(''bad'', partitions => 0)'),
	(6, 'SELECT es_create_subscription(''bad'', partitions => -1)'),
	(7, 'SELECT es_create_subscription(''bad'', partitions => 1025)'),
	(8, 'SELECT es_create_subscription(''bad'', after_position => NULL)'),
	(9, 'SELECT es_create_subscription(''bad'', after_position => -1)'),
	(10, 'SELECT es_create_subscription(''bad'', ''{}'')'),
	(11, 'SELECT es_create_subscription(''bad'', ''[{"type": ["Paid"]}]'')'),
	(12, 'SELECT es_create_subscription(''bad'', schema_name => NULL)'),
	(13, 'SELECT es_create_subscription(''bad'', schema_name => ''pg_catalog'')')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;
SELECT count(*) FROM t_subscription_create.es_subscriptions WHERE subscription = 'bad';

SELECT es_drop_store('t_subscription_create');
RESET ROLE;
DROP SCHEMA t_subscription_create;
DROP ROLE regress_es_subscription_create;
