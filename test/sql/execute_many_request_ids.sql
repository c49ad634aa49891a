-- A request id in es_execute_many: known for one of the keys, the command was carried out.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_many_request_ids;
CREATE SCHEMA t_execute_many_request_ids AUTHORIZATION regress_es_execute_many_request_ids;
SET ROLE regress_es_execute_many_request_ids;
SELECT es_create_store('t_execute_many_request_ids');
SET eventstore.store = 't_execute_many_request_ids';
SET search_path = t_execute_many_request_ids, public;

-- What the command says.
CREATE FUNCTION as_told(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT command $$;
-- The function appends one event to each aggregate that the command names, unless that fails.
CREATE SEQUENCE calls;
CREATE FUNCTION append_to(command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM nextval('calls');
	IF command @> '["fail"]' THEN
		RAISE 'failed';
	END IF;
	RETURN (SELECT jsonb_agg(CASE WHEN key LIKE 'guard-%' THEN jsonb_build_object('key', key, 'expected_version', 0)
								  ELSE jsonb_build_object('key', key, 'expected_version', es_version(key), 'events', '[{"type": "Appended"}]'::jsonb) END ORDER BY n)
			FROM jsonb_array_elements_text(command) WITH ORDINALITY AS k (key, n));
END
$$;

-- The first time, and repeats of it: what it did to the keys, in key order.
SELECT entry, key, status, version FROM es_execute_many('{b,a}', 'append_to', '["b", "a"]', request_id => 'r-1');
SELECT entry, key, status, version FROM es_execute_many('{b,a}', 'append_to', '["b", "a"]', request_id => 'r-1');
SELECT entry, key, status, version FROM es_execute_many('{b,a}', 'append_to', '["fail"]', request_id => 'r-1');
SELECT entry, key, status, version FROM es_execute_many('{b,a}', 'append_to', '["a", "c"]', max_retries => 0, request_id => 'r-1');
SELECT entry, key, status, version FROM es_execute_many('{a,x}', 'append_to', '["x"]', request_id => 'r-1');
SELECT last_value AS calls FROM calls;
-- With the positions and times of the first time.
SELECT key, r.first_position = e.position AND r.last_position = e.position AND r.recorded_at = e.recorded_at AS as_then
FROM es_execute_many('{b,a}', 'append_to', '["b", "a"]', request_id => 'r-1') AS r JOIN es_events AS e USING (key, version) ORDER BY key;

-- To more than the keys: the repeat tells of the keys alone.
SELECT entry, key, status, version FROM es_execute_many('{a}', 'append_to', '["a", "c", "guard-1", "d"]', request_id => 'r-2');
SELECT entry, key, status, version FROM es_execute_many('{a}', 'append_to', '["a", "c", "guard-1", "d"]', request_id => 'r-2');
-- Once more in one call: the last version counts.
SELECT entry, key, status, version FROM es_execute_many('{e}', 'as_told', '[{"key": "e", "events": [{"type": "One"}], "expected_version": 0}, {"key": "e", "events": [{"type": "Two"}], "expected_version": 1}]', request_id => 'r-3');
SELECT entry, key, status, version, last_position - first_position AS more FROM es_execute_many('{e}', 'append_to', '["e"]', request_id => 'r-3');

-- The same with es_append_many before and after.
SELECT entry, key, status, version FROM es_append_many('[{"key": "f", "events": [{"type": "Appended"}], "expected_version": 0}, {"key": "g", "events": [{"type": "Appended"}], "expected_version": 0}]', 'r-4');
SELECT entry, key, status, version FROM es_execute_many('{f,g,h}', 'append_to', '["h"]', request_id => 'r-4');
SELECT entry, key, status, version FROM es_execute_many('{f,g,h}', 'append_to', '["f", "g"]', request_id => 'r-5');
SELECT entry, key, status, version FROM es_append_many('[{"key": "f", "events": [{"type": "Appended"}], "expected_version": 0}, {"key": "g", "events": [{"type": "Appended"}], "expected_version": 0}]', 'r-5');
CREATE FUNCTION one(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
SELECT * FROM es_execute('g', 'one', request_id => 'r-5');

-- If none of the keys is appended to, a repeat would go unnoticed.
\set SHOW_CONTEXT never
SELECT entry, key, status, version FROM es_execute_many('{a}', 'append_to', '["x"]', request_id => 'r-6');
SELECT entry, key, status, version FROM es_execute_many('{}', 'append_to', '["x"]', request_id => 'r-6');
SELECT entry, key, status, version FROM es_execute_many('{guard-1}', 'append_to', '["guard-1", "x"]', request_id => 'r-6');
\set SHOW_CONTEXT errors
-- Where nothing is appended, nothing need be noticed: guards, and nothing at all.
SELECT entry, key, status, version FROM es_execute_many('{a}', 'append_to', '["guard-1"]', request_id => 'r-6');
SELECT entry, key, status, version FROM es_execute_many('{a}', 'append_to', '[]', request_id => 'r-6');
SELECT entry, key, status, version FROM es_execute_many('{a}', 'append_to', '["a"]', request_id => 'r-6');

SELECT key, version, type, request_id FROM es_events ORDER BY key, version;
RESET search_path;
SELECT * FROM es_check_store('t_execute_many_request_ids');
SELECT es_drop_store('t_execute_many_request_ids');
RESET ROLE;
DROP SCHEMA t_execute_many_request_ids CASCADE;
DROP ROLE regress_es_execute_many_request_ids;
