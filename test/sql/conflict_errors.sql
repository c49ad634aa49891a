-- What a caller gets of a refused append: SQLSTATE, message, detail, hint and error fields.
SET client_min_messages = warning;
CREATE ROLE regress_es_conflict_errors;
CREATE SCHEMA t_conflict_errors AUTHORIZATION regress_es_conflict_errors;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT detail text, OUT hint text,
								OUT "schema" text, OUT "table" text, OUT "constraint" text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "constraint" = CONSTRAINT_NAME;
END
$$;

SET ROLE regress_es_conflict_errors;
SELECT es_create_store('t_conflict_errors');
SET eventstore.store = 't_conflict_errors';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}, {"type": "C"}, {"type": "D"}, {"type": "E"}]', 0, request_id => 'r-1');
SELECT es_append('order-2', '[{"type": "A"}]', 0);

-- What psql shows.
\set SHOW_CONTEXT never
SELECT es_append('order-1', '[{"type": "F"}]', 4);
SELECT es_append('order-9', '[{"type": "F"}]');
SELECT es_append('order-1', '[{"type": "F"}]', 5, request_id => 'r-1');

-- Every field of each error.
\x on
SELECT * FROM pg_temp.refusal($$ SELECT es_append('order-1', '[{"type": "F"}]', 4) $$);
SELECT * FROM pg_temp.refusal($$ SELECT es_append('order-1', '[{"type": "F"}]', 6) $$);
SELECT * FROM pg_temp.refusal($$ SELECT es_append('order-1', '[{"type": "F"}]', 0) $$);
SELECT * FROM pg_temp.refusal($$ SELECT es_append('order-9', '[{"type": "F"}]', 4, true) $$);
SELECT * FROM pg_temp.refusal($$ SELECT es_append('order-9', '[{"type": "F"}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT es_append('order-1', '[{"type": "F"}]', 5, request_id => 'r-1') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-2", "events": [{"type": "B"}], "expected_version": 2}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-9"}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-2", "expected_version": 0}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "B"}]}]', 'r-1') $$);
\x off

-- The detail is one line of JSON, whatever the key contains.
SELECT detail !~ E'\n' AS one_line, detail::jsonb #>> '{conflicts,0,key}' = k AS key_as_given, code, message
FROM (VALUES (1, E'line\nbreak-1'), (2, E'quotes"''-1'), (3, E'back\\slash-1'), (4, E'tab\there-1'), (5, '%s %n %d-1'),
			 (6, E'\x01\x1f\x7f-1')) AS keys (n, k),
	 LATERAL pg_temp.refusal(format('SELECT es_append(%L, %L, 1)', k, '[{"type": "A"}]'))
ORDER BY n;

-- A handler can catch the codes by number, and read the facts from the detail.
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM es_append('order-1', '[{"type": "F"}]', 4);
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE WARNING 'expected % of %, but it is at %', detail::jsonb #>> '{conflicts,0,expected}',
		detail::jsonb #>> '{conflicts,0,key}', detail::jsonb #>> '{conflicts,0,actual}';
END
$$;

-- The error fields name the store that was used.
RESET ROLE;
CREATE SCHEMA "t_conflict_errors ""2""" AUTHORIZATION regress_es_conflict_errors;
SET ROLE regress_es_conflict_errors;
SELECT es_create_store('t_conflict_errors "2"');
SET eventstore.store = 't_conflict_errors "2"';
SELECT code, "schema", "table", "constraint" FROM pg_temp.refusal($$ SELECT es_append('order-1', '[{"type": "F"}]', 4) $$);
SELECT es_drop_store('t_conflict_errors "2"');

SELECT es_drop_store('t_conflict_errors');
RESET ROLE;
DROP SCHEMA t_conflict_errors, "t_conflict_errors ""2""";
DROP ROLE regress_es_conflict_errors;
