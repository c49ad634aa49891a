-- eventstore_message_db: the role message_store may read and write, others nothing.
SET client_min_messages = warning;
CREATE ROLE regress_es_message_db;
CREATE ROLE regress_es_message_db_app;
CREATE EXTENSION eventstore_message_db;
-- Before there is a store.
SET ROLE message_store;
\set VERBOSITY sqlstate
SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
SELECT * FROM message_store.messages;
\set VERBOSITY default
RESET ROLE;
SELECT message_store.es_create_message_store();
\set VERBOSITY sqlstate
SELECT message_store.es_create_message_store();
\set VERBOSITY default
-- Once more is fine if one says so.
SELECT message_store.es_create_message_store(if_not_exists => true);
GRANT message_store TO regress_es_message_db_app;

CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	RAISE SQLSTATE 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN 'ok';
	WHEN OTHERS THEN
		RETURN SQLSTATE;
END
$$;
CREATE TEMPORARY TABLE attempts (n serial, command text);
INSERT INTO attempts (command) VALUES
	($$SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}')$$),
	($$SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}', NULL, -1)$$),
	($$SELECT * FROM message_store.get_stream_messages('account-1')$$),
	($$SELECT * FROM message_store.get_category_messages('account')$$),
	($$SELECT * FROM message_store.get_last_stream_message('account-1')$$),
	($$SELECT message_store.stream_version('account-1')$$),
	($$SELECT message_store.acquire_lock('account-1')$$),
	($$SELECT message_store.category('account-1'), message_store.id('account-1'), message_store.hash_64('x')$$),
	($$SELECT * FROM message_store.messages$$),
	($$SELECT * FROM message_store.type_summary$$),
	($$SELECT es_append('account-1', '[{"type": "T"}]', allow_create => true)$$),
	($$INSERT INTO message_store.es_events SELECT * FROM message_store.es_events$$),
	($$DELETE FROM message_store.es_events$$),
	($$TRUNCATE message_store.es_events$$),
	($$CREATE TABLE message_store.t (n integer)$$),
	($$SELECT message_store.es_import_messages('pg_class')$$),
	($$SELECT es_drop_store('message_store')$$);
GRANT SELECT ON attempts TO PUBLIC;
CREATE TEMPORARY TABLE outcomes (n integer, role name, outcome text);
GRANT INSERT ON outcomes TO PUBLIC;
SET search_path = message_store, public;
SET client_min_messages = error;
SET ROLE regress_es_message_db;
INSERT INTO outcomes SELECT n, 'none', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE message_store;
INSERT INTO outcomes SELECT n, 'message_store', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_message_db_app;
INSERT INTO outcomes SELECT n, 'member', pg_temp.outcome(command) FROM attempts ORDER BY n;
RESET ROLE;
SET client_min_messages = warning;
RESET search_path;
SELECT command, max(outcome) FILTER (WHERE role = 'none') AS none, max(outcome) FILTER (WHERE role = 'message_store') AS message_store,
	   max(outcome) FILTER (WHERE role = 'member') AS member
FROM attempts JOIN outcomes USING (n) GROUP BY n, command ORDER BY n;

-- The role can log in, and finds the schema of its name without being told.
SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'message_store';
SET ROLE message_store;
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
RESET ROLE;

-- PUBLIC has no right on anything but what functions have by default.
SELECT c.relname, a.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.relnamespace = 'message_store'::regnamespace AND a.grantee = 0;
SELECT a.privilege_type FROM pg_namespace AS n, aclexplode(n.nspacl) AS a WHERE n.nspname = 'message_store' AND a.grantee = 0;

DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
DROP TABLE attempts, outcomes;
DROP ROLE regress_es_message_db, regress_es_message_db_app;
