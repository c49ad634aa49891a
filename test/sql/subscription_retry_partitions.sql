-- Due events of all partitions come back although the log is idle and every cursor is at its end.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_retry_partitions;
CREATE SCHEMA t_subscription_retry_partitions AUTHORIZATION regress_es_subscription_retry_partitions;

SET ROLE regress_es_subscription_retry_partitions;
SELECT es_create_store('t_subscription_retry_partitions');
SET eventstore.store = 't_subscription_retry_partitions';
SELECT count(es_append('order-' || n, '[{"type": "A"}]', 0)) FROM generate_series(1, 20) AS n;
SELECT es_create_subscription('s', partitions => 4, after_position => es_horizon());
SELECT count(es_park('s', position, 'bad', '0')) FROM t_subscription_retry_partitions.es_events;
SELECT partition, lag, parked > 0 AS parked FROM es_subscription_status;

DO $$
DECLARE
	event record;
BEGIN
	FOR i IN 1..8 LOOP
		FOR event IN SELECT * FROM es_fetch('s') LOOP
			PERFORM es_unpark('s', event.position) WHERE event.position IS NOT NULL;
		END LOOP;
		PERFORM es_advance('s', event.partition, event.from_position, event.to_position);
	END LOOP;
END
$$;
SELECT partition, lag, parked FROM es_subscription_status;

SELECT es_drop_store('t_subscription_retry_partitions');
RESET ROLE;
DROP SCHEMA t_subscription_retry_partitions;
DROP ROLE regress_es_subscription_retry_partitions;
