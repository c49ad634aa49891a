-- A process manager in the database: for each order that is paid it requests one shipment.
--
--   psql -f shipping.sql             once; the store's schema must be on the search_path
--   psql -c 'CALL run_shipping()'    works until it is cancelled
--
-- shipping.py does the same from outside, with a lease; both may work at once.

SELECT es_create_subscription('shipping', '[{"types": ["paid"], "categories": ["order"]}]', partitions => 2);

-- The reaction.  The request id is made of the event: however often the event comes, the shipment is requested once.
-- The new event must depend on the old one alone, with no time or random number in its data: the same request id with
-- other data is an error (VE005).
CREATE FUNCTION request_shipment(order_key text, event_id uuid) RETURNS bigint
LANGUAGE sql AS $$
    SELECT es_append('shipment-' || substr(order_key, 7),
                     jsonb_build_array(jsonb_build_object(
                         'type', 'requested',
                         'data', jsonb_build_object('order', order_key),
                         'metadata', jsonb_build_object('causation_id', event_id))),
                     allow_create => true,
                     request_id => 'shipping:' || event_id);
$$;

CREATE PROCEDURE run_shipping(max_count integer DEFAULT 100, patience interval DEFAULT '1 second')
LANGUAGE plpgsql AS $$
DECLARE
    event record;
    claim record;
    claimed boolean;
    horizon bigint;
BEGIN
    LOOP
        claimed := false;
        FOR event IN SELECT * FROM es_fetch('shipping', max_count) LOOP
            claimed := true;
            claim := event;
            PERFORM request_shipment(event.key, event.id) WHERE event.position IS NOT NULL;
        END LOOP;
        IF claimed THEN
            PERFORM es_advance('shipping', claim.partition, claim.from_position, claim.to_position);
        END IF;
        COMMIT;

        IF NOT claimed THEN
            CALL es_wait(es_horizon(), patience, horizon);
        ELSIF claim.position IS NULL AND claim.to_position = claim.from_position THEN
            CALL es_wait(claim.to_position, patience, horizon);
        END IF;
    END LOOP;
END $$;
