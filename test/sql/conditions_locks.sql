-- Which locks a call takes for its tags, and how long it holds them; no input takes many.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_locks;
CREATE SCHEMA t_conditions_locks AUTHORIZATION regress_es_conditions_locks;
SET ROLE regress_es_conditions_locks;
SELECT es_create_store('t_conditions_locks');
SET eventstore.store = 't_conditions_locks';

-- The locks of this session on tags, which have a class of their own, and on their root.
CREATE VIEW pg_temp.locks AS
	SELECT CASE objsubid WHEN 26018 THEN 'tag' ELSE 'root' END AS lock, mode, count(*) AS n
	FROM pg_locks
	WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid IN (26018, 26022)
	GROUP BY lock, mode ORDER BY lock, mode;

-- Without tags, none.
BEGIN;
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid", "tags": []}]', 0);
SELECT status FROM es_append_many('[{"key": "order-1", "expected_version": 2}]');
SELECT * FROM pg_temp.locks;
COMMIT;

-- A writer: each tag once, and the intention on the root.
BEGIN;
SELECT es_append('order-2', '[{"type": "Placed", "tags": ["a", "b", "a"]}, {"type": "Paid", "tags": ["b", "c"]}]', 0);
SELECT * FROM pg_temp.locks;
SELECT es_append('order-2', '[{"type": "Shipped", "tags": ["a", "d"]}]', 2);
SELECT * FROM pg_temp.locks;
COMMIT;
SELECT * FROM pg_temp.locks;

-- A condition: the first tag of each item, to the end of the transaction.
BEGIN;
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["a", "b", "c"]}, {"tags": ["x"]}], "after": 5}, {"query": [{"tags": ["x", "y"]}, {"tags": ["w"]}]}]}]');
SELECT * FROM pg_temp.locks;
COMMIT;
SELECT * FROM pg_temp.locks;

-- What a call both writes and asks for, it locks once; what the transaction holds already, a second time in its mode.
BEGIN;
SELECT status FROM es_append_many('[{"key": "order-3", "events": [{"type": "Placed", "tags": ["e", "f"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["e"]}]}]}]');
SELECT * FROM pg_temp.locks;
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["f"], "types": ["Paid"]}]}]}]');
SELECT * FROM pg_temp.locks;
COMMIT;

-- A condition that failed under the lock keeps it, unless the error is rolled back to a savepoint.
BEGIN;
SELECT status FROM es_try_append_many('[{"conditions": [{"query": [{"tags": ["a"]}]}]}]');
SELECT * FROM pg_temp.locks;
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT status FROM es_try_append_many('[{"conditions": [{"query": [{"tags": ["a"]}]}]}]');
SELECT es_append('order-4', '[{"type": "Placed", "tags": ["g"]}]', 0);
ROLLBACK TO s;
SELECT * FROM pg_temp.locks;
SELECT es_append('order-4', '[{"type": "Placed", "tags": ["g"]}]', 0);
SELECT * FROM pg_temp.locks;
COMMIT;
DO $$
BEGIN
	PERFORM es_append_many('[{"conditions": [{"query": [{"tags": ["a"]}]}]}]');
EXCEPTION WHEN SQLSTATE 'VE004' THEN
	RAISE WARNING '% locks', (SELECT count(*) FROM pg_temp.locks);
END
$$;

-- What is refused at first sight takes none.
BEGIN;
SELECT status FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Back", "tags": ["a"]}], "expected_version": 1}, {"conditions": [{"query": [{"tags": ["a"]}]}]}]');
SELECT status FROM es_append_each('[{"key": "order-1", "events": [{"type": "Back", "tags": ["a"]}], "expected_version": 1, "conditions": [{"query": [{"tags": ["a"]}]}]}]');
SELECT * FROM pg_temp.locks;
COMMIT;

-- es_query: none that stays, and no transaction id; nor does it give up what the transaction held before.
BEGIN;
SELECT count(*) FROM es_query('[{"tags": ["a", "b"]}, {"tags": ["z"]}]');
SELECT * FROM pg_temp.locks;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_id;
SELECT status FROM es_append_many('[{"key": "order-5", "events": [{"type": "Placed", "tags": ["h"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["z"]}]}]}]');
SELECT count(*) FROM es_query('[{"tags": ["a"]}, {"tags": ["h"]}, {"tags": ["z"]}]');
SELECT * FROM pg_temp.locks;
COMMIT;

