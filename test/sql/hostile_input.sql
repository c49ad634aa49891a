-- Input made to cost much, or to fill the log: refused early, shortly and before any position is drawn.
SET client_min_messages = warning;
CREATE ROLE regress_es_hostile_input;
CREATE SCHEMA t_hostile_input AUTHORIZATION regress_es_hostile_input;
SET ROLE regress_es_hostile_input;
SELECT es_create_store('t_hostile_input');
SET eventstore.store = 't_hostile_input';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
-- What hangs ends some day.
SET statement_timeout = '2min';
\set SHOW_CONTEXT never

-- A name of a megabyte is not repeated in the message; it is cut between characters.
SELECT es_append('order-1', ('[{"type": "T", "' || repeat('x', 1000000) || '": 1}]')::jsonb, 1);
SELECT es_append('order-1', ('[{"type": "T", "x' || repeat('ä', 1000000) || '": 1}]')::jsonb, 1);
SELECT * FROM es_append_many(('[{"' || repeat('y', 1000000) || '": 1}]')::jsonb);
SELECT * FROM es_append_many(('[{"conditions": [{"' || repeat('z', 1000000) || '": 1}]}]')::jsonb);
SELECT * FROM es_query(('[{"' || repeat('ä', 1000000) || '": 1}]')::jsonb);
SELECT es_append('order-1', '[{"type": "T", "a name of exactly 63 bytes, which is what the longest identifier has": 1}]', 1);

-- Nor are values.
SELECT es_append(repeat('k', 1000000), '[{"type": "T"}]', 0);
SELECT es_append('order-1', jsonb_build_array(jsonb_build_object('type', repeat('t', 1000000))), 1);
SELECT es_append('order-1', jsonb_build_array(jsonb_build_object('type', 'T', 'tags', jsonb_build_array(repeat('t', 1000000)))), 1);
SELECT es_append('order-1', jsonb_build_array(jsonb_build_object('type', 'T', 'id', repeat('0', 1000000))), 1);
SELECT es_append('order-1', '[{"type": "T"}]', 1, request_id => repeat('r', 1000000));
SELECT * FROM es_append_many(jsonb_build_array(jsonb_build_object('key', 'order-1', 'expected_version', (repeat('9', 100000))::numeric)));

-- Millions of elements that are none.
SELECT es_append('order-1', ('[' || repeat('null,', 1000000) || 'null]')::jsonb, 1);
SELECT * FROM es_append_many(('[' || repeat('null,', 1000000) || 'null]')::jsonb);
SELECT es_append('order-1', ('[{"type": "T", "tags": [' || repeat('null,', 1000000) || 'null]}]')::jsonb, 1);
SELECT * FROM es_append_many(('[{"conditions": [' || repeat('null,', 1000000) || 'null]}]')::jsonb);
SELECT * FROM es_query(('[' || repeat('null,', 1000000) || 'null]')::jsonb);
SELECT * FROM es_read_all(query => ('[{"types": [' || repeat('null,', 1000000) || 'null]}]')::jsonb);
SELECT count(*) FROM es_lock(array_fill(''::text, ARRAY[1000000]));

-- What is refused has locked nothing, and has no transaction id.
BEGIN;
SAVEPOINT before;
SELECT es_append('order-1', '[{"type": "T"}, {"type": ""}]', 1);
ROLLBACK TO before;
SELECT * FROM es_append_each('[{"key": "order-1", "events": [{"type": "T"}]}, {"key": "order-2", "events": [{"tipe": "T"}], "allow_create": true}]');
ROLLBACK TO before;
SELECT * FROM es_query('[{"tags": ["t"]}, {"tags": []}]');
ROLLBACK TO before;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_id, (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks;
COMMIT;

-- Many entries that could each be the repeat of one before: not compared with all of those.
SELECT status, count(*) FROM es_append_each((SELECT jsonb_agg(jsonb_build_object('key', 'order-1', 'events', '[{"type": "T"}]'::jsonb, 'expected_version', 7, 'request_id', 'r-1'))
											FROM generate_series(1, 200000))) GROUP BY status;
-- The nearest accepted one is still found behind refused ones.
SELECT entry, status, version FROM es_append_each('[
	{"key": "order-2", "events": [{"type": "A"}], "expected_version": 7, "request_id": "r-2"},
	{"key": "order-2", "events": [{"type": "A"}], "expected_version": 0, "request_id": "r-2"},
	{"key": "order-2", "events": [{"type": "B"}], "expected_version": 0, "request_id": "r-2"},
	{"key": "order-2", "events": [{"type": "B"}], "expected_version": 1, "request_id": "r-2"},
	{"key": "order-2", "events": [{"type": "A"}], "expected_version": 5, "request_id": "r-2"},
	{"key": "order-2", "events": [{"type": "A"}, {"type": "A"}], "request_id": "r-2"},
	{"key": "order-2", "events": [{"type": "A"}], "request_id": "r-2"}]') ORDER BY entry;

-- An event and a condition with many tags each.
SELECT r.entry, r.status FROM (SELECT jsonb_agg('t' || n) AS tags FROM generate_series(1, 5000) AS n) AS t, es_try_append_many(jsonb_build_array(
	jsonb_build_object('key', 'order-3', 'events', jsonb_build_array(jsonb_build_object('type', 'T', 'tags', tags)), 'expected_version', 0),
	jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', tags))))))) AS r
ORDER BY r.entry;

-- One position for each event that is stored.
SELECT last_value, (SELECT count(*) FROM t_hostile_input.es_events) AS events FROM t_hostile_input.es_position_seq;

-- Cancelled before it is done: nothing is there.
CREATE TEMPORARY TABLE many AS SELECT jsonb_agg(jsonb_build_object('type', 'T', 'data', n)) AS events FROM generate_series(1, 300000) AS n;
SET statement_timeout = '50ms';
\set VERBOSITY sqlstate
SELECT es_append('order-4', events, 0) FROM many;
\set VERBOSITY default
RESET statement_timeout;
DROP TABLE many;
SELECT key, version FROM t_hostile_input.es_aggregates ORDER BY key;
SELECT * FROM es_check_store('t_hostile_input');

SELECT es_drop_store('t_hostile_input');
RESET ROLE;
DROP SCHEMA t_hostile_input;
DROP ROLE regress_es_hostile_input;
