-- es_create_store makes the tables of a store, es_drop_store drops them.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_create;
CREATE SCHEMA t_store_create AUTHORIZATION regress_es_store_create;
SET ROLE regress_es_store_create;
\set SHOW_CONTEXT never

-- Into the schema of that name, or into the current one.
SELECT es_create_store('t_store_create');
SELECT relname, relkind FROM pg_class
WHERE relnamespace = 't_store_create'::regnamespace AND relkind <> 'i' ORDER BY relname;
SELECT format_version FROM t_store_create.es_store;

-- Once.
SELECT es_create_store('t_store_create');
SELECT es_append('order-1', '[{"type": "Placed"}]', 0) FROM set_config('eventstore.store', 't_store_create', false);
SELECT es_create_store('t_store_create', if_not_exists => true);
SELECT es_version('order-1');

-- Dropped as a whole, the schema and other tables in it stay.
CREATE TABLE t_store_create.mine (n integer);
SELECT es_drop_store('t_store_create');
SELECT relname FROM pg_class WHERE relnamespace = 't_store_create'::regnamespace ORDER BY relname;
SELECT proname FROM pg_proc WHERE pronamespace = 't_store_create'::regnamespace;
SELECT es_drop_store('t_store_create');
SELECT es_upgrade_store('t_store_create');
SELECT * FROM es_check_store('t_store_create');
SELECT es_drop_store('t_store_create_missing');
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

-- What a view of the user's still needs is not dropped.
SELECT es_create_store('t_store_create', if_not_exists => true);
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
CREATE VIEW t_store_create.orders AS SELECT key FROM t_store_create.es_aggregates;
\set VERBOSITY sqlstate
SELECT es_drop_store('t_store_create');
\set VERBOSITY default
SELECT es_version('order-1');
DROP VIEW t_store_create.orders;
SELECT es_drop_store('t_store_create');

-- A table that is in the way stops it, and nothing half-done stays.
CREATE TABLE t_store_create.es_tags (n integer);
\set VERBOSITY sqlstate
SELECT es_create_store('t_store_create');
SELECT es_create_store('t_store_create', if_not_exists => true);
\set VERBOSITY default
SELECT relname FROM pg_class WHERE relnamespace = 't_store_create'::regnamespace ORDER BY relname;
DROP TABLE t_store_create.es_tags;

-- In the current schema by default; without any, an error.
SET search_path = t_store_create, public;
SELECT es_create_store();
SELECT 't_store_create.es_events'::regclass::oid = 'es_events'::regclass AS in_current_schema;
SELECT es_drop_store(current_schema);
SET search_path = '';
\set VERBOSITY sqlstate
SELECT public.es_create_store();
\set VERBOSITY default
RESET search_path;

-- Rolled back, it leaves nothing; created and used in one transaction, it works.
BEGIN;
SELECT es_create_store('t_store_create');
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
ROLLBACK;
SELECT relname FROM pg_class WHERE relnamespace = 't_store_create'::regnamespace ORDER BY relname;
\set VERBOSITY sqlstate
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
\set VERBOSITY default
BEGIN;
SELECT es_create_store('t_store_create');
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SAVEPOINT created;
SELECT es_drop_store('t_store_create');
ROLLBACK TO created;
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
COMMIT;
SELECT version, type FROM es_read('order-1') ORDER BY version;
SELECT es_drop_store('t_store_create');

-- The schema is made where it is missing, by one who may make schemas.
RESET ROLE;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_es_store_create;
SET ROLE regress_es_store_create;
SELECT es_create_store('t_store_create_2');
SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 't_store_create_2';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0) FROM set_config('eventstore.store', 't_store_create_2', false);
SELECT es_drop_store('t_store_create_2');
DROP SCHEMA t_store_create_2;

-- Not everywhere.
\set VERBOSITY sqlstate
SELECT es_create_store('pg_catalog');
SELECT es_create_store('pg_mine');
SELECT es_create_store('pg_temp');
SELECT es_create_store('information_schema');
\set VERBOSITY default

DROP TABLE t_store_create.mine;
RESET ROLE;
REVOKE CREATE ON DATABASE :"DBNAME" FROM regress_es_store_create;
DROP SCHEMA t_store_create;
DROP ROLE regress_es_store_create;
