-- es_load: one row with the version, the latest snapshot and the events after it, for every aggregate.
SET client_min_messages = warning;
CREATE ROLE regress_es_load_aggregate;
CREATE SCHEMA t_load_aggregate AUTHORIZATION regress_es_load_aggregate;
SET ROLE regress_es_load_aggregate;
SELECT es_create_store('t_load_aggregate');
SET eventstore.store = 't_load_aggregate';
SET search_path = t_load_aggregate, public;

-- Missing: one row all the same.
SELECT * FROM es_load('order-1');
SELECT es_load('order-1');

-- Events are as es_append takes them, with position, key, version, id and recorded_at.
SET TIME ZONE 'UTC';
SELECT es_append('order-1', '[
	{"type": "Placed", "data": {"lines": [1, 2], "note": "a \"quoted\" — one"}, "metadata": {"correlation_id": 7}, "tags": ["t:1", "t:2"], "id": "00000000-0000-0000-0000-000000000001"},
	{"type": "Bare"},
	{"type": "Null", "data": null},
	{"type": "Empty", "data": {}, "metadata": {}, "tags": []},
	{"type": "Array", "data": []},
	{"type": "Scalar", "data": 12345678901234567890.50},
	{"type": "String", "data": ""},
	{"type": "False", "data": false},
	{"type": "Nested", "data": {"data": null, "type": "inner", "position": -1, "version": -1}}]', 0);
SELECT version, snapshot_version, state, jsonb_typeof(events) AS type, jsonb_array_length(events) AS count FROM es_load('order-1');
SELECT n, event - 'position' - 'id' - 'recorded_at' AS event, ARRAY(SELECT jsonb_object_keys(event) ORDER BY 1) AS fields
FROM es_load('order-1'), jsonb_array_elements(events) WITH ORDINALITY AS e (event, n) ORDER BY n;
-- Absent data is no field, and JSON null is one that is null.
SELECT event->>'type' AS type, event ? 'data' AS has_data, event->'data' IS NULL AS is_null, event->'data' = 'null' AS is_json_null
FROM es_load('order-1'), jsonb_array_elements(events) AS event WHERE event->>'type' IN ('Bare', 'Null', 'Placed') ORDER BY event->'version';
-- The same events as of es_read, to the byte of each field, and in the same order.
SELECT count(*) AS events, bool_and(e.position = l.position AND e.key = l.key AND e.version = l.version AND e.type = l.type AND e.id = l.id AND e.recorded_at = l.recorded_at
	AND e.data IS NOT DISTINCT FROM l.data AND e.metadata IS NOT DISTINCT FROM l.metadata AND e.tags IS NOT DISTINCT FROM l.tags) AS same
FROM es_read('order-1') WITH ORDINALITY AS e (position, key, version, type, data, metadata, tags, id, recorded_at, n)
	FULL JOIN (SELECT n, r.*, event->'data' AS data FROM es_load('order-1'), jsonb_array_elements(events) WITH ORDINALITY AS e (event, n),
				jsonb_to_record(event) AS r (position bigint, key text, version bigint, type text, metadata jsonb, tags text[], id uuid, recorded_at timestamptz)) AS l USING (n);
-- The time is told in the session's zone, and is the same time.
SET TIME ZONE 'Asia/Kolkata';
SELECT count(*) FROM es_load('order-1'), jsonb_array_elements(events) AS event JOIN es_read('order-1') AS r ON r.version = (event->>'version')::bigint AND r.recorded_at = (event->>'recorded_at')::timestamptz WHERE event->>'recorded_at' LIKE '%+05:30';
RESET TIME ZONE;
-- Fit to be made events again.
SELECT (jsonb_populate_recordset(NULL::es_event, events)).* FROM es_load('order-2');
SELECT count(*) FROM es_load('order-1'), jsonb_populate_recordset(NULL::es_event, events) AS e WHERE e.key = 'order-1' AND e.position IS NOT NULL AND e.id IS NOT NULL AND e.recorded_at IS NOT NULL;
-- Without what the store has added they can be appended elsewhere.
SELECT es_append('copy', jsonb_agg(event - ARRAY['position', 'key', 'version', 'recorded_at'] ORDER BY event->'version'), 0) FROM es_load('order-1'), jsonb_array_elements(events) AS event;

