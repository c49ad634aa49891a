-- Events that are parked ahead of the cursor come once: es_fetch says which are parked, and those are unparked when they are handled.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_park_ahead;
CREATE SCHEMA t_subscription_park_ahead AUTHORIZATION regress_es_subscription_park_ahead;

SET ROLE regress_es_subscription_park_ahead;
SELECT es_create_store('t_subscription_park_ahead');
SET eventstore.store = 't_subscription_park_ahead';
CREATE TABLE t_subscription_park_ahead.handled (n serial, position bigint, parked boolean);
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}, {"type": "C"}, {"type": "D"}]', 0);
SELECT es_append('order-2', '[{"type": "A"}]', 0);
SELECT es_create_subscription('s');

CREATE PROCEDURE t_subscription_park_ahead.handle(max_count integer, bad bigint DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	event record;
	parked_keys text[] := '{}';
BEGIN
	FOR event IN SELECT * FROM es_fetch('s', max_count) LOOP
		CONTINUE WHEN event.position IS NULL OR event.key = ANY (parked_keys);
		IF event.position = bad THEN
			PERFORM es_park('s', event.position, 'bad', '0');
			parked_keys := parked_keys || event.key;
			CONTINUE;
		END IF;
		INSERT INTO t_subscription_park_ahead.handled (position, parked) VALUES (event.position, event.parked);
		IF event.parked THEN
			PERFORM es_unpark('s', event.position);
		END IF;
	END LOOP;
	PERFORM es_advance('s', event.partition, event.from_position, event.to_position, event.epoch);
END
$$;

-- The first one is bad in a page of two: the rest of its aggregate parks, also beyond the page.
CALL t_subscription_park_ahead.handle(2, 1);
SELECT position, attempts FROM t_subscription_park_ahead.es_parked_events ORDER BY position;
SELECT position FROM es_subscription_status;
-- It is good now. The next one is ahead of the cursor and comes as parked, not as new; then the cursor passes it.
CALL t_subscription_park_ahead.handle(1);
SELECT from_position, to_position, parked, position FROM es_fetch('s', 1);
CALL t_subscription_park_ahead.handle(1);
CALL t_subscription_park_ahead.handle(1);
CALL t_subscription_park_ahead.handle(1);
CALL t_subscription_park_ahead.handle(1);
CALL t_subscription_park_ahead.handle(1);
SELECT position, lag, parked FROM es_subscription_status;
SELECT position, parked FROM t_subscription_park_ahead.handled ORDER BY n;

-- A page counts due events and new ones by themselves.
SELECT count(es_append('order-' || n, '[{"type": "A"}]', 0)) FROM generate_series(11, 16) AS n;
SELECT count(es_park('s', position, 'bad', '0')) FROM t_subscription_park_ahead.es_events WHERE key ~ '-1[1-4]$';
SELECT from_position, to_position, parked, position FROM es_fetch('s', 3);
SELECT from_position, to_position, parked, position FROM es_fetch('s', 6);

DROP PROCEDURE t_subscription_park_ahead.handle(integer, bigint);
DROP TABLE t_subscription_park_ahead.handled;

SELECT es_drop_store('t_subscription_park_ahead');
RESET ROLE;
DROP SCHEMA t_subscription_park_ahead;
DROP ROLE regress_es_subscription_park_ahead;
