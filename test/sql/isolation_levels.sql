-- At every isolation level, where nothing has moved, everything works; in a read-only transaction, reading does.
SET client_min_messages = warning;
CREATE ROLE regress_es_isolation_levels;
CREATE SCHEMA t_isolation_levels AUTHORIZATION regress_es_isolation_levels;

-- Every function once and more, reporting what differs from what is expected.
CREATE FUNCTION pg_temp.use_all(prefix text)
RETURNS SETOF text
LANGUAGE plpgsql
AS $$
BEGIN
	RETURN NEXT 'created: ' || es_append(prefix || '-1', '[{"type": "A", "tags": ["t"]}]', 0, request_id => 'r-1');
	RETURN NEXT 'allowed to create: ' || es_append(prefix || '-2', '[{"type": "A"}]', allow_create => true);
	RETURN NEXT 'at the expected version: ' || es_append(prefix || '-1', '[{"type": "B"}, {"type": "C"}]', 1);
	RETURN NEXT 'unconditional: ' || es_append(prefix || '-1', '[{"type": "D"}]');
	RETURN NEXT 'repeated: ' || es_append(prefix || '-1', '[{"type": "A"}]', 0, request_id => 'r-1');
	RETURN NEXT 'refused: ' || (SELECT concat_ws(' ', status, version) FROM es_try_append(prefix || '-1', '[{"type": "E"}]', 1));
	RETURN NEXT 'missing: ' || (SELECT concat_ws(' ', status, version) FROM es_try_append(prefix || '-9', '[{"type": "E"}]'));
	RETURN NEXT 'other request: ' || (SELECT concat_ws(' ', status, version) FROM es_try_append(prefix || '-1', '[{"type": "E"}]', 1, request_id => 'r-1'));
	RETURN NEXT 'many: ' || (SELECT string_agg(concat_ws(' ', key, status, version), ', ' ORDER BY entry) FROM es_append_many(format('[
		{"key": "%1$s-3", "events": [{"type": "A"}], "expected_version": 0}, {"key": "%1$s-1", "expected_version": 4},
		{"key": "%1$s-2", "events": [{"type": "B"}]}, {"key": "%1$s-4", "expected_version": 0}, {"key": "%1$s-3"}]', prefix)::jsonb));
	RETURN NEXT 'many refused: ' || (SELECT string_agg(concat_ws(' ', key, status, version), ', ' ORDER BY entry) FROM es_try_append_many(format('[
		{"key": "%1$s-3", "events": [{"type": "B"}], "expected_version": 0}, {"key": "%1$s-2", "expected_version": 2}]', prefix)::jsonb));
	RETURN NEXT 'each: ' || (SELECT string_agg(concat_ws(' ', key, status, version), ', ' ORDER BY entry) FROM es_append_each(format('[
		{"key": "%1$s-3", "events": [{"type": "B"}], "expected_version": 0}, {"key": "%1$s-2", "events": [{"type": "C"}], "expected_version": 2}]', prefix)::jsonb));
	RETURN NEXT 'locked: ' || (SELECT string_agg(concat_ws(' ', key, version), ', ' ORDER BY key) FROM es_lock(ARRAY[prefix || '-1', prefix || '-8']));
	RETURN NEXT 'locked, then created: ' || es_append(prefix || '-8', '[{"type": "A"}]', 0);
	RETURN NEXT 'found: ' || (SELECT concat_ws(' ', status, version) FROM es_find_request(prefix || '-1', 'r-1'));
	RETURN NEXT 'read: ' || (SELECT string_agg(concat_ws(' ', version, type), ', ' ORDER BY version) FROM es_read(prefix || '-1'));
	RETURN NEXT 'version: ' || es_version(prefix || '-1');
END
$$;

SET ROLE regress_es_isolation_levels;
SELECT es_create_store('t_isolation_levels');
SET eventstore.store = 't_isolation_levels';

BEGIN ISOLATION LEVEL READ UNCOMMITTED;
CREATE TEMPORARY TABLE usual AS SELECT n, replace(line, 'ru-', '') AS line FROM pg_temp.use_all('ru') WITH ORDINALITY AS u (line, n);
COMMIT;
SELECT line FROM usual ORDER BY n;

-- The same at the other levels, on new aggregates and after a savepoint.
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT replace(line, 'rc-', '') FROM pg_temp.use_all('rc') AS line EXCEPT SELECT line FROM usual;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT replace(line, 'rr-', '') FROM pg_temp.use_all('rr') AS line EXCEPT SELECT line FROM usual;
SAVEPOINT s;
SELECT count(*) FROM pg_temp.use_all('rr-sub');
ROLLBACK TO s;
SELECT count(*) FROM pg_temp.use_all('rr-sub');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT replace(line, 'se-', '') FROM pg_temp.use_all('se') AS line EXCEPT SELECT line FROM usual;
SAVEPOINT s;
SELECT count(*) FROM pg_temp.use_all('se-sub');
ROLLBACK TO s;
SELECT count(*) FROM pg_temp.use_all('se-sub');
COMMIT;
SELECT a.key, a.version, count(*) AS events FROM t_isolation_levels.es_aggregates AS a JOIN t_isolation_levels.es_events AS e USING (key)
WHERE a.key LIKE '%-1' GROUP BY a.key, a.version ORDER BY a.key;

-- On aggregates that were there before the snapshot.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_append('rr-1', '[{"type": "X"}]', 4), es_append('rr-1', '[{"type": "X"}]');
SELECT status, version FROM es_append_many('[{"key": "rr-2", "expected_version": 3}, {"key": "rr-1", "events": [{"type": "X"}], "expected_version": 6}]');
SELECT status, version FROM es_try_append('rr-3', '[{"type": "X"}]', 7);
SELECT * FROM es_lock(ARRAY['rr-1', 'rr-2', 'rr-3']);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_append('se-1', '[{"type": "X"}]', 4), es_append('se-1', '[{"type": "X"}]');
SELECT status, version FROM es_append_many('[{"key": "se-2", "expected_version": 3}, {"key": "se-1", "events": [{"type": "X"}], "expected_version": 6}]');
SELECT status, version FROM es_try_append('se-3', '[{"type": "X"}]', 7);
SELECT * FROM es_lock(ARRAY['se-1', 'se-2', 'se-3']);
COMMIT;

-- A conflict at these levels is the same error as elsewhere.
\set SHOW_CONTEXT never
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_append('rr-3', '[{"type": "X"}]', 7);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_append('se-3', '[{"type": "X"}]', 7);
ROLLBACK;

-- A read-only transaction reads, and refuses to write with its own error.
BEGIN READ ONLY;
SELECT es_version('rc-1'), (SELECT count(*) FROM es_read('rc-1')) AS events, (SELECT status FROM es_find_request('rc-1', 'r-1')) AS request;
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT es_append('rc-1', '[{"type": "X"}]', 4);
ROLLBACK TO s;
SELECT es_append('rc-1', '[{"type": "X"}]');
ROLLBACK TO s;
SELECT es_append('rc-99', '[{"type": "X"}]', 0);
ROLLBACK TO s;
SELECT es_try_append('rc-1', '[{"type": "X"}]', 4);
ROLLBACK TO s;
SELECT es_append_many('[{"key": "rc-1", "events": [{"type": "X"}], "expected_version": 4}]');
ROLLBACK TO s;
SELECT es_append_many('[{"key": "rc-99", "events": [{"type": "X"}], "expected_version": 0}]');
ROLLBACK TO s;
SELECT es_append_each('[{"key": "rc-1", "events": [{"type": "X"}], "expected_version": 4}]');
ROLLBACK TO s;
SELECT es_lock(ARRAY['rc-1']);
ROLLBACK TO s;
SELECT es_create_store('t_isolation_levels_2');
ROLLBACK TO s;
SELECT es_drop_store('t_isolation_levels');
ROLLBACK;
\set VERBOSITY default
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT es_version('rc-1'), (SELECT count(*) FROM es_read('rc-1')) AS events;
COMMIT;

DROP TABLE usual;
SELECT * FROM es_check_store('t_isolation_levels');
SELECT es_drop_store('t_isolation_levels');
RESET ROLE;
DROP SCHEMA t_isolation_levels;
DROP ROLE regress_es_isolation_levels;
