-- es_subscription_status shows every partition of every subscription: how far it is, how far behind, what is parked and who holds it.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_status;
CREATE SCHEMA t_subscription_status AUTHORIZATION regress_es_subscription_status;

SET ROLE regress_es_subscription_status;
SELECT es_create_store('t_subscription_status');
SET eventstore.store = 't_subscription_status';
SELECT count(*) FROM es_subscription_status;
SELECT es_append('order-' || n, '[{"type": "A"}, {"type": "B"}]', 0) FROM generate_series(1, 4) AS n;
SELECT es_create_subscription('b', partitions => 2);
SELECT es_create_subscription('a', '[{"types": ["B"]}]');
SELECT subscription, partition, position, lag, parked, claimed_by, claimed_until, epoch, advanced_at FROM es_subscription_status;

-- The lag is in positions up to the horizon, whether they match the query or not.
SELECT es_advance('a', 0, 0, 2);
SELECT position, lag, advanced_at <= clock_timestamp() AS advanced FROM es_subscription_status WHERE subscription = 'a';
SELECT es_append('order-1', '[{"type": "C"}]', 2);
SELECT position, lag FROM es_subscription_status WHERE subscription = 'a';
BEGIN;
SELECT es_append('order-1', '[{"type": "D"}]', 3);
ROLLBACK;
SELECT position, lag FROM es_subscription_status WHERE subscription = 'a';
SELECT es_reset_subscription('a', es_horizon());
SELECT position, lag FROM es_subscription_status WHERE subscription = 'a';

-- Parked events count where they belong, those that wait included.
SELECT es_park('b', position, 'bad') FROM t_subscription_status.es_events WHERE key IN ('order-1', 'order-3') AND version = 1;
SELECT partition, parked FROM es_subscription_status WHERE subscription = 'b';
SELECT es_partition(key, 2) AS partition, count(*) FROM t_subscription_status.es_parked_events GROUP BY 1 ORDER BY 1;

-- A lease, while it lasts.
SELECT count(*) FROM es_fetch('b', 1, '1 hour');
SELECT count(*) FROM es_fetch('b', 1, '1 microsecond');
SELECT partition, claimed_by IS NOT NULL AS claimed, claimed_until > clock_timestamp() AS running, epoch FROM es_subscription_status WHERE subscription = 'b';

-- The view is of the current store; the function takes one by name.
SELECT count(*) FROM es_list_subscriptions('t_subscription_status');
RESET eventstore.store;
\set VERBOSITY sqlstate
SELECT count(*) FROM es_subscription_status;
SELECT count(*) FROM es_list_subscriptions('pg_catalog');
SELECT count(*) FROM es_list_subscriptions(NULL);
\set VERBOSITY default
SET search_path = t_subscription_status, public;
SELECT count(*) FROM es_subscription_status;
RESET search_path;

SELECT es_drop_store('t_subscription_status');
RESET ROLE;
DROP SCHEMA t_subscription_status;
DROP ROLE regress_es_subscription_status;
