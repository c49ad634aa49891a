-- What an attempt has locked is given up with it, and does not count for the next: the last one locks its own tags, not all.
CREATE SCHEMA t_execute_locks;
SET search_path = t_execute_locks, public;
SELECT es_create_store('t_execute_locks');
SELECT es_append('a', '[{"type": "opened"}]', 0);
CREATE SEQUENCE calls;
CREATE FUNCTION decide(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	v bigint := es_version('a');
BEGIN
	IF nextval('calls') <= command::bigint THEN
		PERFORM es_append('a', '[{"type": "undone"}]');
	END IF;
	RETURN jsonb_build_array(
		jsonb_build_object('key', 'a', 'expected_version', v, 'events',
			jsonb_build_array(jsonb_build_object('type', 'T', 'tags', (SELECT jsonb_agg('t' || n) FROM generate_series(1, 40) AS n)))),
		'{"conditions": [{"query": [{"tags": ["never"]}]}]}'::jsonb);
END $$;

CREATE VIEW locks AS
SELECT to_hex(objsubid::integer) AS class, mode, count(*) FROM pg_locks
WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid IN (x'65A0'::integer, x'65A1'::integer, x'65A2'::integer, x'65A6'::integer)
GROUP BY objsubid, mode ORDER BY objsubid, mode;

-- At once, and after three attempts.
BEGIN;
SELECT key, status, version FROM es_execute_many('{a}', 'decide', '0');
SELECT * FROM locks;
ROLLBACK;
SELECT setval('calls', 1, false);
BEGIN;
SELECT key, status, version FROM es_execute_many('{a}', 'decide', '3');
SELECT * FROM locks;
ROLLBACK;

-- A guard on a key that the attempt has locked wants nothing more.
CREATE FUNCTION guard(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	v bigint := es_version('a');
BEGIN
	IF nextval('calls') = 1 THEN
		PERFORM es_append('a', '[{"type": "undone"}]');
	END IF;
	RETURN jsonb_build_array('{"key": "k", "expected_version": 0}'::jsonb, jsonb_build_object('key', 'a', 'expected_version', v, 'events', '[{"type": "T"}]'::jsonb));
END $$;
SELECT setval('calls', 1, false);
BEGIN;
SELECT key, status, version FROM es_execute_many('{k}', 'guard');
SELECT * FROM locks;
ROLLBACK;

SET client_min_messages = warning;
DROP SCHEMA t_execute_locks CASCADE;
