-- es_fetch gives the next events of a subscription, and es_advance moves its cursor behind them.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_fetch;
CREATE SCHEMA t_subscription_fetch AUTHORIZATION regress_es_subscription_fetch;

SET ROLE regress_es_subscription_fetch;
SELECT es_create_store('t_subscription_fetch');
SET eventstore.store = 't_subscription_fetch';
SELECT es_append('order-1', '[{"type": "Placed", "data": {"n": 1}, "metadata": {"correlation_id": "c"}, "tags": ["t"]}, {"type": "Paid"}]', 0);
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT es_create_subscription('s');

-- The columns are those of the claim and of the event.
SELECT f.partition, f.from_position, f.to_position, f.epoch, f.parked, f.key, f.version, f.type, f.data, f.metadata, f.tags, f.id = e.id AND f.recorded_at = e.recorded_at AS as_stored
FROM es_fetch('s') AS f JOIN t_subscription_fetch.es_events AS e USING (position) ORDER BY f.position;

-- A full page ends with its last event; whatever is not advanced comes again.
SELECT from_position, to_position, position, type FROM es_fetch('s', 2);
SELECT from_position, to_position, position, type FROM es_fetch('s', 2);
SELECT es_advance('s', 0, 0, 2);
SELECT from_position, to_position, position, type FROM es_fetch('s', 2);
SELECT es_advance('s', 0, 2, 3);

-- Nothing new: one row without an event, to be advanced all the same.
SELECT partition, from_position, to_position, epoch, parked, position, key, version, type, data, metadata, tags, id, recorded_at FROM es_fetch('s');
-- That writes nothing, since nothing moved and there is no lease to give up.
SELECT ctid AS before FROM t_subscription_fetch.es_subscriptions \gset
SELECT es_advance('s', 0, 3, 3);
SELECT ctid = :'before' AS unchanged FROM t_subscription_fetch.es_subscriptions;

-- A page that is not full ends with the horizon, beyond positions that were never used.
SELECT es_append('order-2', '[{"type": "Paid"}]', 1);
BEGIN;
SELECT es_append('order-2', '[{"type": "Shipped"}, {"type": "Delivered"}]', 2);
ROLLBACK;
SELECT from_position, to_position, position, type FROM es_fetch('s');
-- Half a page may be advanced.
SELECT es_append('order-2', '[{"type": "Shipped"}, {"type": "Delivered"}]', 2);
SELECT from_position, to_position, position, type FROM es_fetch('s');
SELECT es_advance('s', 0, 3, 7);
SELECT from_position, to_position, position, type FROM es_fetch('s');
SELECT es_advance('s', 0, 7, 8);
SELECT from_position, to_position, position, type FROM es_fetch('s');

-- In one transaction: what is rolled back was not consumed.
BEGIN;
SELECT es_reset_subscription('s', 4);
SELECT position, type FROM es_fetch('s', 1);
SELECT es_advance('s', 0, 4, 7);
SELECT position, type FROM es_fetch('s', 1);
ROLLBACK;
SELECT position FROM t_subscription_fetch.es_subscriptions;

-- A consumer in PL/pgSQL sees each event once, in order, page by page.
SELECT es_create_subscription('loop');
CREATE TEMPORARY TABLE seen (n serial, position bigint);
DO $$
DECLARE
	event record;
BEGIN
	LOOP
		FOR event IN SELECT * FROM es_fetch('loop', 2) LOOP
			INSERT INTO seen (position) SELECT event.position WHERE event.position IS NOT NULL;
		END LOOP;
		PERFORM es_advance('loop', event.partition, event.from_position, event.to_position);
		COMMIT;
		EXIT WHEN event.position IS NULL;
	END LOOP;
END
$$;
SELECT array_agg(position ORDER BY n) FROM seen;
DROP TABLE seen;

SELECT es_drop_store('t_subscription_fetch');
RESET ROLE;
DROP SCHEMA t_subscription_fetch;
DROP ROLE regress_es_subscription_fetch;
