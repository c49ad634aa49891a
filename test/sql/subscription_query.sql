-- A subscription keeps its query; its cursor moves over what does not match.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_query;
CREATE SCHEMA t_subscription_query AUTHORIZATION regress_es_subscription_query;

SET ROLE regress_es_subscription_query;
SELECT es_create_store('t_subscription_query');
SET eventstore.store = 't_subscription_query';
SELECT es_create_subscription('paid', '[{"types": ["Paid"]}]');
SELECT es_create_subscription('orders of c', '[{"categories": ["order"], "tags": ["c"]}, {"types": ["Closed"]}]');
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["c"]}, {"type": "Placed"}, {"type": "Paid", "tags": ["d", "c"]}]', 0);
SELECT es_append('invoice-1', '[{"type": "Paid", "tags": ["c"]}, {"type": "Closed"}, {"type": "Sent"}, {"type": "Sent"}]', 0);

SELECT from_position, to_position, position, key, type FROM es_fetch('paid');
SELECT from_position, to_position, position, key, type FROM es_fetch('orders of c');
-- A full page ends with its last event, however far the next one is.
SELECT from_position, to_position, position, key, type FROM es_fetch('paid', 1);
SELECT es_advance('paid', 0, 0, 3);
SELECT from_position, to_position, position, key, type FROM es_fetch('paid', 1);
SELECT es_advance('paid', 0, 3, 4);
-- Nothing that matches, but positions to move over.
SELECT from_position, to_position, position, key, type FROM es_fetch('paid', 1);
SELECT es_advance('paid', 0, 4, 7);
SELECT from_position, to_position, position, key, type FROM es_fetch('paid', 1);
SELECT es_append('order-2', jsonb_agg(jsonb_build_object('type', 'Placed')), 0) FROM generate_series(1, 500);
SELECT from_position, to_position, position, key, type FROM es_fetch('paid', 1);
SELECT es_advance('paid', 0, 7, 507);
SELECT es_append('order-2', '[{"type": "Paid"}]', 500);
SELECT from_position, to_position, position, key, type FROM es_fetch('paid', 1);

SELECT subscription, position, lag FROM es_subscription_status;

SELECT es_drop_store('t_subscription_query');
RESET ROLE;
DROP SCHEMA t_subscription_query;
DROP ROLE regress_es_subscription_query;
