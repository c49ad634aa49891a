-- A process manager reacts to each event exactly once: a request_id made of the event makes its appends idempotent, however often the event comes.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_process_manager;
CREATE SCHEMA t_subscription_process_manager AUTHORIZATION regress_es_subscription_process_manager;

SET ROLE regress_es_subscription_process_manager;
SELECT es_create_store('t_subscription_process_manager');
SET eventstore.store = 't_subscription_process_manager';
SELECT es_create_subscription('shipping', '[{"types": ["Paid"]}]');
CREATE FUNCTION t_subscription_process_manager.react(event_id uuid, order_key text)
RETURNS bigint
LANGUAGE sql
AS $$ SELECT es_append('shipment-' || split_part(order_key, '-', 2), jsonb_build_array(jsonb_build_object('type', 'Requested', 'data', jsonb_build_object('order', order_key),
																 'metadata', jsonb_build_object('causation_id', event_id))), allow_create => true, request_id => 'shipping:' || event_id) $$;
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_append('order-2', '[{"type": "Placed"}, {"type": "Paid"}]', 0);

-- Outside the database events may come twice: with a lease that was over, after a crash before the advance, after a reset.
SELECT t_subscription_process_manager.react(id, key) FROM es_fetch('shipping', 10, '1 microsecond');
SELECT t_subscription_process_manager.react(id, key) FROM es_fetch('shipping', 10, '1 hour');
SELECT es_advance('shipping', 0, 0, 4, 2);
SELECT es_reset_subscription('shipping');
SELECT t_subscription_process_manager.react(id, key) FROM es_fetch('shipping');
SELECT key, version, type, data FROM t_subscription_process_manager.es_events WHERE key ~ '^shipment' ORDER BY key, version;

-- Its own events do not come to it, unless its query wants them.
SELECT es_advance('shipping', 0, 0, es_horizon());
SELECT position FROM es_fetch('shipping');

-- It may look whether it has reacted already.
SELECT e.key, r.key, r.status, r.version
FROM t_subscription_process_manager.es_events AS e, LATERAL es_find_request('shipment-' || split_part(e.key, '-', 2), 'shipping:' || e.id) AS r
WHERE e.type = 'Paid' ORDER BY e.key;

-- In one transaction with the cursor nothing comes twice in the first place.
SELECT es_append('order-3', '[{"type": "Paid"}]', 0);
BEGIN;
SELECT t_subscription_process_manager.react(id, key) FROM es_fetch('shipping');
SELECT es_advance('shipping', 0, 6, 7);
ROLLBACK;
BEGIN;
SELECT t_subscription_process_manager.react(id, key) FROM es_fetch('shipping');
SELECT es_advance('shipping', 0, 6, 7);
COMMIT;
SELECT position FROM es_fetch('shipping');
SELECT key, count(*) FROM t_subscription_process_manager.es_events WHERE key ~ '^shipment' GROUP BY key ORDER BY key;

DROP FUNCTION t_subscription_process_manager.react(uuid, text);

SELECT es_drop_store('t_subscription_process_manager');
RESET ROLE;
DROP SCHEMA t_subscription_process_manager;
DROP ROLE regress_es_subscription_process_manager;
