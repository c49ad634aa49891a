-- A discarded attempt leaves nothing behind; the one that counts leaves everything once; when no
-- attempt is left, the error is that of the conflict.
-- The conflicts are of the function's own making: its first calls append to the aggregate
-- themselves, and with them that is undone.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_retries;
CREATE SCHEMA t_execute_retries AUTHORIZATION regress_es_execute_retries;
SET ROLE regress_es_execute_retries;
SELECT es_create_store('t_execute_retries');
SET eventstore.store = 't_execute_retries';
SET search_path = t_execute_retries, public;

-- Calls are counted, whatever is undone; the notes tell which calls have counted.
CREATE SEQUENCE calls;
CREATE TABLE notes (call bigint, version bigint);
CREATE FUNCTION meddle(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	call bigint := nextval('calls');
BEGIN
	INSERT INTO notes VALUES (call, version);
	IF call <= (command->>'conflicts')::bigint THEN
		PERFORM es_append(key, '[{"type": "Meddled"}]', allow_create => true);
		PERFORM es_append('other', '[{"type": "Meddled"}]', allow_create => true);
		PERFORM set_config('my.setting', 'call ' || call, command->>'local' = 'true');
		CREATE TABLE leftover ();
	END IF;
	IF command ? 'nothing' THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_array(jsonb_build_object('type', 'Decided', 'data', call));
END
$$;
CREATE PROCEDURE start()
LANGUAGE sql
AS $$ SELECT setval('calls', 1, false); DELETE FROM notes; SELECT set_config('my.setting', 'none', false) $$;

-- No conflict, one, and as many as there may be.
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 0}');
SELECT * FROM notes;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 1}');
SELECT * FROM notes;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 3}');
SELECT * FROM notes;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 10}', max_retries => 10);
SELECT * FROM notes;
SELECT current_setting('my.setting') AS setting, to_regclass('leftover') IS NULL AS undone;
SELECT version, type, data FROM es_read('a') ORDER BY version;
SELECT es_version('other');

-- The same for an aggregate that is missing: it is so again at each attempt.
CALL start();
SELECT * FROM es_execute('b', 'meddle', '{"conflicts": 2}');
SELECT * FROM notes;
SELECT version, type, data FROM es_read('b') ORDER BY version;

-- One conflict too many: the error has the facts of the last attempt, and nothing is left but its count.
\set SHOW_CONTEXT never
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 4}');
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 1}', 0);
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;
CALL start();
SELECT * FROM es_execute('c', 'meddle', '{"conflicts": 2}', max_retries => 1);
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;
SELECT current_setting('my.setting') AS setting, to_regclass('leftover') IS NULL AS undone, es_version('a') AS a, es_version('c') AS c, es_version('other') AS other;
DO $$
DECLARE
	constraint_field text; table_field text; schema_field text;
BEGIN
	PERFORM es_execute('a', 'meddle', '{"conflicts": 99}');
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	GET STACKED DIAGNOSTICS constraint_field = CONSTRAINT_NAME, table_field = TABLE_NAME, schema_field = SCHEMA_NAME;
	RAISE WARNING '% % %', schema_field, table_field, constraint_field;
END
$$;
\set SHOW_CONTEXT errors

-- The one that appends nothing is no attempt to append: its writes stay, whatever it has appended itself.
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 1, "nothing": true}');
SELECT * FROM notes;
SELECT version, type, data FROM es_read('a', 5) ORDER BY version;
SELECT current_setting('my.setting') AS setting, to_regclass('leftover') IS NULL AS undone;
DROP TABLE leftover;

-- A setting made for the transaction is undone with its attempt, and else stays for the transaction.
BEGIN;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 1, "local": true}');
SELECT current_setting('my.setting') AS setting;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 1, "local": true, "nothing": true}');
SELECT current_setting('my.setting') AS setting;
COMMIT;
SELECT current_setting('my.setting') AS setting;
DROP TABLE leftover;

-- In a transaction: a rollback takes the successful attempt too, to a savepoint and altogether.
BEGIN;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 0}');
SAVEPOINT s;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 2}');
SELECT es_version('a');
ROLLBACK TO s;
SELECT es_version('a'), (SELECT count(*) FROM notes) AS notes;
CALL start();
SELECT * FROM es_execute('a', 'meddle', '{"conflicts": 2}');
SELECT es_version('a'), (SELECT count(*) FROM notes) AS notes;
ROLLBACK;
SELECT es_version('a');

