-- A command under a request id is carried out once: a repeat is not decided again, whatever it
-- would decide by now, and returns the first result.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_request_ids;
CREATE SCHEMA t_execute_request_ids AUTHORIZATION regress_es_execute_request_ids;
SET ROLE regress_es_execute_request_ids;
SELECT es_create_store('t_execute_request_ids');
SET eventstore.store = 't_execute_request_ids';
SET search_path = t_execute_request_ids, public;

CREATE SEQUENCE calls;
CREATE TABLE notes (note text);
CREATE FUNCTION do_it(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	call bigint := nextval('calls');
BEGIN
	INSERT INTO notes VALUES (format('%s at %s, call %s', key, version, call));
	IF command->>'do' = 'fail' THEN
		RAISE 'failed at version %', version;
	ELSIF command->>'do' = 'nothing' THEN
		RETURN NULL;
	ELSIF command->>'do' = 'garbage' THEN
		RETURN '"garbage"';
	END IF;
	RETURN (SELECT jsonb_agg(jsonb_build_object('type', coalesce(command->>'do', 'Done'), 'data', call + n)) FROM generate_series(1, coalesce((command->>'events')::integer, 1)) AS n);
END
$$;

-- The first time, and again: the same command, another one, one that would fail, and with other settings.
SELECT * FROM es_execute('order-1', 'do_it', request_id => 'r-1');
SELECT * FROM es_execute('order-1', 'do_it', request_id => 'r-1');
SELECT * FROM es_execute('order-1', 'do_it', '{"do": "Other", "events": 3}', request_id => 'r-1');
SELECT * FROM es_execute('order-1', 'do_it', '{"do": "fail"}', request_id => 'r-1');
SELECT * FROM es_execute('order-1', 'do_it', '{"do": "nothing"}', request_id => 'r-1');
SELECT * FROM es_execute('order-1', 'do_it', '{"do": "garbage"}', max_retries => 0, request_id => 'r-1');
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;

-- The result of several events is their last version, and stays it when the aggregate moves on.
SELECT * FROM es_execute('order-1', 'do_it', '{"events": 3}', request_id => 'r-2');
SELECT * FROM es_execute('order-1', 'do_it', '{"events": 2}');
SELECT * FROM es_execute('order-1', 'do_it', '{"events": 5}', request_id => 'r-2');
SELECT * FROM es_execute('order-1', 'do_it', request_id => 'r-1');

-- It does not matter which function has appended under the id.
SELECT es_append('order-1', '[{"type": "Paid"}]', 6, request_id => 'r-3');
SELECT * FROM es_execute('order-1', 'do_it', request_id => 'r-3');
SELECT es_append('order-1', '[{"type": "Paid"}]', 0, request_id => 'r-3');
SELECT key, status, version FROM es_append_each('[{"key": "order-1", "events": [{"type": "Sent"}], "expected_version": 7, "request_id": "r-4"}]');
SELECT * FROM es_execute('order-1', 'do_it', request_id => 'r-4');
SELECT * FROM es_execute('order-1', 'do_it', '{"do": "Kept"}', request_id => 'r-5');
SELECT status, version FROM es_find_request('order-1', 'r-5');
\set VERBOSITY sqlstate
SELECT es_append('order-1', '[{"type": "Other"}]', request_id => 'r-5');
\set VERBOSITY default
-- An id belongs to its aggregate.
SELECT * FROM es_execute('order-2', 'do_it', request_id => 'r-1');

-- What left no events left no id: a failure, nothing to append, a rollback.
\set SHOW_CONTEXT never
SELECT * FROM es_execute('order-2', 'do_it', '{"do": "fail"}', request_id => 'r-6');
SELECT * FROM es_execute('order-2', 'do_it', '{"do": "garbage"}', request_id => 'r-6');
\set SHOW_CONTEXT errors
SELECT * FROM es_execute('order-2', 'do_it', '{"do": "nothing"}', request_id => 'r-6');
BEGIN;
SELECT * FROM es_execute('order-2', 'do_it', request_id => 'r-6');
SELECT * FROM es_execute('order-2', 'do_it', '{"do": "fail"}', request_id => 'r-6');
ROLLBACK;
SELECT * FROM es_execute('order-2', 'do_it', '{"do": "AtLast"}', request_id => 'r-6');
SELECT * FROM es_execute('order-2', 'do_it', '{"do": "fail"}', request_id => 'r-6');

-- Within one transaction, and past a savepoint that takes it back.
BEGIN;
SELECT * FROM es_execute('order-3', 'do_it', request_id => 'r-1');
SELECT * FROM es_execute('order-3', 'do_it', request_id => 'r-1');
SAVEPOINT s;
SELECT * FROM es_execute('order-3', 'do_it', request_id => 'r-2');
ROLLBACK TO s;
SELECT * FROM es_execute('order-3', 'do_it', request_id => 'r-2');
SELECT * FROM es_execute('order-3', 'do_it', request_id => 'r-2');
COMMIT;

-- The function lands the command itself, under the same id: its decision and its notes are undone, the error too.
CREATE FUNCTION land(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append(key, '[{"type": "Landed"}]', version, request_id => command->>'request_id');
	INSERT INTO notes VALUES ('landed');
	IF command ? 'fail' THEN
		RAISE 'failed after all';
	END IF;
	RETURN '[{"type": "Decided"}]';
END
$$;
\set VERBOSITY sqlstate
SELECT * FROM es_execute('order-4', 'land', '{"request_id": "r-1", "fail": true}', request_id => 'r-1');
\set VERBOSITY default
SELECT es_version('order-4'), (SELECT count(*) FROM notes WHERE note = 'landed') AS landed;

-- An id that has all the bytes it may have, and any of them.
SELECT * FROM es_execute('order-5', 'do_it', request_id => rpad(E'r"''\\\n\t%', 255, 'x'));
SELECT * FROM es_execute('order-5', 'do_it', request_id => rpad(E'r"''\\\n\t%', 255, 'x'));
SELECT * FROM es_execute('order-5', 'do_it', request_id => rpad(E'r"''\\\n\t%', 254, 'x'));

SELECT key, version, type, CASE WHEN length(request_id) > 20 THEN length(request_id)::text ELSE request_id END AS request_id FROM es_events ORDER BY key, version;
SELECT note FROM notes ORDER BY note COLLATE "C";
RESET search_path;
SELECT * FROM es_check_store('t_execute_request_ids');
SELECT es_drop_store('t_execute_request_ids');
RESET ROLE;
DROP SCHEMA t_execute_request_ids CASCADE;
DROP ROLE regress_es_execute_request_ids;
