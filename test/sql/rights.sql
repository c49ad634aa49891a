-- What a role may do with a store: nothing by default, and what es_grant gives.
SET client_min_messages = warning;
CREATE ROLE regress_es_rights;
CREATE ROLE regress_es_rights_none;
CREATE ROLE regress_es_rights_reader;
CREATE ROLE regress_es_rights_writer;
CREATE ROLE regress_es_rights_admin;
GRANT regress_es_rights_none, regress_es_rights_reader, regress_es_rights_writer, regress_es_rights_admin TO regress_es_rights;
CREATE SCHEMA t_rights AUTHORIZATION regress_es_rights;

CREATE FUNCTION pg_temp.outcome(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	RAISE EXCEPTION 'undo it' USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN 'ok';
	WHEN OTHERS THEN
		RETURN SQLSTATE;
END
$$;

-- PUBLIC would get everything by these; a store gives nothing away all the same.
SET ROLE regress_es_rights;
ALTER DEFAULT PRIVILEGES IN SCHEMA t_rights GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA t_rights GRANT ALL ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
SELECT es_create_store('t_rights');
ALTER DEFAULT PRIVILEGES IN SCHEMA t_rights REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA t_rights REVOKE ALL ON SEQUENCES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM PUBLIC;
SELECT relname, privilege_type
FROM pg_class AS c, LATERAL aclexplode(c.relacl) AS acl
WHERE relnamespace = 't_rights'::regnamespace AND acl.grantee <> c.relowner ORDER BY relname, privilege_type;
SELECT count(*) AS grants FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 't_rights' AND grantee <> nspowner;

-- All of it belongs to the caller.
SELECT relname, relkind, pg_get_userbyid(relowner) AS owner FROM pg_class
WHERE relnamespace = 't_rights'::regnamespace AND relkind <> 'i' ORDER BY relname;

SET eventstore.store = 't_rights';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT es_grant('regress_es_rights_reader', 'reader');
SELECT es_grant('regress_es_rights_writer', 'writer');
SELECT es_grant('regress_es_rights_admin', 'admin');
-- Granting twice changes nothing.
SELECT es_grant('regress_es_rights_writer', 'writer');

SELECT relname, pg_get_userbyid(acl.grantee) AS role, string_agg(acl.privilege_type, ', ' ORDER BY acl.privilege_type) AS privileges
FROM pg_class AS c, LATERAL aclexplode(c.relacl) AS acl
WHERE relnamespace = 't_rights'::regnamespace
	AND acl.grantee IN ('regress_es_rights_reader'::regrole, 'regress_es_rights_writer'::regrole)
GROUP BY relname, acl.grantee ORDER BY relname, role;

-- What each of them may do; all of it is undone. Direct writes are refused by rights or by the guard.
CREATE TEMPORARY TABLE attempts (n serial, command text);
INSERT INTO attempts (command) VALUES
	($$SELECT es_version('order-1')$$),
	($$SELECT * FROM es_read('order-1')$$),
	($$SELECT * FROM es_find_request('order-1', 'r-1')$$),
	($$SELECT * FROM t_rights.es_events$$),
	($$SELECT * FROM t_rights.es_aggregates$$),
	($$SELECT * FROM t_rights.es_tags$$),
	($$SELECT es_append('order-1', '[{"type": "T", "tags": ["t"]}]')$$),
	($$SELECT es_append('%s-1', '[{"type": "T", "tags": ["t"]}]', 0)$$),
	($$SELECT es_append('%s-2', '[{"type": "T"}]', allow_create => true, request_id => 'r-1')$$),
	($$SELECT es_try_append('order-1', '[{"type": "T"}]')$$),
	($$SELECT es_append_many('[{"key": "order-1", "events": [{"type": "T"}]}, {"key": "%s-3", "expected_version": 0}]')$$),
	($$SELECT es_append_each('[{"key": "order-1", "events": [{"type": "T"}]}]')$$),
	($$SELECT es_lock(ARRAY['order-1'])$$),
	($$SELECT es_lock(ARRAY['absent-1'])$$),
	($$SELECT es_append_many('[{"key": "order-1", "expected_version": 1}]')$$),
	($$SELECT es_append_many('[{"key": "absent-1", "expected_version": 0}]')$$),
	($$INSERT INTO t_rights.es_events SELECT * FROM t_rights.es_events$$),
	($$UPDATE t_rights.es_aggregates SET version = 0$$),
	($$DELETE FROM t_rights.es_events$$),
	($$TRUNCATE t_rights.es_events$$),
	($$DELETE FROM t_rights.es_tags$$),
	($$ALTER TABLE t_rights.es_events DISABLE TRIGGER USER$$),
	($$DROP TABLE t_rights.es_events$$),
	($$CREATE TABLE t_rights.mine (n integer)$$),
	($$SELECT es_check_store('t_rights')$$),
	($$SELECT es_grant('regress_es_rights_none', 'reader')$$),
	($$SELECT es_drop_store('t_rights')$$);
GRANT SELECT ON attempts TO PUBLIC;
CREATE TEMPORARY TABLE outcomes (n integer, role name, outcome text);
GRANT INSERT ON outcomes TO PUBLIC;
SET client_min_messages = error;
SET ROLE regress_es_rights_none;
INSERT INTO outcomes SELECT n, 'none', pg_temp.outcome(replace(command, '%s', 'none')) FROM attempts ORDER BY n;
SET ROLE regress_es_rights_reader;
INSERT INTO outcomes SELECT n, 'reader', pg_temp.outcome(replace(command, '%s', 'reader')) FROM attempts ORDER BY n;
SET ROLE regress_es_rights_writer;
INSERT INTO outcomes SELECT n, 'writer', pg_temp.outcome(replace(command, '%s', 'writer')) FROM attempts ORDER BY n;
SET ROLE regress_es_rights_admin;
INSERT INTO outcomes SELECT n, 'admin', pg_temp.outcome(replace(command, '%s', 'admin')) FROM attempts ORDER BY n;
SET ROLE regress_es_rights;
SET client_min_messages = warning;
SELECT command,
	   max(outcome) FILTER (WHERE role = 'none') AS none, max(outcome) FILTER (WHERE role = 'reader') AS reader,
	   max(outcome) FILTER (WHERE role = 'writer') AS writer, max(outcome) FILTER (WHERE role = 'admin') AS admin
FROM attempts JOIN outcomes USING (n) GROUP BY n, command ORDER BY n;

-- What psql shows to one without rights.
\set SHOW_CONTEXT never
SET ROLE regress_es_rights_none;
SELECT es_append('order-1', '[{"type": "T"}]', 1);
SELECT * FROM es_read('order-1');
-- A store on the search path that the role may not use is no store for it.
RESET eventstore.store;
SET search_path = t_rights, public;
\set VERBOSITY sqlstate
SELECT es_version('order-1');
\set VERBOSITY default
RESET search_path;
SET eventstore.store = 't_rights';

-- A reader cannot write, in full.
SET ROLE regress_es_rights_reader;
SELECT es_append('order-1', '[{"type": "T"}]', 1);

-- A plan made with rights does not serve one without them.
SET ROLE regress_es_rights_writer;
SELECT es_append('order-2', '[{"type": "T"}]', 0);
SET ROLE regress_es_rights_none;
\set VERBOSITY sqlstate
SELECT es_append('order-2', '[{"type": "T"}]', 1);
SELECT es_version('order-2');
\set VERBOSITY default

-- Rights taken away are gone at once.
SET ROLE regress_es_rights;
REVOKE UPDATE ON t_rights.es_aggregates FROM regress_es_rights_writer;
SET ROLE regress_es_rights_writer;
\set VERBOSITY sqlstate
SELECT es_append('order-2', '[{"type": "T"}]', 1);
\set VERBOSITY default

-- Only one who may create in a schema, or may create schemas, makes a store.
SET ROLE regress_es_rights_writer;
\set VERBOSITY sqlstate
SELECT es_create_store('t_rights_2');
SELECT es_create_store('public');
\set VERBOSITY default
SELECT to_regnamespace('t_rights_2') IS NULL AS no_schema, to_regclass('public.es_store') IS NULL AS no_store;

SET ROLE regress_es_rights;
DROP TABLE attempts, outcomes;
SELECT es_drop_store('t_rights');
RESET ROLE;
REVOKE ALL ON SCHEMA t_rights FROM regress_es_rights_reader, regress_es_rights_writer, regress_es_rights_admin;
DROP SCHEMA t_rights;
DROP ROLE regress_es_rights, regress_es_rights_none, regress_es_rights_reader, regress_es_rights_writer, regress_es_rights_admin;
