-- An event that cannot be handled is parked; the later events of its aggregate wait behind it, and the others go on.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_park;
CREATE SCHEMA t_subscription_park AUTHORIZATION regress_es_subscription_park;

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

SET ROLE regress_es_subscription_park;
SELECT es_create_store('t_subscription_park');
SET eventstore.store = 't_subscription_park';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}]', 0);
SELECT es_append('order-2', '[{"type": "A"}]', 0);
SELECT es_append('order-1', '[{"type": "C"}]', 2);
SELECT es_create_subscription('s');

-- The second event is bad: the rest of its aggregate waits, also what the consumer holds already.
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_park('s', 2, 'division by zero');
SELECT key, position, version, reason, attempts, retry_at FROM t_subscription_park.es_parked_events ORDER BY position;
SELECT es_advance('s', 0, 0, 4);
SELECT from_position, to_position, position FROM es_fetch('s');

-- What comes later parks behind it, and is not given out; other aggregates are.
SELECT es_append('order-1', '[{"type": "D"}]', 3);
SELECT es_append('order-2', '[{"type": "B"}]', 1);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_advance('s', 0, 4, 6);
SELECT es_append('order-1', '[{"type": "E"}]', 4);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_advance('s', 0, 6, 7);
SELECT position, version, reason, attempts, retry_at IS NULL AS not_due FROM t_subscription_park.es_parked_events ORDER BY position;
SELECT position, lag, parked FROM es_subscription_status;

-- Once it is dealt with, the next one comes, and so on: one for each fetch, in the order of the versions.
SELECT es_unpark('s', 2);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 4);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 5);
-- A new one waits for its turn.
SELECT es_append('order-1', '[{"type": "F"}]', 5);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 7);
SELECT es_advance('s', 0, 7, 8);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 8);
SELECT count(*) FROM t_subscription_park.es_parked_events;
-- From now on its events come as usual.
SELECT es_append('order-1', '[{"type": "G"}]', 6);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_advance('s', 0, 8, 9);

-- Parking is part of the transaction.
SELECT es_append('order-1', '[{"type": "H"}]', 7);
BEGIN;
SELECT position FROM es_fetch('s');
SELECT es_park('s', 10, 'undone');
SELECT es_advance('s', 0, 9, 10);
ROLLBACK;
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');

-- Only events that the subscription wants wait behind another.
SELECT es_create_subscription('some', '[{"types": ["A", "D", "F"]}]');
SELECT parked, position, key, type FROM es_fetch('some');
SELECT es_park('some', 1, 'bad');
SELECT position, version, attempts FROM t_subscription_park.es_parked_events WHERE subscription = 'some' ORDER BY position;
SELECT es_drop_subscription('some');

-- Two subscriptions park independently.
SELECT es_create_subscription('other');
SELECT es_park('s', 10, 'bad');
SELECT count(*) FROM es_fetch('other');

-- Bad arguments.
SELECT command, code, message FROM (VALUES
	(1, 'SELECT es_park(''s'', 99, ''x'')'),
	(2, 'SELECT es_park(''s'', 0, ''x'')'),
	(3, 'SELECT es_park(''none'', 1, ''x'')'),
	(4, 'SELECT es_unpark(''s'', 1)'),
	(5, 'SELECT es_unpark(''s'', 99)'),
	(6, 'SELECT es_unpark(''other'', 10)'),
	(7, 'SELECT es_unpark(''none'', 1)')
) AS c (n, command), pg_temp.refusal(command) ORDER BY n;

SELECT es_drop_store('t_subscription_park');
RESET ROLE;
DROP SCHEMA t_subscription_park;
DROP ROLE regress_es_subscription_park;
