-- A parked event with retry_after comes back by itself, before new ones, until it is unparked; each failure counts.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_retry;
CREATE SCHEMA t_subscription_retry AUTHORIZATION regress_es_subscription_retry;

SET ROLE regress_es_subscription_retry;
SELECT es_create_store('t_subscription_retry');
SET eventstore.store = 't_subscription_retry';
CREATE TABLE t_subscription_retry.handled (n serial, position bigint);
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}]', 0);
SELECT es_append('order-2', '[{"type": "A"}]', 0);
SELECT es_create_subscription('s');
SELECT count(*) FROM es_fetch('s');
SELECT es_park('s', 1, 'service is down', '0');
SELECT es_advance('s', 0, 0, 3);
SELECT position, reason, attempts, retry_at <= clock_timestamp() AS due FROM t_subscription_retry.es_parked_events ORDER BY position;

-- It is due at once, comes first, and again until it is dealt with.
SELECT es_append('order-2', '[{"type": "B"}]', 1);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_advance('s', 0, 3, 4);
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');

-- Failed again: counted, and due when it was said.
SELECT es_park('s', 1, 'service is still down', '1 hour');
SELECT position, reason, attempts, retry_at > clock_timestamp() AS later FROM t_subscription_retry.es_parked_events ORDER BY position;
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
-- Failed for good: it waits for somebody.
SELECT es_park('s', 1, 'cannot be done');
SELECT position, reason, attempts, retry_at FROM t_subscription_retry.es_parked_events ORDER BY position;
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
-- Somebody lets it try once more.
SELECT es_park('s', 1, 'repaired', '0');
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 1);
-- The next of the aggregate follows, and may fail too.
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_park('s', 2, 'another reason', '1 hour');
SELECT position, reason, attempts FROM t_subscription_retry.es_parked_events ORDER BY position;
SELECT from_position, to_position, parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 2);

-- One of those that wait may have been parked by itself before: it keeps its own time.
SELECT es_append('order-3', '[{"type": "A"}, {"type": "B"}, {"type": "C"}]', 0);
SELECT count(*) FROM es_fetch('s');
SELECT es_park('s', 6, 'the second', '1 hour');
SELECT es_park('s', 5, 'the first', '0');
SELECT es_advance('s', 0, 4, 7);
SELECT position, attempts FROM t_subscription_retry.es_parked_events ORDER BY position;
SELECT parked, position, key, type FROM es_fetch('s');
SELECT es_unpark('s', 5);
SELECT parked, position, key, type FROM es_fetch('s');
SELECT es_park('s', 6, 'now', '0');
SELECT parked, position, key, type FROM es_fetch('s');

-- Due events belong to their partition.
SELECT es_create_subscription('p', partitions => 4);
SELECT es_park('p', e.position, 'bad', '0') FROM t_subscription_retry.es_events AS e WHERE e.version = 1;
DO $$
DECLARE
	event record;
BEGIN
	FOR i IN 0..3 LOOP
		FOR event IN SELECT * FROM es_fetch('p') LOOP
			IF event.partition <> es_partition(event.key, 4) THEN
				RAISE EXCEPTION 'event % in partition %', event.position, event.partition;
			END IF;
			INSERT INTO t_subscription_retry.handled (position) SELECT event.position WHERE event.position IS NOT NULL;
		END LOOP;
		PERFORM es_advance('p', event.partition, event.from_position, event.to_position);
	END LOOP;
END
$$;
SELECT array_agg(position ORDER BY position) FROM t_subscription_retry.handled;

DROP TABLE t_subscription_retry.handled;

SELECT es_drop_store('t_subscription_retry');
RESET ROLE;
DROP SCHEMA t_subscription_retry;
DROP ROLE regress_es_subscription_retry;