-- Above a snapshot: the state as it was saved, and the events after it.
SELECT es_save_snapshot('order-1', 7, '{"total": 10}');
SELECT version, snapshot_version, state, jsonb_path_query_array(events, '$[*].version') AS versions FROM es_load('order-1');
-- At the last event: none.
SELECT es_save_snapshot('order-1', 9, '[1, null]');
SELECT * FROM es_load('order-1');
SELECT es_append('order-1', '[{"type": "Paid"}, {"type": "Sent"}]', 9);
SELECT version, snapshot_version, state, jsonb_path_query_array(events, '$[*].version') AS versions FROM es_load('order-1');
-- A state that is JSON null is a state.
SELECT es_save_snapshot('order-1', 10, 'null');
SELECT version, snapshot_version, state, state IS NULL AS none, jsonb_path_query_array(events, '$[*].version') AS versions FROM es_load('order-1');
-- Others' snapshots and events are not looked at.
SELECT version, snapshot_version, state, jsonb_array_length(events) FROM es_load('copy');
SELECT version, snapshot_version, state, events FROM es_load('order');
SELECT version, snapshot_version, state, events FROM es_load('order-10');

-- A snapshot that is ahead of the aggregate, as of a table filled otherwise, is not believed.
INSERT INTO es_snapshots VALUES ('copy', 10, '"ahead"'), ('order-3', 1, '"of nothing"'), ('order-4', 0, '"zero"');
SELECT version, snapshot_version, state, jsonb_path_query_array(events, '$[*].version') AS versions FROM es_load('copy');
SELECT * FROM es_load('order-3');
SELECT * FROM es_load('order-4');
UPDATE es_snapshots SET version = 9 WHERE key = 'copy';
SELECT version, snapshot_version, state, events FROM es_load('copy');
SELECT es_append('copy', '[{"type": "More"}]', 9);
SELECT version, snapshot_version, state, jsonb_path_query_array(events, '$[*].version') AS versions FROM es_load('copy');
-- Deleted, it is forgotten: it is only a cache.
DELETE FROM es_snapshots;
SELECT version, snapshot_version, state, jsonb_array_length(events) AS count FROM es_load('copy');

-- For many aggregates in one statement, in expressions, and of the transaction's own writes.
SELECT k.key, l.version, jsonb_array_length(l.events) AS count FROM unnest(ARRAY['copy', 'order-1', 'missing']) AS k (key), es_load(k.key) AS l ORDER BY k.key;
SELECT (es_load('copy')).version;
BEGIN;
SELECT es_append('order-5', '[{"type": "Placed"}]', 0);
SELECT version, snapshot_version, state, jsonb_array_length(events) AS count FROM es_load('order-5');
SELECT es_save_snapshot('order-5', 1, '1');
SELECT version, snapshot_version, state, jsonb_array_length(events) AS count FROM es_load('order-5');
ROLLBACK;
SELECT * FROM es_load('order-5');
-- A function sees the statement's moment, as with es_read; also where the statement appends itself.
WITH w AS (SELECT es_append('order-6', '[{"type": "Placed"}]', 0) AS version) SELECT w.version, l.version AS loaded FROM w, es_load('order-6') AS l;

-- Keys of every kind, and large aggregates.
SELECT es_append(key, jsonb_build_array(jsonb_build_object('type', 'T', 'data', key)), 0) FROM unnest(ARRAY[' ', '''', '$1', 'ключ', repeat('k', 512)]) AS k (key);
SELECT bool_and(l.version = 1 AND l.events->0->>'key' = k.key AND l.events->0->>'data' = k.key) AS all_there FROM unnest(ARRAY[' ', '''', '$1', 'ключ', repeat('k', 512)]) AS k (key), es_load(k.key) AS l;
SELECT es_append('large', (SELECT jsonb_agg(jsonb_build_object('type', 'T', 'data', repeat('x', n % 100))) FROM generate_series(1, 5000) AS n), 0);
SELECT version, jsonb_array_length(events) AS count, events->0->'version' AS first, events->-1->'version' AS last FROM es_load('large');
SELECT es_save_snapshot('large', 4999, to_jsonb(repeat('x', 100000)));
SELECT version, snapshot_version, length(state #>> '{}') AS state, jsonb_array_length(events) AS count FROM es_load('large');

-- Bad keys.
\set SHOW_CONTEXT never
SELECT * FROM es_load(NULL);
SELECT * FROM es_load('');
SELECT * FROM es_load(repeat('k', 513));

RESET search_path;
SELECT * FROM es_check_store('t_load_aggregate');
SELECT es_drop_store('t_load_aggregate');
RESET ROLE;
DROP SCHEMA t_load_aggregate CASCADE;
DROP ROLE regress_es_load_aggregate;
