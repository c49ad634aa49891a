-- es_sync_position moves the sequence behind the last event, as after the promotion of a logical replica.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_sync_position;
CREATE SCHEMA t_feed_sync_position AUTHORIZATION regress_es_feed_sync_position;

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

SET ROLE regress_es_feed_sync_position;
SELECT es_create_store('t_feed_sync_position');
SET eventstore.store = 't_feed_sync_position';
-- Nothing to do.
SELECT es_sync_position();
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_sync_position();
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
-- Positions that were drawn for nothing stay so.
BEGIN;
SELECT es_append('order-1', '[{"type": "Delivered"}]', 3);
ROLLBACK;
SELECT es_sync_position();
SELECT es_append('order-1', '[{"type": "Delivered"}]', 3);
SELECT position FROM es_read_all(3);

-- The rows are there, the sequence is at its start, or somewhere on the way.
SELECT setval('t_feed_sync_position.es_position_seq', 1, false);
SELECT es_sync_position();
SELECT es_horizon();
SELECT position, type FROM es_read_all(2);
SELECT es_append('order-1', '[{"type": "Returned"}]', 4);
SELECT position, type FROM es_read_all(5);
SELECT setval('t_feed_sync_position.es_position_seq', 4);
SELECT es_sync_position();
SELECT es_sync_position();
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_feed_sync_position;
SET eventstore.store = 't_feed_sync_position';
SELECT es_horizon();
SELECT * FROM es_read_all(6);
SELECT es_append('order-1', '[{"type": "Refunded"}]', 5);
SELECT position, type FROM es_read_all(6);
SELECT * FROM es_check_store('t_feed_sync_position');

-- It puts right what must not be changed about the sequence.
ALTER SEQUENCE t_feed_sync_position.es_position_seq CACHE 20 CYCLE;
SELECT * FROM es_check_store('t_feed_sync_position');
SELECT es_sync_position();
SELECT * FROM es_check_store('t_feed_sync_position');

-- A transaction that has appended may do it, and take it back.
BEGIN;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT es_sync_position();
ROLLBACK;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT position FROM es_read_all(7);

-- Another store by name; no store; not the owner.
SELECT es_sync_position('t_feed_sync_position');
RESET ROLE;
CREATE ROLE regress_es_feed_sync_position_other;
SELECT es_grant('regress_es_feed_sync_position_other', 'consumer');
SET ROLE regress_es_feed_sync_position_other;
\set VERBOSITY sqlstate
SELECT es_sync_position();
SELECT es_sync_position('pg_catalog');
SELECT es_sync_position(NULL);
\set VERBOSITY default
RESET ROLE;
DROP OWNED BY regress_es_feed_sync_position_other;
DROP ROLE regress_es_feed_sync_position_other;
SET ROLE regress_es_feed_sync_position;

SELECT es_drop_store('t_feed_sync_position');
RESET ROLE;
DROP SCHEMA t_feed_sync_position;
DROP ROLE regress_es_feed_sync_position;
