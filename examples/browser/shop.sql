-- A shop to look at, in the current store: orders, payments and shipments, with their
-- correlation and causes; two subscriptions, one of them with parked events; some conflicts.

CREATE FUNCTION pg_temp.event(type text, data jsonb, correlation text, cause uuid, id uuid DEFAULT gen_random_uuid(), tags text[] DEFAULT NULL) RETURNS jsonb
LANGUAGE sql
AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('type', type, 'data', data, 'id', id, 'tags', to_jsonb(tags),
		'metadata', jsonb_build_object('correlation_id', correlation, 'causation_id', cause)))
$$;

DO $$
DECLARE
	customer text;
	correlation text;
	placed uuid;
	captured uuid;
	paid uuid;
BEGIN
	FOR i IN 1..120 LOOP
		customer := (ARRAY['ada', 'ben', 'cleo', 'dan'])[1 + i % 4];
		correlation := format('checkout-%s', 7000 + i);
		placed := gen_random_uuid();
		captured := gen_random_uuid();
		paid := gen_random_uuid();
		PERFORM es_append('order-' || 1000 + i, jsonb_build_array(
			pg_temp.event('Placed', jsonb_build_object('customer', customer, 'currency', 'EUR', 'address',
				jsonb_build_object('city', (ARRAY['Bremen', 'Graz', 'Zürich'])[1 + i % 3], 'street', 'Hafenweg ' || i)), correlation, NULL, placed, ARRAY['customer:' || customer]),
			pg_temp.event('ItemAdded', jsonb_build_object('product', (ARRAY['tea', 'cup', 'kettle', 'sieve'])[1 + i % 4], 'quantity', 1 + i % 3, 'price', 4.50 * (1 + i % 5)), correlation, placed)), 0);
		CONTINUE WHEN i % 3 = 0;
		PERFORM es_append('payment-' || 1000 + i, jsonb_build_array(
			pg_temp.event('Captured', jsonb_build_object('amount', 4.50 * (1 + i % 5), 'provider', 'bank'), correlation, placed, captured)), 0);
		PERFORM es_append('order-' || 1000 + i, jsonb_build_array(pg_temp.event('Paid', NULL, correlation, captured, paid)), 2);
		PERFORM es_append('shipment-' || 1000 + i, jsonb_build_array(
			pg_temp.event('Requested', jsonb_build_object('order', 'order-' || 1000 + i, 'parcels', 1), correlation, paid)), 0);
	END LOOP;
END
$$;

-- Some effects come late.
SELECT es_append('shipment-1007', jsonb_build_array(pg_temp.event('Delivered', '{"by": "van", "signed": true}', 'checkout-7007', id)), 1) FROM es_read('shipment-1007');

SELECT es_create_subscription('order summary', '[{"categories": ["order"]}]', 2);
SELECT es_advance('order summary', 1, 0, 310);
SELECT es_create_subscription('shipping', '[{"types": ["Paid"]}]');
SELECT count(*) FROM es_fetch('shipping', 10, '10 minutes');
SELECT es_advance('shipping', 0, 0, 440, 1);
SELECT count(*) FROM es_fetch('shipping', 10, '10 minutes');
SELECT es_park('shipping', 419, 'no such carrier');

SELECT count(es_try_append('order-1001', '[{"type": "Cancelled"}]', 1)) FROM generate_series(1, 9);
SELECT status FROM es_try_append('order-9', '[{"type": "Cancelled"}]');
