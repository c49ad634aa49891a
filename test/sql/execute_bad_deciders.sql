-- Which functions es_execute and es_execute_many take to decide, and which arguments of their own.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_bad_deciders;
CREATE ROLE regress_es_execute_bad_deciders_2;
GRANT regress_es_execute_bad_deciders_2 TO regress_es_execute_bad_deciders;
CREATE SCHEMA t_execute_bad_deciders AUTHORIZATION regress_es_execute_bad_deciders;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;

SET ROLE regress_es_execute_bad_deciders;
SELECT es_create_store('t_execute_bad_deciders');
SELECT es_grant('regress_es_execute_bad_deciders_2', 'writer', 't_execute_bad_deciders');
SET eventstore.store = 't_execute_bad_deciders';
SET search_path = t_execute_bad_deciders, public;

-- Functions of the expected form, and of others.
CREATE FUNCTION one(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "T"}]'::jsonb $$;
CREATE FUNCTION one_out(key text, version bigint, command jsonb, OUT events jsonb) LANGUAGE sql AS $$ SELECT '[{"type": "T"}]'::jsonb $$;
CREATE FUNCTION one_default(key text DEFAULT 'k', version bigint DEFAULT 7, command jsonb DEFAULT '1') RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "T"}]'::jsonb $$;
CREATE FUNCTION one_unnamed(text, bigint, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "T"}]'::jsonb $$;
CREATE FUNCTION many(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"key": "m", "events": [{"type": "T"}], "allow_create": true}]'::jsonb $$;
CREATE FUNCTION no_arguments() RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION four_arguments(key text, version bigint, command jsonb, more text DEFAULT '') RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION other_key(key varchar, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION other_version(key text, version integer, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION other_command(key text, version bigint, command json) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION returns_json(key text, version bigint, command jsonb) RETURNS json LANGUAGE sql AS $$ SELECT '[]'::json $$;
CREATE FUNCTION returns_text(key text, version bigint, command jsonb) RETURNS text LANGUAGE sql AS $$ SELECT '[]' $$;
CREATE FUNCTION returns_array(key text, version bigint, command jsonb) RETURNS jsonb[] LANGUAGE sql AS $$ SELECT '{}'::jsonb[] $$;
CREATE FUNCTION returns_set(key text, version bigint, command jsonb) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION returns_table(key text, version bigint, command jsonb) RETURNS TABLE (events jsonb) LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION returns_void(key text, version bigint, command jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE PROCEDURE a_procedure(key text, version bigint, command jsonb) LANGUAGE sql AS $$ SELECT $$;
CREATE AGGREGATE an_aggregate(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb);
CREATE DOMAIN events_domain AS jsonb;
CREATE FUNCTION returns_domain(key text, version bigint, command jsonb) RETURNS events_domain LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION many_set(command jsonb) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION many_variadic(VARIADIC commands jsonb[]) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
CREATE FUNCTION anything(anyelement, bigint, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;

SELECT name, pg_temp.refusal(format('SELECT es_execute(%L, %L)', 'k-1', name)) AS es_execute,
	   pg_temp.refusal(format('SELECT es_execute_many(%L, %L)', '{k-1}', name)) AS es_execute_many
FROM unnest(ARRAY['one', 'one_out', 'one_default', 'one_unnamed', 'many', 'no_arguments', 'four_arguments', 'other_key', 'other_version', 'other_command',
				  'returns_json', 'returns_text', 'returns_array', 'returns_set', 'returns_table', 'returns_void', 'returns_domain',
				  'a_procedure', 'an_aggregate', 'many_set', 'many_variadic', 'anything', 'missing', 't_execute_bad_deciders.one']) WITH ORDINALITY AS f (name, n)
ORDER BY n;
SELECT key, version FROM es_aggregates ORDER BY key;

-- No such function, by its number.
\set VERBOSITY sqlstate
SELECT * FROM es_execute('k-2', 0);
SELECT * FROM es_execute_many('{k-2}', 0);
SELECT * FROM es_execute('k-2', '-');
\set VERBOSITY default

-- One of several of a name is chosen by its full signature.
CREATE FUNCTION one(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
SELECT pg_temp.refusal($$SELECT es_execute('k-3', 'one')$$);
SELECT status, version FROM es_execute('k-3', 'one(text, bigint, jsonb)'::regprocedure);
SELECT status, version FROM es_execute_many('{k-3}', 'one(jsonb)'::regprocedure);

-- Who may not call the function may not have it called, whoever owns the store; and what the
-- caller may not append is not appended for him.
REVOKE EXECUTE ON FUNCTION one_out, many FROM PUBLIC;
SET ROLE regress_es_execute_bad_deciders_2;
SELECT pg_temp.refusal($$SELECT es_execute('k-4', 'one_out')$$) AS es_execute, pg_temp.refusal($$SELECT es_execute_many('{k-4}', 'many')$$) AS es_execute_many,
	   pg_temp.refusal($$SELECT es_execute('k-4', 'one_unnamed')$$) AS granted;
SET ROLE regress_es_execute_bad_deciders;

-- A function that was replaced or dropped between two calls.
CREATE OR REPLACE FUNCTION one_unnamed(text, bigint, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "Other"}]'::jsonb $$;
SELECT status, version FROM es_execute('k-4', 'one_unnamed');
SELECT type FROM es_read('k-4');
PREPARE call AS SELECT status, version FROM es_execute('k-4', 'one_unnamed');
EXECUTE call;
DROP FUNCTION one_unnamed;
SELECT pg_temp.refusal('EXECUTE call') LIKE '42883 / function with OID % does not exist' AS dropped;
DEALLOCATE call;

-- The other arguments.
SELECT label, pg_temp.refusal('SELECT * FROM ' || call) AS refusal
FROM (VALUES
	(1, 'key: null', $$es_execute(NULL, 'one_out')$$),
	(2, 'key: empty', $$es_execute('', 'one_out')$$),
	(3, 'key: too long', $$es_execute(repeat('k', 513), 'one_out')$$),
	(4, 'decide: null', $$es_execute('k-5', NULL)$$),
	(5, 'max_retries: null', $$es_execute('k-5', 'one_out', max_retries => NULL)$$),
	(6, 'max_retries: negative', $$es_execute('k-5', 'one_out', max_retries => -1)$$),
	(7, 'request_id: empty', $$es_execute('k-5', 'one_out', request_id => '')$$),
	(8, 'request_id: too long', $$es_execute('k-5', 'one_out', request_id => repeat('r', 256))$$),
	(9, 'keys: null', $$es_execute_many(NULL, 'many')$$),
	(10, 'keys: contains null', $$es_execute_many('{k-5,null}', 'many')$$),
	(11, 'keys: contains an empty one', $$es_execute_many('{k-5,""}', 'many')$$),
	(12, 'keys: contains one too long', $$es_execute_many(ARRAY['k-5', repeat('k', 513)], 'many')$$),
	(13, 'decide: null', $$es_execute_many('{k-5}', NULL)$$),
	(14, 'max_retries: null', $$es_execute_many('{k-5}', 'many', max_retries => NULL)$$),
	(15, 'max_retries: negative', $$es_execute_many('{k-5}', 'many', max_retries => -2147483648)$$),
	(16, 'request_id: empty', $$es_execute_many('{k-5}', 'many', request_id => '')$$),
	(17, 'request_id: too long', $$es_execute_many('{k-5}', 'many', request_id => repeat('r', 256))$$)
) AS c (n, label, call)
ORDER BY n;

-- At their limits.
SELECT status, version FROM es_execute(repeat('k', 512), 'one_out', max_retries => 2147483647, request_id => repeat('r', 255));
SELECT status, version FROM es_execute(repeat('k', 512), 'one_out', max_retries => 0, request_id => repeat('r', 255));
SELECT status, version FROM es_execute_many('{}', 'many');
SELECT status, version FROM es_execute_many('{m,x,m}', 'many');
SELECT status, version FROM es_execute_many('{{m,x},{y,z}}', 'many', request_id => 'r-1');
SELECT status, version FROM es_execute_many('{{m,x},{y,z}}', 'many', request_id => 'r-1');

RESET search_path;
SELECT es_drop_store('t_execute_bad_deciders');
REVOKE ALL ON SCHEMA t_execute_bad_deciders FROM regress_es_execute_bad_deciders_2;
RESET ROLE;
DROP SCHEMA t_execute_bad_deciders CASCADE;
DROP ROLE regress_es_execute_bad_deciders, regress_es_execute_bad_deciders_2;
