-- A decision needs fresh snapshots: es_execute is refused above READ COMMITTED, also where nothing would be appended,
-- and in a read-only transaction; es_load and es_save_snapshot work at every level.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_isolation_levels;
CREATE SCHEMA t_execute_isolation_levels AUTHORIZATION regress_es_execute_isolation_levels;
SET ROLE regress_es_execute_isolation_levels;
SELECT es_create_store('t_execute_isolation_levels');
SET eventstore.store = 't_execute_isolation_levels';
SET search_path = t_execute_isolation_levels, public;
CREATE SEQUENCE calls;
CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN PERFORM nextval('calls'); RETURN '[{"type": "Decided"}]'; END $$;
CREATE FUNCTION decide_many(command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN PERFORM nextval('calls'); RETURN '[{"key": "a", "events": [{"type": "Decided"}], "allow_create": true}]'; END $$;
SELECT es_append('a', '[{"type": "Opened"}]', 0);

BEGIN ISOLATION LEVEL READ UNCOMMITTED;
SELECT status FROM es_execute('a', 'decide');
SELECT status FROM es_execute_many('{a}', 'decide_many', request_id => 'r-1');
COMMIT;
SELECT setval('calls', 1, false);

\set SHOW_CONTEXT never
BEGIN ISOLATION LEVEL REPEATABLE READ;
SAVEPOINT s;
SELECT status FROM es_execute('a', 'decide');
ROLLBACK TO s;
SELECT status FROM es_execute_many('{a}', 'decide_many');
ROLLBACK TO s;
-- A known request id makes no difference.
\set VERBOSITY sqlstate
SELECT status FROM es_execute('a', 'decide', request_id => 'r-1');
ROLLBACK TO s;
SELECT status FROM es_execute_many('{}', 'decide_many');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status FROM es_execute('a', 'decide');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status FROM es_execute_many('{a}', 'decide_many');
ROLLBACK;
\set VERBOSITY default
BEGIN READ ONLY;
SAVEPOINT s;
SELECT status FROM es_execute('a', 'decide');
ROLLBACK TO s;
SELECT status FROM es_execute_many('{a}', 'decide_many');
ROLLBACK TO s;
SELECT es_save_snapshot('a', 1, '1');
ROLLBACK;
-- Bad arguments come first.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status FROM es_execute('', 'decide');
ROLLBACK;
SELECT is_called AS called FROM calls;

-- Snapshots.
SELECT es_save_snapshot('a', 2, '{"n": 2}');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load('a');
SELECT es_save_snapshot('a', 3, '{"n": 3}'), es_save_snapshot('a', 1, '{"n": 1}');
SELECT es_append('a', '[{"type": "More"}]', 3);
SELECT es_save_snapshot('a', 4, '{"n": 4}');
SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load('a');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load('a');
SELECT es_append('a', '[{"type": "More"}]', 4);
SELECT es_save_snapshot('a', 5, '{"n": 5}');
SELECT es_save_snapshot('a', 6, '{"n": 6}');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load('a');
COMMIT;
\set SHOW_CONTEXT errors

SELECT version, type FROM es_read('a');
RESET search_path;
SELECT es_drop_store('t_execute_isolation_levels');
RESET ROLE;
DROP SCHEMA t_execute_isolation_levels CASCADE;
DROP ROLE regress_es_execute_isolation_levels;
