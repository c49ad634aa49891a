-- The log and the subscriptions of a store whose name needs quoting.
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE ROLE "regress_es_feed names ""A""";
CREATE SCHEMA "t_feed ""A"" é" AUTHORIZATION "regress_es_feed names ""A""";
SET ROLE "regress_es_feed names ""A""";
\set SHOW_CONTEXT never
\set VERBOSITY terse

SELECT es_create_store('t_feed "A" é');
SET eventstore.store = 't_feed "A" é';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}, {"type": "Paid"}]', 0);
SELECT es_horizon();
SELECT position, type FROM es_read_all();
SELECT position, type FROM es_read_all(query => '[{"types": ["Paid"], "categories": ["order"]}]');
SELECT es_read_all(7);
CALL es_wait(0, '1 hour');
SELECT es_sync_position();
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT store, bound FROM es_in_flight WHERE store ~ '^t_feed "';
ROLLBACK;

SELECT es_create_subscription('it''s "a" %s \ é', '[{"types": ["Placed", "Paid"]}]', 2);
SELECT es_create_subscription('it''s "a" %s \ é');
SELECT partition, from_position, to_position, position, type FROM es_fetch('it''s "a" %s \ é', 1, '1 hour');
SELECT es_park('it''s "a" %s \ é', 1, 'it''s %s \', '0');
SELECT es_advance('it''s "a" %s \ é', 0, 0, 1, 1);
SELECT es_advance('it''s "a" %s \ é', 0, 0, 1, 1);
SELECT partition, position, parked, epoch FROM es_subscription_status ORDER BY partition;
SELECT es_unpark('it''s "a" %s \ é', 1);
CALL es_wait_for('it''s "a" %s \ é', 0, '0');
CALL es_wait_for('it''s "a" %s \ é', 9, '0');
SELECT es_reset_subscription('it''s "a" %s \ é');
SELECT es_drop_subscription('it''s "a" %s \ é');
SELECT es_fetch('it''s "a" %s \ é');

-- A name that looks like something else.
RESET ROLE;
SELECT es_create_store('t_feed''; DROP SCHEMA public; --'), es_create_store('t_feed %s $1 {}');
SELECT s, set_config('eventstore.store', s, false) = s AS set, es_append('order-1', '[{"type": "Placed"}]', 0), es_horizon(),
	   (SELECT type FROM es_read_all()), (SELECT type FROM es_read_all(query => '[{"types": ["Placed"]}]'))
FROM unnest(ARRAY['t_feed''; DROP SCHEMA public; --', 't_feed %s $1 {}']) AS s;
SELECT s, es_create_subscription('s', schema_name => s), (SELECT type FROM es_fetch('s', schema_name => s)), es_park('s', 1, 'r', '0', schema_name => s),
	   es_unpark('s', 1, schema_name => s), es_advance('s', 0, 0, 1, schema_name => s), es_reset_subscription('s', schema_name => s),
	   (SELECT lag FROM es_list_subscriptions(s)), es_drop_subscription('s', schema_name => s)
FROM unnest(ARRAY['t_feed''; DROP SCHEMA public; --', 't_feed %s $1 {}']::name[]) AS s;
SELECT es_drop_store(s) FROM unnest(ARRAY['t_feed''; DROP SCHEMA public; --', 't_feed %s $1 {}']::name[]) AS s;
DROP SCHEMA "t_feed'; DROP SCHEMA public; --", "t_feed %s $1 {}";

RESET eventstore.store;
SET ROLE "regress_es_feed names ""A""";
SELECT es_drop_store('t_feed "A" é');
RESET ROLE;
DROP SCHEMA "t_feed ""A"" é";
DROP ROLE "regress_es_feed names ""A""";
