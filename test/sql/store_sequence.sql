-- An append of a session to a store whose sequence is behind the log is refused: its positions would not be new.
SET client_min_messages = warning;
SELECT es_create_store('t_store_sequence');
SET eventstore.store = 't_store_sequence';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);

-- As after the promotion of a logical replica: the rows are there, the sequence is at its start.
SELECT setval('t_store_sequence.es_position_seq', 1, false);
\connect -
SET client_min_messages = warning;
SET eventstore.store = 't_store_sequence';
CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT right_hint boolean)
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
	right_hint := hint LIKE '%es\_sync\_position()%';
END
$$;
SELECT * FROM pg_temp.refusal($$SELECT es_append('order-1', '[{"type": "Shipped"}]', 2)$$);
SELECT * FROM pg_temp.refusal($$SELECT es_append('order-1', '[{"type": "Shipped"}, {"type": "Delivered"}]')$$);
SELECT * FROM pg_temp.refusal($$SELECT es_append('order-2', '[{"type": "Placed"}]', 0)$$);
SELECT * FROM pg_temp.refusal($$SELECT es_try_append('order-1', '[{"type": "Shipped"}]', 2)$$);
SELECT * FROM pg_temp.refusal($$SELECT es_append_many('[{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]')$$);
SELECT * FROM pg_temp.refusal($$SELECT es_append_each('[{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]')$$);
SELECT key, version FROM t_store_sequence.es_aggregates ORDER BY key;

-- Reading goes on.
SELECT version, type FROM es_read('order-1') ORDER BY version;
SELECT es_version('order-1');

-- Brought up to the log, it appends again.
SELECT setval('t_store_sequence.es_position_seq', max(position)) > 0 AS set FROM t_store_sequence.es_events;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT version, type, rank() OVER (ORDER BY position) FROM es_read('order-1') ORDER BY version;
SELECT * FROM es_check_store('t_store_sequence');

-- A new store whose sequence has not been used is not behind, nor is one at its first position.
SELECT es_drop_store('t_store_sequence');
SELECT es_create_store('t_store_sequence');
\connect -
SET eventstore.store = 't_store_sequence';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
\connect -
SET eventstore.store = 't_store_sequence';
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);

SELECT es_drop_store('t_store_sequence');
DROP SCHEMA t_store_sequence;
