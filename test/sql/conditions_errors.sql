-- What a caller gets of a condition that fails: SQLSTATE, message, detail, hint and error fields.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_errors;
CREATE SCHEMA t_conditions_errors AUTHORIZATION regress_es_conditions_errors;

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

SET ROLE regress_es_conditions_errors;
SELECT es_create_store('t_conditions_errors');
SET eventstore.store = 't_conditions_errors';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["a"]}, {"type": "Paid", "tags": ["a", "b"]}, {"type": "Shipped", "tags": ["b"]}]', 0);

-- What psql shows.
\set SHOW_CONTEXT never
SELECT es_append_many('[{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["a"]}], "after": 1}]}]');

-- Every field: of a write, of a guard with a key, of one without, and of an event that the same call brings.
\x on
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 3, "conditions": [{"query": [{"tags": ["a"]}], "after": 2}, {"query": [{"tags": ["b"]}], "after": 2}]}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-1", "conditions": [{"query": [{"tags": ["a"]}]}]}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["a"]}]}]}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "order-2", "events": [{"type": "Placed", "tags": ["c"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["c"]}], "after": 3}]}]') $$);

-- All refusals of a call, and the code of the first, whatever comes first.
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[
	{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 3},
	{"conditions": [{"query": [{"tags": ["a"]}], "after": 1}]},
	{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 2},
	{"key": "order-9", "conditions": [{"query": [{"tags": ["b"]}], "after": 2}]},
	{"key": "order-1", "events": [{"type": "Back"}], "conditions": [{"query": [{"tags": ["b"]}], "after": 2}]}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[
	{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 2},
	{"conditions": [{"query": [{"tags": ["a"]}], "after": 1}]},
	{"conditions": [{"query": [{"tags": ["a"]}], "after": 2}]}]') $$);
SELECT * FROM pg_temp.refusal($$ SELECT * FROM es_append_many('[
	{"key": "order-2", "events": [{"type": "Placed", "tags": ["c"]}], "expected_version": 0},
	{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 2},
	{"conditions": [{"query": [{"tags": ["c"]}]}]}]') $$);
\x off

-- The same as rows: without a key there is no version.
SELECT * FROM es_try_append_many('[
	{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 3},
	{"conditions": [{"query": [{"tags": ["a"]}], "after": 1}]},
	{"key": "order-1", "conditions": [{"query": [{"tags": ["a"]}], "after": 1}]},
	{"conditions": [{"query": [{"tags": ["a"]}], "after": 2}]},
	{"key": "order-9", "events": [{"type": "Back"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["a"]}], "after": 1}]}]');

-- The detail is one line of JSON, whatever the type of the event contains.
SELECT es_append('odd-' || n, jsonb_build_array(jsonb_build_object('type', t, 'tags', ARRAY['odd:' || n])), 0)
FROM (VALUES (1, E'line\nbreak'), (2, E'quotes"'''), (3, E'back\\slash'), (4, E'tab\there'), (5, '%s %n %d'), (6, E'\x01\x1f\x7f')) AS types (n, t);
SELECT r.detail !~ E'\n' AS one_line, r.detail::jsonb #>> '{conflicts,0,type}' = e.type AS type_as_given, (r.detail::jsonb #>> '{conflicts,0,position}')::bigint = e.position AS same_position, r.code
FROM t_conditions_errors.es_events AS e,
	 LATERAL pg_temp.refusal(format('SELECT es_append_many(%L)', jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object(
		'query', jsonb_build_array(jsonb_build_object('tags', e.tags)), 'after', e.position - 1)))))) AS r
WHERE e.key LIKE 'odd-%' ORDER BY e.key;

-- A handler can catch the code by number, and read the facts from the detail.
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM es_append_many('[{"conditions": [{"query": [{"tags": ["b"]}], "after": 2}]}]');
EXCEPTION WHEN SQLSTATE 'VE004' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE WARNING '% at position % came after %', detail::jsonb #>> '{conflicts,0,type}',
		detail::jsonb #>> '{conflicts,0,position}', detail::jsonb #>> '{conflicts,0,after}';
END
$$;

SELECT key, version FROM t_conditions_errors.es_aggregates WHERE key LIKE 'order-%' ORDER BY key;
SELECT es_drop_store('t_conditions_errors');
RESET ROLE;
DROP SCHEMA t_conditions_errors;
DROP ROLE regress_es_conditions_errors;
