-- Deciding functions that append themselves, execute commands in turn, open cursors or change
-- settings; es_execute called from functions, exception blocks, savepoints and triggers.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_nested;
CREATE SCHEMA t_execute_nested AUTHORIZATION regress_es_execute_nested;
CREATE SCHEMA t_execute_nested_2 AUTHORIZATION regress_es_execute_nested;
SET ROLE regress_es_execute_nested;
SELECT es_create_store('t_execute_nested');
SET eventstore.store = 't_execute_nested';
SET search_path = t_execute_nested, public;

CREATE FUNCTION event(type text, data anyelement) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_array(jsonb_build_object('type', type, 'data', data)) $$;
CREATE FUNCTION plain(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT event('Plain', version) $$;
CREATE FUNCTION as_told(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT command $$;
CREATE FUNCTION history() RETURNS TABLE (key text, version bigint, events text) LANGUAGE sql
AS $$ SELECT key, a.version, string_agg(e.version || ' ' || e.type || coalesce(' ' || (data::text), ''), ', ' ORDER BY e.position)
	FROM es_aggregates a FULL JOIN es_events e USING (key) GROUP BY key, a.version ORDER BY key $$;

-- Appends to other aggregates, in every way, count with the decision.
CREATE FUNCTION book(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append('ledger', event('Booked', key), allow_create => true);
	PERFORM es_append_many(jsonb_build_array(jsonb_build_object('key', 'book-1', 'allow_create', true, 'events', event('Booked', key)),
											 jsonb_build_object('key', 'book-2', 'expected_version', es_version('book-2'), 'events', event('Booked', key))));
	PERFORM es_append_each(jsonb_build_array(jsonb_build_object('key', 'book-3', 'expected_version', 0, 'events', event('Booked', key))));
	PERFORM es_lock(ARRAY[key, 'book-4']);
	RETURN event('Closed', version);
END
$$;
SELECT * FROM es_execute('account-1', 'book');
SELECT * FROM es_execute('account-1', 'book');
SELECT * FROM history();

-- Commands within commands: on another aggregate, and to a depth.
CREATE FUNCTION descend(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	inner_status text;
BEGIN
	IF command::integer > 0 THEN
		SELECT concat_ws(' ', e.status, e.version, e.attempts) INTO inner_status
		FROM es_execute('level-' || command::integer - 1, 'descend', to_jsonb(command::integer - 1), request_id => 'r-' || command::text) AS e;
	END IF;
	RETURN event('Descended', coalesce(inner_status, 'bottom'));
END
$$;
SELECT * FROM es_execute('level-5', 'descend', '5');
SELECT * FROM es_execute('level-5', 'descend', '5');
SELECT * FROM history() WHERE key LIKE 'level-%';

-- On the same aggregate: the outer decision is always stale, so only the outer error is left.
CREATE FUNCTION again(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_execute(key, 'plain');
	RETURN event('Again', version);
END
$$;
\set SHOW_CONTEXT never
SELECT * FROM es_execute('level-0', 'again');
SELECT * FROM es_execute('new-1', 'again');
\set SHOW_CONTEXT errors
-- Unless the outer one has nothing to add.
CREATE FUNCTION delegate(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$ BEGIN PERFORM es_execute(key, 'plain'); RETURN '[]'; END $$;
SELECT status FROM es_execute('new-1', 'delegate');
SELECT key, status FROM es_execute_many('{new-1}', 'as_told', '[{"key": "new-1", "events": [{"type": "Many"}], "expected_version": 1}]');
SELECT * FROM history() WHERE key IN ('level-0', 'new-1');

-- A cursor that the function opens is open afterwards, if its attempt counts.
CREATE FUNCTION pointing(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	named refcursor := 'of_attempt_' || command::text;
BEGIN
	OPEN named FOR SELECT e.version, e.type FROM es_read(key) AS e ORDER BY 1;
	IF command = '1' THEN
		RAISE 'no';
	END IF;
	RETURN event('Pointed', command);
END
$$;
BEGIN;
SELECT status FROM es_execute('new-1', 'pointing', '0');
SAVEPOINT s;
\set VERBOSITY sqlstate
SELECT status FROM es_execute('new-1', 'pointing', '1');
ROLLBACK TO s;
\set VERBOSITY default
FETCH ALL FROM of_attempt_0;
SELECT name FROM pg_cursors;
COMMIT;

-- es_execute while a cursor of the caller is open, and in its rows.
BEGIN;
DECLARE rows CURSOR FOR SELECT n, es_execute('cursor-' || n % 2, 'plain') FROM generate_series(1, 4) AS n;
FETCH 2 FROM rows;
SELECT * FROM es_execute('cursor-0', 'plain');
FETCH 2 FROM rows;
COMMIT;
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT a.key FROM es_aggregates AS a WHERE a.key LIKE 'cursor-%' ORDER BY 1 LOOP
		PERFORM es_execute(r.key, 'plain');
	END LOOP;
END
$$;
SELECT * FROM history() WHERE key LIKE 'cursor-%';

-- Another store, role or search path that the function chooses is not the call's.
SELECT es_create_store('t_execute_nested_2');
CREATE FUNCTION wander(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM set_config('eventstore.store', 't_execute_nested_2', true), set_config('search_path', 'public', true);
	PERFORM es_append('elsewhere', '[{"type": "Wandered"}]', 0);
	RETURN '[{"type": "Decided"}]';
END
$$;
BEGIN;
SELECT * FROM es_execute('store-1', 'wander');
SELECT current_setting('eventstore.store'), current_setting('search_path');
COMMIT;
SELECT key, version FROM t_execute_nested.es_aggregates WHERE key IN ('store-1', 'elsewhere');
SELECT key, version FROM t_execute_nested_2.es_aggregates;
-- A function with settings of its own works with those.
CREATE FUNCTION settled(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql SET eventstore.store = 't_execute_nested_2' SET search_path = pg_catalog, public
AS $$
BEGIN
	RETURN jsonb_build_array(jsonb_build_object('type', 'Settled', 'data', jsonb_build_object('given', version, 'elsewhere', es_version('elsewhere'), 'search_path', current_setting('search_path'))));
END
$$;
SELECT * FROM es_execute('store-1', 'settled');
SELECT version, type, data FROM es_read('store-1');
-- If the function drops the store under the call, that fails.
CREATE FUNCTION destroy(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$ BEGIN PERFORM es_drop_store('t_execute_nested_2'); RETURN '[{"type": "Lost"}]'; END $$;
SET eventstore.store = 't_execute_nested_2';
\set VERBOSITY sqlstate
SELECT * FROM es_execute('store-1', 't_execute_nested.destroy');
\set VERBOSITY default
SELECT es_version('elsewhere');
SELECT es_drop_store('t_execute_nested_2');
SET eventstore.store = 't_execute_nested';

-- From triggers on es_events: each event of a category makes a command for another aggregate, or for its own.
CREATE FUNCTION react()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_execute(CASE NEW.type WHEN 'Own' THEN NEW.key ELSE 'reaction-' || NEW.key END, 'plain', request_id => NEW.id::text);
	RETURN NULL;
END
$$;
CREATE TRIGGER react AFTER INSERT ON es_events FOR EACH ROW WHEN (NEW.type IN ('Own', 'Other')) EXECUTE FUNCTION react();
SELECT es_append('source-1', '[{"type": "Other"}, {"type": "Other"}, {"type": "Own"}]', 0);
CREATE FUNCTION other(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT event(command->>0, version) $$;
SELECT * FROM es_execute('source-1', 'other', '["Other"]');
SELECT * FROM es_execute('source-1', 'other', '["Own"]');
SELECT * FROM history() WHERE key ~ 'source-1';
DROP TRIGGER react ON es_events;
CREATE CONSTRAINT TRIGGER react AFTER INSERT ON es_events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.type IN ('Own', 'Other')) EXECUTE FUNCTION react();
BEGIN;
SELECT * FROM es_execute('source-2', 'other', '["Own"]');
SELECT * FROM es_execute('source-2', 'other', '["Other"]');
SELECT * FROM history() WHERE key ~ 'source-2';
COMMIT;
SELECT * FROM history() WHERE key ~ 'source-2';
DROP TRIGGER react ON es_events;
-- Not from one on es_aggregates: there the outer append has no positions yet.
CREATE TRIGGER react AFTER INSERT ON es_aggregates FOR EACH ROW EXECUTE FUNCTION react();
CREATE OR REPLACE FUNCTION react() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM es_execute('x', 'plain'); RETURN NULL; END $$;
\set VERBOSITY sqlstate
SELECT * FROM es_execute('source-3', 'plain');
CREATE OR REPLACE FUNCTION react() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM es_execute_many('{x}', 'as_told', '[]'); RETURN NULL; END $$;
SELECT * FROM es_execute('source-3', 'plain');
\set VERBOSITY default
DROP TRIGGER react ON es_aggregates;

-- In exception blocks, to any depth, and in loops; what is caught is undone.
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM es_execute('block', 'other', '["Kept"]');
			BEGIN
				PERFORM es_execute('block', 'other', '["Lost"]');
				RAISE division_by_zero;
			EXCEPTION WHEN division_by_zero THEN
				PERFORM es_execute('block', 'other', '["Handled"]');
			END;
			IF i = 2 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT * FROM history() WHERE key = 'block';

-- A procedure that commits between commands.
CREATE PROCEDURE by_steps()
LANGUAGE plpgsql
AS $$
BEGIN
	FOR i IN 1 .. 4 LOOP
		PERFORM es_execute('steps', 'plain');
		IF i % 2 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
END
$$;
CALL by_steps();
SELECT * FROM history() WHERE key = 'steps';
-- The function itself cannot end the transaction.
CREATE FUNCTION ending(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN COMMIT; RETURN NULL; END $$;
CREATE FUNCTION calling(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN CALL by_steps(); RETURN NULL; END $$;
\set VERBOSITY sqlstate
SELECT * FROM es_execute('steps', 'ending');
SELECT * FROM es_execute('steps', 'calling');
\set VERBOSITY default

-- As a part of larger statements.
WITH executed AS (SELECT * FROM es_execute('with', 'plain')) SELECT status, es_version('with') AS as_of_the_statement FROM executed;
CREATE TABLE outcomes AS SELECT n, e.* FROM generate_series(1, 3) AS n, es_execute('table', 'plain', to_jsonb(n)) AS e;
SELECT * FROM outcomes ORDER BY n;
SELECT (es_execute('list', 'plain')).version;
PREPARE command(text) AS SELECT * FROM es_execute($1, 'plain');
EXECUTE command('prepared-1');
EXECUTE command('prepared-1');
DEALLOCATE command;
SELECT count(*) FROM es_aggregates WHERE key IN ('with', 'table', 'list', 'prepared-1') AND version > 0;

RESET search_path;
SELECT * FROM es_check_store('t_execute_nested');
SELECT es_drop_store('t_execute_nested');
RESET ROLE;
DROP SCHEMA t_execute_nested_2;
DROP SCHEMA t_execute_nested CASCADE;
DROP ROLE regress_es_execute_nested;
