-- es_stat_subscription shows how far the subscriptions of all stores are, and es_stat_store what readers wait for.
SET client_min_messages = warning;
SELECT es_create_store('t_stat_subscription'), es_create_store('t_stat_subscription_2');
SET eventstore.store = 't_stat_subscription_2';
SELECT es_create_subscription('other');
SET eventstore.store = 't_stat_subscription';
CREATE VIEW pg_temp.lags AS
SELECT store, subscription, partition, position, lag,
	   (SELECT string_agg(position::text, ',') FROM t_stat_subscription.es_events AS e WHERE e.recorded_at = s.waiting_since) AS waits,
	   parked, claimed_by IS NOT NULL AS claimed, claimed_until IS NOT NULL AS leased, advanced_at IS NOT NULL AS advanced
FROM es_stat_subscription AS s WHERE store ~ '^t_stat_subscription' ORDER BY 1, 2, 3;

SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT es_create_subscription('billing', partitions => 2);
SELECT es_create_subscription('shipping', after_position => 1);
SELECT * FROM pg_temp.lags;

-- It agrees with the view of the current store.
SELECT * FROM (SELECT subscription, partition, position, lag, parked, claimed_by, claimed_until, advanced_at FROM es_stat_subscription WHERE store = 't_stat_subscription') AS s
EXCEPT SELECT subscription, partition, position, lag, parked, claimed_by, claimed_until, advanced_at FROM es_subscription_status;

-- A lease, an advance, a parked event with another behind it.
SELECT partition, from_position, to_position, epoch FROM es_fetch('shipping', lease => '1 hour');
SELECT * FROM pg_temp.lags WHERE subscription = 'shipping';
SELECT es_park('shipping', 2, 'no stock');
SELECT es_advance('shipping', 0, 1, 2, 1);
SELECT es_append('order-2', '[{"type": "Paid"}]', 1);
SELECT * FROM pg_temp.lags WHERE subscription = 'shipping';
SELECT es_unpark('shipping', 2);
SELECT * FROM pg_temp.lags WHERE subscription = 'shipping';

-- Positions that were rolled back keep a subscription behind, but nothing waits there.
SELECT position FROM es_fetch('shipping');
SELECT es_advance('shipping', 0, 2, 3);
BEGIN;
SELECT es_append('order-3', '[{"type": "Placed"}]', 0);
-- The session's own events are no lag; they are in flight.
SELECT last_position, horizon, horizon_lag, in_flight, in_flight_since = transaction_timestamp() AS since FROM es_stat_store WHERE store = 't_stat_subscription';
ROLLBACK;
SELECT * FROM pg_temp.lags WHERE subscription = 'shipping';
SELECT last_position, horizon, horizon_lag, in_flight, in_flight_since FROM es_stat_store WHERE store = 't_stat_subscription';

DROP VIEW pg_temp.lags;
SELECT es_drop_store('t_stat_subscription'), es_drop_store('t_stat_subscription_2');
DROP SCHEMA t_stat_subscription, t_stat_subscription_2;
