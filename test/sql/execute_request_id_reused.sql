-- A request id that is known elsewhere than where a repeat is looked for belongs to another command:
-- VE005, never a repeat that has not been carried out.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_request_id_reused;
CREATE SCHEMA t_execute_request_id_reused AUTHORIZATION regress_es_execute_request_id_reused;
SET ROLE regress_es_execute_request_id_reused;
SELECT es_create_store('t_execute_request_id_reused');
SET eventstore.store = 't_execute_request_id_reused';
SET search_path = t_execute_request_id_reused, public;
SELECT es_append('a', '[{"type": "Appended"}]', 0, request_id => 'r-1');

-- Known for an aggregate that the function appends to, but for none of the keys, whatever the events.
CREATE FUNCTION obey(command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';
CREATE TABLE notes (note text);
CREATE FUNCTION obey_and_note(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO notes VALUES ('noted'); SELECT command $$;
\set VERBOSITY sqlstate
SELECT key, status FROM es_execute_many('{y}', 'obey', '[{"key": "y", "events": [{"type": "Appended"}], "expected_version": 0}, {"key": "a", "events": [{"type": "Appended"}]}]', request_id => 'r-1');
SELECT key, status FROM es_execute_many('{y}', 'obey', '[{"key": "a", "events": [{"type": "Other"}]}, {"key": "y", "events": [{"type": "Appended"}], "expected_version": 0}]', request_id => 'r-1');
SELECT key, status FROM es_execute_many('{y}', 'obey_and_note', '[{"key": "a", "events": [{"type": "Other"}, {"type": "Appended"}], "expected_version": 0}, {"key": "y", "events": [{"type": "Appended"}], "expected_version": 0}]', 0, 'r-1');
\set VERBOSITY default
SELECT es_version('a') AS a, es_version('y') AS y, (SELECT count(*) FROM notes) AS notes;
-- With that aggregate among the keys it is a repeat.
SELECT key, status FROM es_execute_many('{y,a}', 'obey', '[{"key": "y", "events": [{"type": "Appended"}], "expected_version": 0}, {"key": "a", "events": [{"type": "Appended"}]}]', request_id => 'r-1');

-- The function appends to the aggregate under the id itself: other events, or the same.
CREATE FUNCTION land(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append(key, '[{"type": "Landed"}]', allow_create => true, request_id => 'r-2');
	INSERT INTO notes VALUES ('landed');
	RETURN command;
END
$$;
\set VERBOSITY sqlstate
SELECT * FROM es_execute('b', 'land', '[{"type": "Decided"}]', request_id => 'r-2');
SELECT * FROM es_execute('b', 'land', '[{"type": "Landed"}]', request_id => 'r-2');
SELECT * FROM es_execute('a', 'land', '[{"type": "Landed"}]', request_id => 'r-2');
\set VERBOSITY default
SELECT es_version('a') AS a, es_version('b') AS b, (SELECT count(*) FROM notes) AS notes;
-- And decides on nothing more: then that was the command.
SELECT status FROM es_execute('b', 'land', '[]', request_id => 'r-2');
SELECT status, version FROM es_execute('b', 'land', '[{"type": "Decided"}]', request_id => 'r-2');

SELECT key, version, type, request_id FROM es_events ORDER BY key, version;
RESET search_path;
SELECT * FROM es_check_store('t_execute_request_id_reused');
SELECT es_drop_store('t_execute_request_id_reused');
RESET ROLE;
DROP SCHEMA t_execute_request_id_reused CASCADE;
DROP ROLE regress_es_execute_request_id_reused;