-- A command with a request id is tried again in the same way, and counts once.
CALL start();
SELECT * FROM es_execute('d', 'meddle', '{"conflicts": 2}', request_id => 'r-1');
SELECT * FROM es_execute('d', 'meddle', '{"conflicts": 9}', request_id => 'r-1');
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;
SELECT version, type, data, request_id FROM es_events WHERE key = 'd' ORDER BY version;

-- es_execute_many: a wrong expectation, and a condition that fails, are conflicts; nothing else is.
CREATE FUNCTION learn(command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	call bigint := nextval('calls');
BEGIN
	INSERT INTO notes VALUES (call, 0);
	RETURN coalesce(command->call::integer - 1, command->-1);
END
$$;
CALL start();
SELECT key, status, version FROM es_execute_many('{a}', 'learn', '[[{"key": "a", "events": [{"type": "T"}], "expected_version": 77}], [{"key": "e", "events": [{"type": "T"}], "expected_version": 0}]]');
SELECT * FROM notes;
CALL start();
SELECT es_append('f', '[{"type": "T", "tags": ["t:1"]}]', 0);
SELECT max(position) AS position FROM es_events \gset
SELECT key, status, version FROM es_execute_many('{f}', 'learn', ('[
	[{"key": "f", "events": [{"type": "T"}], "expected_version": 1, "conditions": [{"query": [{"tags": ["t:1"]}], "after": 0}]}],
	[{"conditions": [{"query": [{"tags": ["t:1"]}], "after": 0}]}, {"key": "f", "events": [{"type": "T"}]}],
	[{"key": "f", "expected_version": 1}, {"key": "g", "events": [{"type": "T"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t:1"]}], "after": ' || :position || '}]}]]')::jsonb);
SELECT * FROM notes;

-- The last conflict is reported in full.
\set SHOW_CONTEXT never
CALL start();
SELECT key, status, version FROM es_execute_many('{a,f}', 'learn', '[[{"key": "h", "expected_version": 5}],
	[{"key": "f", "events": [{"type": "T"}], "expected_version": 0}, {"key": "h", "events": [{"type": "T"}]}, {"key": "a", "events": [{"type": "T"}], "expected_version": 1}]]', 1);
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;
CALL start();
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM es_execute_many('{f}', 'learn', '[[{"conditions": [{"query": [{"tags": ["t:1"], "types": ["T"]}], "after": 0}]}]]', 2);
EXCEPTION WHEN SQLSTATE 'VE004' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE WARNING '%', (detail::jsonb #> '{conflicts,0}') - 'position';
END
$$;
SELECT last_value AS calls FROM calls;

-- A missing or closed aggregate, or a reused request id, is no conflict that deciding again would mend.
CALL start();
SELECT key, status, version FROM es_execute_many('{a}', 'learn', '[[{"key": "missing", "events": [{"type": "T"}]}], []]');
SELECT key, status, version FROM es_execute_many('{a}', 'learn', '[[], [{"key": "missing"}], []]');
SELECT last_value AS calls, (SELECT count(*) FROM notes) AS notes FROM calls;
-- But what comes first decides.
CALL start();
SELECT key, status, version FROM es_execute_many('{a}', 'learn', '[[{"key": "a", "expected_version": 77}, {"key": "missing"}], [{"key": "i", "events": [{"type": "T"}], "expected_version": 0}]]');
SELECT key, status, version FROM es_execute_many('{a}', 'learn', '[[], [], [{"key": "missing"}, {"key": "a", "expected_version": 77}], []]');
SELECT last_value AS calls FROM calls;
\set SHOW_CONTEXT errors

SELECT key, version FROM es_aggregates ORDER BY key;
RESET search_path;
RESET my.setting;
SELECT * FROM es_check_store('t_execute_retries');
SELECT es_drop_store('t_execute_retries');
RESET ROLE;
DROP SCHEMA t_execute_retries CASCADE;
DROP ROLE regress_es_execute_retries;
