-- Dropping eventstore_message_db, or eventstore beneath it, leaves every message; created again, both go on where they were.
SET client_min_messages = warning;
\set main :DBNAME
DROP DATABASE IF EXISTS regress_es_message_db;
CREATE DATABASE regress_es_message_db TEMPLATE template0;
\connect regress_es_message_db
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db CASCADE;
SELECT message_store.es_create_message_store();
SELECT message_store.write_message('00000000-0000-0000-0000-000000000001', 'account-1', 'Opened', '{}');
DROP EXTENSION eventstore_message_db;
SELECT key, version, type FROM message_store.es_events;
SET eventstore.store = 'message_store';
SELECT es_append('account-1', '[{"type": "Deposited"}]', 1);
CREATE EXTENSION eventstore_message_db;
SELECT message_store.write_message('00000000-0000-0000-0000-000000000002', 'account-1', 'Closed', '{}', NULL, 1);

-- The library as well: the guards go, and so does the interface, but neither events nor indexes.
DROP EXTENSION eventstore CASCADE;
SELECT count(*) FROM message_store.es_events;
SELECT indexname FROM pg_indexes WHERE schemaname = 'message_store' AND tablename = 'es_events' ORDER BY 1;
SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'message_store'::regnamespace;
CREATE EXTENSION eventstore_message_db CASCADE;
SELECT es_upgrade_store('message_store');
SELECT * FROM es_check_store('message_store');
SET ROLE message_store;
SELECT write_message('00000000-0000-0000-0000-000000000003', 'account-1', 'Reopened', '{}', NULL, 2);
SELECT position, global_position, type FROM get_category_messages('account');
RESET ROLE;

-- The library may be where the role has no way to.
DROP EXTENSION eventstore CASCADE;
DROP SCHEMA message_store CASCADE;
CREATE SCHEMA "T library";
CREATE EXTENSION eventstore SCHEMA "T library";
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\connect -
SET ROLE message_store;
SELECT write_message('00000000-0000-0000-0000-000000000001', 'account-1', 'Opened', '{}');
SELECT stream_name, position FROM get_category_messages('account');
RESET ROLE;
\connect :main
DROP DATABASE regress_es_message_db;
