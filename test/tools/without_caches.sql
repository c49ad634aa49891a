-- Every function once or twice, in a session that forgets every cached catalogue entry as
-- soon as it can, if :discard is 1; what it prints must not depend on that.  Making a store
-- takes too long so.
\set VERBOSITY terse
SET client_min_messages = warning;
SET debug_discard_caches = 0;
CREATE SCHEMA without_caches;
SET search_path = without_caches, public;
SELECT es_create_store('without_caches');
CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT '[{"type": "decided"}]'::jsonb $$;
CREATE FUNCTION decide_many(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT command $$;
CREATE FUNCTION count_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.metadata := '{"counted": 1}'; RETURN NEW; END $$;
SET debug_discard_caches = :discard;

SELECT es_append('a', '[{"type": "opened", "tags": ["t"]}]', 0);
SELECT es_append('a', '[{"type": "more"}, {"type": "more", "data": 1}]', 1, request_id => 'r');
SELECT es_append('a', '[{"type": "more"}, {"type": "more", "data": 1}]', 1, request_id => 'r');
SELECT es_append('a', '[{"type": "stale"}]', 1);
SELECT status, version FROM es_try_append('b', '[{"type": "opened"}]');
SELECT entry, key, status, version FROM es_append_many('[{"key": "a", "events": [{"type": "many"}]}, {"key": "b", "expected_version": 0},
	{"key": "c", "events": [{"type": "many", "tags": ["t"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["u"]}]}]}]');
SELECT entry, key, status, version FROM es_append_each('[{"key": "a", "events": [{"type": "each"}]}, {"key": "b", "events": [{"type": "each"}]}]');
SELECT * FROM es_lock(ARRAY['a', 'b']);
SELECT key, status, version FROM es_find_request('a', 'r');
SELECT version, type, data FROM es_read('a');
SELECT es_save_snapshot('a', 4, '{"n": 4}');
SELECT version, snapshot_version, state FROM es_load('a');
SELECT key, version FROM es_query('[{"tags": ["t"]}]');
SELECT * FROM es_execute('a', 'decide');
SELECT entry, key, status, version FROM es_execute_many('{d}', 'decide_many', '[{"key": "d", "events": [{"type": "decided"}], "expected_version": 0}]');
SELECT key, version, type FROM es_read_all(max_count => 3, query => '[{"types": ["opened", "many"]}]');
SELECT es_create_subscription('s');
SELECT partition, from_position, to_position, key, version FROM es_fetch('s', 2);
SELECT es_advance('s', 0, 0, 2);
SELECT es_horizon() > 0;
SELECT * FROM es_check_store('without_caches');

-- Through the executor.
CREATE TRIGGER count_events BEFORE INSERT ON es_events FOR EACH ROW EXECUTE FUNCTION count_events();
SELECT es_append('a', '[{"type": "counted", "tags": ["t"]}]');
SELECT es_append('e', '[{"type": "counted"}]', 0);
SELECT key, version, metadata FROM es_read('a', 7);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_append('e', '[{"type": "counted"}]', 1);
COMMIT;

SET debug_discard_caches = 0;
SELECT es_drop_store('without_caches');
DROP SCHEMA without_caches CASCADE;
