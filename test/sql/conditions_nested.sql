-- Conditions and es_query in a user's trigger on es_events, inside an append that may have conditions itself.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_nested;
CREATE SCHEMA t_conditions_nested AUTHORIZATION regress_es_conditions_nested;
SET ROLE regress_es_conditions_nested;
SELECT es_create_store('t_conditions_nested');
SET eventstore.store = 't_conditions_nested';

-- Each registration makes one more event with the same tag, under a condition; and counts what it sees.
CREATE FUNCTION t_conditions_nested.react() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	seen bigint;
	cursor_position bigint;
	outcome text;
BEGIN
	SELECT count(*), coalesce(max(position), 0) INTO seen, cursor_position FROM es_query('[{"tags": ["name:a"]}]');
	SELECT status INTO outcome FROM es_try_append_many(jsonb_build_array(jsonb_build_object('key', 'welcome-' || NEW.key, 'expected_version', 0,
		'events', '[{"type": "Welcomed", "tags": ["name:a"]}]'::jsonb,
		'conditions', jsonb_build_array(jsonb_build_object('query', '[{"tags": ["name:a"]}]'::jsonb, 'after', CASE WHEN NEW.data ? 'late' THEN 0 ELSE cursor_position END)))));
	RAISE WARNING '%: % seen, %', NEW.key, seen, outcome;
	RETURN NULL;
END
$$;
CREATE TRIGGER react AFTER INSERT ON t_conditions_nested.es_events FOR EACH ROW WHEN (NEW.type = 'Registered') EXECUTE FUNCTION t_conditions_nested.react();

-- The condition of the outer append was checked before; the inner event does not fail it any more.
SELECT entry, key, status FROM es_append_many('[{"key": "user-1", "events": [{"type": "Registered", "tags": ["name:a"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["name:a"]}]}]}]');
SELECT position, key, type FROM es_query('[{"tags": ["name:a"]}]');
SELECT entry, key, status FROM es_append_many('[{"key": "user-2", "events": [{"type": "Registered", "data": {"late": true}, "tags": ["name:a"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["name:a"]}], "after": 2}]}]');
SELECT entry, key, status FROM es_try_append_many('[{"key": "user-3", "events": [{"type": "Registered", "tags": ["name:a"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["name:a"]}], "after": 2}]}]');

-- An error of the inner one takes the outer one with it.
CREATE OR REPLACE FUNCTION t_conditions_nested.react() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_append_many('[{"conditions": [{"query": [{"tags": ["name:a"]}], "after": 3}]}]');
	RETURN NULL;
END
$$;
\set SHOW_CONTEXT never
SELECT es_append('user-4', '[{"type": "Registered", "tags": ["name:a"]}]', 0);
SELECT es_append('user-4', '[{"type": "Registered", "tags": ["name:b"]}]', 0);

SELECT position, key, type FROM t_conditions_nested.es_events ORDER BY position;
SELECT finding FROM es_check_store('t_conditions_nested');
SELECT es_drop_store('t_conditions_nested');
DROP FUNCTION t_conditions_nested.react;
RESET ROLE;
DROP SCHEMA t_conditions_nested;
DROP ROLE regress_es_conditions_nested;
