-- A projector in the database: it follows the events of orders and keeps a table of them.
--
--   psql -f orders.sql               once; the store's schema must be on the search_path
--   psql -c 'CALL project_orders()'  works until it is cancelled; start as many as there are partitions
--
-- orders.py does the same from outside, and can share the work.

CREATE TABLE products (
    product text PRIMARY KEY,
    price numeric NOT NULL
);

-- The read model.
CREATE TABLE order_summary (
    order_key text PRIMARY KEY,
    version bigint NOT NULL,
    status text NOT NULL,
    total numeric NOT NULL
);

SELECT es_create_subscription('orders', '[{"categories": ["order"]}]', partitions => 4);

-- What an event means for the read model.  A product without a price makes total NULL, and so the event fail.
CREATE FUNCTION project_order_event(key text, version bigint, type text, data jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF type = 'placed' THEN
        INSERT INTO order_summary VALUES (key, version, 'placed', 0);
    ELSE
        UPDATE order_summary AS s
        SET version = project_order_event.version,
            status = CASE WHEN type = 'paid' THEN 'paid' ELSE s.status END,
            total = s.total + CASE WHEN type = 'item_added'
                              THEN (data->>'quantity')::integer
                                   * (SELECT p.price FROM products AS p WHERE p.product = data->>'product')
                              ELSE 0 END
        WHERE s.order_key = key;
    END IF;
END $$;

CREATE PROCEDURE project_orders(max_count integer DEFAULT 100, patience interval DEFAULT '1 second')
LANGUAGE plpgsql AS $$
DECLARE
    event record;
    claim record;
    claimed boolean;
    parked_keys text[];
    horizon bigint;
BEGIN
    LOOP
        -- Fetch, project and advance in one transaction: all of it happens, or nothing.
        claimed := false;
        parked_keys := '{}';
        FOR event IN SELECT * FROM es_fetch('orders', max_count) LOOP
            claimed := true;
            claim := event;
            -- Nothing new for this partition; or it waits behind an event that failed.
            CONTINUE WHEN event.position IS NULL OR event.key = ANY (parked_keys);
            BEGIN
                PERFORM project_order_event(event.key, event.version, event.type, event.data);
                IF event.parked THEN
                    PERFORM es_unpark('orders', event.position);
                END IF;
            EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
                PERFORM es_park('orders', event.position, SQLERRM, retry_after => '1 second');
                parked_keys := parked_keys || event.key;
            END;
        END LOOP;
        IF claimed THEN
            -- Also where nothing was new: the cursor moves over what the subscription does not want.
            PERFORM es_advance('orders', claim.partition, claim.from_position, claim.to_position);
        END IF;
        COMMIT;

        -- Up to date, or the others have all partitions: sleep until there is more, or look again after a while.
        IF NOT claimed THEN
            CALL es_wait(es_horizon(), patience, horizon);
        ELSIF claim.position IS NULL AND claim.to_position = claim.from_position THEN
            CALL es_wait(claim.to_position, patience, horizon);
        END IF;
    END LOOP;
END $$;