-- Around the number of tags from which the root stands for them: each call in a transaction of its own.
CREATE FUNCTION pg_temp.events(n integer) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_array(jsonb_build_object('type', 'T', 'tags', (SELECT jsonb_agg('m-' || i) FROM generate_series(1, n) AS i))) $$;
CREATE FUNCTION pg_temp.items(n integer) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_agg(jsonb_build_object('tags', ARRAY['m-' || i])) FROM generate_series(1, n) AS i $$;
CREATE FUNCTION pg_temp.conditions(query jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_array(jsonb_build_object('query', query)) $$;
CREATE FUNCTION pg_temp.held(what text, n integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	CASE what
		WHEN 'written' THEN
			PERFORM es_append('order-1', pg_temp.events(n), 2);
		WHEN 'asked for' THEN
			PERFORM es_append_many(jsonb_build_array(jsonb_build_object('conditions', pg_temp.conditions(pg_temp.items(n)))));
		WHEN 'one asked for' THEN
			PERFORM es_append_many(jsonb_build_array(jsonb_build_object('key', 'order-1', 'events', pg_temp.events(n - 1), 'conditions', pg_temp.conditions('[{"tags": ["one"]}]'))));
		WHEN 'read' THEN
			PERFORM es_query(pg_temp.items(n));
		WHEN 'tags of one item' THEN
			PERFORM es_append_many(jsonb_build_array(jsonb_build_object('conditions', pg_temp.conditions(jsonb_build_array(jsonb_build_object('tags', pg_temp.events(n) #> '{0,tags}'))))));
		WHEN 'the same tag' THEN
			PERFORM es_append_many(jsonb_build_array(jsonb_build_object('conditions', pg_temp.conditions((SELECT jsonb_agg('{"tags": ["m"]}'::jsonb) FROM generate_series(1, n))))));
	END CASE;
	SELECT string_agg(concat_ws(' ', l.n, lock, mode), ', ') INTO result FROM pg_temp.locks AS l;
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
	RETURN result;
END
$$;
\pset format unaligned
\pset tuples_only on
SELECT format('SELECT %L, %s, pg_temp.held(%L, %s)', what, n, what, n)
FROM (VALUES (1, 'written'), (2, 'asked for'), (3, 'one asked for'), (4, 'read'), (5, 'tags of one item'), (6, 'the same tag')) AS w (m, what), (VALUES (2), (64), (65), (1000)) AS v (n)
ORDER BY m, n \gexec
\pset tuples_only off
\pset format aligned

-- A long transaction of many calls: once it holds as many as a transaction may, the root.
BEGIN;
SELECT count(es_append('import-' || n, jsonb_build_array(jsonb_build_object('type', 'T', 'tags', ARRAY['i-' || n])), 0)) FROM generate_series(1, 1000) AS n;
SELECT lock, mode, CASE lock WHEN 'tag' THEN n <= current_setting('max_locks_per_transaction')::bigint ELSE n = 1 END AS few FROM pg_temp.locks;
COMMIT;
BEGIN;
SELECT count(status) FROM generate_series(1, 1000) AS n, LATERAL es_append_many(jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', ARRAY['j-' || n]))))))) AS r;
SELECT lock, mode, CASE lock WHEN 'tag' THEN n <= current_setting('max_locks_per_transaction')::bigint ELSE n = 1 END AS few FROM pg_temp.locks;
COMMIT;

-- es_query over and over uses up nothing.
BEGIN;
SELECT count(*) FROM generate_series(1, 1000) AS n, LATERAL es_query(jsonb_build_array(jsonb_build_object('tags', ARRAY['k-' || n]), '{"tags": ["k"]}'::jsonb)) AS r;
SELECT es_append('last-1', '[{"type": "T", "tags": ["k"]}]', 0);
SELECT * FROM pg_temp.locks;
COMMIT;

DROP VIEW pg_temp.locks CASCADE;
DROP FUNCTION pg_temp.items, pg_temp.conditions, pg_temp.events, pg_temp.held;
SELECT es_drop_store('t_conditions_locks');
RESET ROLE;
DROP SCHEMA t_conditions_locks;
DROP ROLE regress_es_conditions_locks;
