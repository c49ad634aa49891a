-- Two stores of a database have logs of their own: positions, horizons, cursors and subscriptions of one mean nothing in the other.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_stores;
CREATE SCHEMA t_feed_stores AUTHORIZATION regress_es_feed_stores;

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

SET ROLE regress_es_feed_stores;
SELECT es_create_store('t_feed_stores');
SET eventstore.store = 't_feed_stores';
RESET ROLE;
CREATE SCHEMA t_feed_stores_2 AUTHORIZATION regress_es_feed_stores;
SET ROLE regress_es_feed_stores;
SELECT es_create_store('t_feed_stores_2');

SELECT es_append('order-1', '[{"type": "First"}, {"type": "First"}, {"type": "First"}]', 0);
SET eventstore.store = 't_feed_stores_2';
SELECT es_append('order-1', '[{"type": "Second"}]', 0);

SELECT es_horizon();
SELECT position, type FROM es_read_all();
SELECT code, message FROM pg_temp.refusal('SELECT es_read_all(2)');
CALL es_wait(1, '0');
SET eventstore.store = 't_feed_stores';
SELECT es_horizon();
SELECT position, type FROM es_read_all(query => '[{"categories": ["order"]}]');
CALL es_wait(1, '0');

-- The same name of a subscription in both.
SELECT es_create_subscription('s');
SELECT code, message FROM pg_temp.refusal('SELECT es_fetch(''s'', schema_name => ''t_feed_stores_2'')');
SELECT es_create_subscription('s', '[{"types": ["Second"]}]', 2, schema_name => 't_feed_stores_2');
SELECT partition, from_position, to_position, position, type FROM es_fetch('s', 2);
SELECT from_position, to_position, position, type FROM es_fetch('s', 2, schema_name => 't_feed_stores_2');
SELECT es_advance('s', 0, 0, 2);
SELECT es_park('s', 2, 'the first store');
SELECT subscription, partition, position, lag, parked FROM es_subscription_status;
SELECT subscription, partition, position, lag, parked FROM es_list_subscriptions('t_feed_stores_2');
SET eventstore.store = 't_feed_stores_2';
SELECT subscription, partition, position, lag, parked FROM es_subscription_status;
SELECT es_drop_subscription('s');
SELECT subscription FROM es_subscription_status;
SELECT subscription, partition, position FROM es_list_subscriptions('t_feed_stores');

-- By search path.
RESET eventstore.store;
SET search_path = t_feed_stores_2, t_feed_stores, public;
SELECT position, type FROM es_read_all();
SET search_path = t_feed_stores, t_feed_stores_2, public;
SELECT position, type FROM es_read_all();
SELECT subscription, position FROM es_subscription_status;
SELECT from_position, position, type FROM es_fetch('s');
RESET search_path;
SET eventstore.store = 't_feed_stores';

-- An open append of one store does not hold back the other (another session's would hold back its own store only).
BEGIN;
SELECT es_append('order-1', '[{"type": "First"}]', 3);
SELECT store, bound FROM es_in_flight WHERE store ~ '^t_feed_stores' ORDER BY store;
SET LOCAL eventstore.store = 't_feed_stores_2';
SELECT es_horizon();
ROLLBACK;

SELECT es_drop_store('t_feed_stores_2');
SELECT position, type FROM es_read_all();

SELECT es_drop_store('t_feed_stores');
RESET ROLE;
DROP SCHEMA t_feed_stores, t_feed_stores_2;
DROP ROLE regress_es_feed_stores;
