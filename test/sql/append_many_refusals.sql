-- A refused es_append_many reports every refusal at once and writes nothing.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_many_refusals;
CREATE SCHEMA t_append_many_refusals AUTHORIZATION regress_es_append_many_refusals;

CREATE FUNCTION pg_temp.refusal(writes jsonb, request_id text DEFAULT NULL, OUT code text, OUT message text, OUT "constraint" text, OUT conflicts text)
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append_many(writes, request_id);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		"constraint" = CONSTRAINT_NAME, conflicts = PG_EXCEPTION_DETAIL;
	conflicts := (SELECT string_agg(c::text, E'\n' ORDER BY n)
				  FROM jsonb_array_elements(conflicts::jsonb -> 'conflicts') WITH ORDINALITY AS c (c, n));
END
$$;

SET ROLE regress_es_append_many_refusals;
SELECT es_create_store('t_append_many_refusals');
SET eventstore.store = 't_append_many_refusals';

SELECT es_append('a-1', '[{"type": "T"}, {"type": "T"}, {"type": "T"}]', 0);
SELECT es_append('b-1', '[{"type": "T"}]', 0);
SELECT es_append('c-1', '[{"type": "T"}]', 0, request_id => 'r-1');

-- As rows: every refusal with the actual version; what would have passed is not written.
SELECT * FROM es_try_append_many('[
	{"key": "a-1", "events": [{"type": "U"}], "expected_version": 3},
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 2},
	{"key": "z-1", "events": [{"type": "U"}]},
	{"key": "z-2", "events": [{"type": "U"}], "allow_create": true},
	{"key": "z-3", "events": [{"type": "U"}], "expected_version": 7},
	{"key": "b-1", "expected_version": 1},
	{"key": "a-1", "expected_version": 4},
	{"key": "z-4"}]');

-- As an error: the code, message and constraint of the first refused entry, and all of them in the detail.
\pset format unaligned
SELECT * FROM pg_temp.refusal('[
	{"key": "a-1", "events": [{"type": "U"}], "expected_version": 3},
	{"key": "z-1", "events": [{"type": "U"}]},
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 2},
	{"key": "z-3", "expected_version": 7},
	{"key": "z-4"}]');
SELECT * FROM pg_temp.refusal('[
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 2},
	{"key": "z-1", "events": [{"type": "U"}]}]');
SELECT * FROM pg_temp.refusal('[{"key": "z-4"}, {"key": "b-1", "expected_version": 0}]');

-- The same key refused twice is reported twice.
SELECT * FROM pg_temp.refusal('[
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 2},
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 0}]');

-- A request id that was used for something else is one of the refusals.
SELECT * FROM pg_temp.refusal('[
	{"key": "c-1", "events": [{"type": "U"}], "expected_version": 1}]', 'r-1');

-- What psql shows.
\pset format aligned
\set SHOW_CONTEXT never
SELECT * FROM es_append_many('[
	{"key": "a-1", "events": [{"type": "U"}], "expected_version": 3},
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 2},
	{"key": "z-1", "events": [{"type": "U"}]}]');

-- Bad input is an error and no row, whatever else would have been refused.
\set VERBOSITY sqlstate
SELECT * FROM es_try_append_many('[
	{"key": "b-1", "events": [{"type": "U"}], "expected_version": 2},
	{"key": "a-1", "events": [{"type": ""}]}]');
\set VERBOSITY default

-- Nothing was written.
SELECT key, version FROM t_append_many_refusals.es_aggregates ORDER BY key;
SELECT key, max(version), count(*) FROM t_append_many_refusals.es_events GROUP BY key ORDER BY key;

SELECT es_drop_store('t_append_many_refusals');
RESET ROLE;
DROP SCHEMA t_append_many_refusals;
DROP ROLE regress_es_append_many_refusals;
