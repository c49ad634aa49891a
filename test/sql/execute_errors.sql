-- An error of the deciding function passes through as it is, at once, and takes with it what the
-- attempt has done.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_errors;
CREATE SCHEMA t_execute_errors AUTHORIZATION regress_es_execute_errors;
SET ROLE regress_es_execute_errors;
SELECT es_create_store('t_execute_errors');
SET eventstore.store = 't_execute_errors';
SET search_path = t_execute_errors, public;
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

-- Each call is counted, also if it fails, and leaves a row, if it does not.
CREATE SEQUENCE calls;
CREATE TABLE notes (note text);
CREATE FUNCTION refuse(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO notes VALUES ('call ' || nextval('calls'));
	PERFORM es_append('audit', '[{"type": "Refused"}]', allow_create => true);
	RAISE EXCEPTION USING
		ERRCODE = command->>'code', MESSAGE = 'order is full', DETAIL = 'It has 10 lines.', HINT = 'Place another one.',
		SCHEMA = 'a schema', TABLE = 'a table', COLUMN = 'a column', CONSTRAINT = 'a rule', DATATYPE = 'a type';
END
$$;
CREATE FUNCTION refuse_many(command jsonb)
RETURNS jsonb
LANGUAGE sql
AS $$ SELECT refuse('', 0, command) $$;

-- All the fields of the error that a call raises.
CREATE FUNCTION error_of(call text)
RETURNS TABLE (field text, value text)
LANGUAGE plpgsql
AS $$
DECLARE
	message text; detail text; hint text; context text; schema_field text; table_field text; column_field text; constraint_field text; type_field text;
BEGIN
	EXECUTE call;
EXCEPTION WHEN query_canceled OR OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT,
		schema_field = SCHEMA_NAME, table_field = TABLE_NAME, column_field = COLUMN_NAME, constraint_field = CONSTRAINT_NAME, type_field = PG_DATATYPE_NAME;
	RETURN QUERY VALUES ('code', SQLSTATE), ('message', message), ('detail', detail), ('hint', hint), ('schema', schema_field), ('table', table_field),
		('column', column_field), ('constraint', constraint_field), ('type', type_field), ('context', context);
END
$$;

-- Any code of its own: as if the function had been called directly.
SELECT * FROM error_of($$SELECT * FROM es_execute('order-1', 'refuse', '{"code": "OR001"}')$$);
SELECT code, (SELECT string_agg(value, '|') FROM (SELECT * FROM error_of(format('SELECT * FROM es_execute(%L, %L, %L)', 'order-1', 'refuse', command)) WHERE field <> 'context') AS f)
		   = (SELECT string_agg(value, '|') FROM (SELECT * FROM error_of(format('SELECT refuse(%L, 1, %L)', 'order-1', command)) WHERE field <> 'context') AS f) AS untouched,
		   (SELECT string_agg(value, '|') FROM (SELECT * FROM error_of(format('SELECT * FROM es_execute_many(%L, %L, %L)', '{order-1,order-2}', 'refuse_many', command)) WHERE field <> 'context') AS f)
		   = (SELECT string_agg(value, '|') FROM (SELECT * FROM error_of(format('SELECT refuse_many(%L)', command)) WHERE field <> 'context') AS f) AS untouched_in_many,
		   (SELECT string_agg(value, '|') FROM (SELECT * FROM error_of(format('SELECT * FROM es_execute(%L, %L, %L, request_id => %L)', 'order-1', 'refuse', command, 'r-1')) WHERE field <> 'context') AS f)
		   = (SELECT string_agg(value, '|') FROM (SELECT * FROM error_of(format('SELECT refuse(%L, 1, %L)', 'order-1', command)) WHERE field <> 'context') AS f) AS untouched_with_a_request
-- Those that look like a conflict, too: the function's VE001 is not ours, and not tried again.
FROM unnest(ARRAY['OR001', 'P0001', '22023', '40001', '40P01', '55P03', '57014', 'VE001', 'VE002', 'VE003', 'VE004', 'VE005', 'XX000', '00001']) WITH ORDINALITY AS c (code, n),
	 LATERAL (SELECT jsonb_build_object('code', code) AS command) AS j
ORDER BY n;

-- Each of them was called once (and once directly), and has left nothing.
SELECT last_value = 1 + 6 * 14 AS called_once FROM calls;
SELECT count(*) AS notes FROM notes;
SELECT key, version FROM es_aggregates ORDER BY key;

-- The context names the way to the error: the function, then whoever called.
CREATE FUNCTION caller()
RETURNS void
LANGUAGE plpgsql
AS $$ BEGIN PERFORM es_execute('order-1', 'refuse', '{"code": "OR001"}'); END $$;
SELECT value FROM error_of('SELECT caller()') WHERE field = 'context';
\set SHOW_CONTEXT always
SELECT es_execute('order-1', 'refuse', '{"code": "OR001"}');
\set SHOW_CONTEXT errors

-- A real conflict inside the function, with its facts.
CREATE FUNCTION stale(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM nextval('calls');
	PERFORM es_append('order-1', '[{"type": "Paid"}]', 7);
	RETURN NULL;
END
$$;
SELECT setval('calls', 1, false);
\set SHOW_CONTEXT never
SELECT * FROM es_execute('order-2', 'stale');
SELECT last_value FROM calls;

-- Errors of the server: of arithmetic, of a constraint, of a syntax error in the function's text.
ALTER TABLE notes ADD CONSTRAINT short CHECK (length(note) < 10);
CREATE FUNCTION fail(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	IF command = '"divide"' THEN
		RETURN to_jsonb(1 / version);
	ELSIF command = '"check"' THEN
		INSERT INTO notes VALUES ('a note that is too long');
	ELSIF command = '"syntax"' THEN
		EXECUTE 'SELEC 1';
	ELSIF command = '"cast"' THEN
		RETURN 'no json';
	END IF;
END
$$;
SELECT * FROM es_execute('order-2', 'fail', '"divide"');
SELECT * FROM es_execute('order-2', 'fail', '"check"');
SELECT * FROM es_execute('order-2', 'fail', '"syntax"');
SELECT * FROM es_execute('order-2', 'fail', '"cast"');
SELECT * FROM es_execute('order-2', 'fail', '"no return"');
\set SHOW_CONTEXT errors

-- The function handles its own errors: none of es_execute's business.
CREATE FUNCTION careful(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	BEGIN
		INSERT INTO notes VALUES ('lost');
		PERFORM refuse(key, version, '{"code": "OR001"}');
	EXCEPTION WHEN SQLSTATE 'OR001' THEN
		INSERT INTO notes VALUES ('kept');
	END;
	RETURN '[{"type": "Careful"}]';
END
$$;
SELECT * FROM es_execute('order-2', 'careful');
SELECT * FROM notes;

-- The caller handles the error, and goes on in the same transaction.
DO $$
DECLARE
	n integer := 0;
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM es_execute('order-2', CASE i WHEN 2 THEN 'careful' ELSE 'refuse' END::regproc, '{"code": "OR001"}');
		EXCEPTION WHEN SQLSTATE 'OR001' THEN
			n := n + 1;
		END;
	END LOOP;
	ASSERT n = 2, n;
	ASSERT es_version('order-2') = 2;
END
$$;
BEGIN;
SAVEPOINT s;
\set VERBOSITY sqlstate
SELECT * FROM es_execute('order-2', 'refuse', '{"code": "OR002"}');
SELECT * FROM es_execute('order-2', 'careful');
\set VERBOSITY default
ROLLBACK TO s;
SELECT * FROM es_execute('order-2', 'careful');
COMMIT;
SELECT note, count(*) FROM notes GROUP BY note;
SELECT key, version FROM es_aggregates ORDER BY key;

RESET search_path;
SELECT * FROM es_check_store('t_execute_errors');
SELECT es_drop_store('t_execute_errors');
RESET ROLE;
DROP SCHEMA t_execute_errors CASCADE;
DROP ROLE regress_es_execute_errors;
