-- Dropping the extension leaves every event; created again, it goes on where it was.
SET client_min_messages = warning;
\set main :DBNAME
DROP DATABASE IF EXISTS regress_es_drop_extension;
CREATE DATABASE regress_es_drop_extension TEMPLATE template0;
\connect regress_es_drop_extension
SET client_min_messages = warning;
CREATE EXTENSION eventstore;
SELECT es_create_store('t_drop_extension');
SELECT es_create_store('t_drop_extension_2');
SET eventstore.store = 't_drop_extension';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}, {"type": "Paid"}]', 0, request_id => 'r-1');
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
CREATE TABLE before AS SELECT * FROM t_drop_extension.es_events;

-- Not without CASCADE, and that names the guards.
\set VERBOSITY terse
DROP EXTENSION eventstore;
\set VERBOSITY default
BEGIN;
SET LOCAL client_min_messages = notice;
SET LOCAL search_path = '';
DROP EXTENSION eventstore CASCADE;
ROLLBACK;
SELECT es_version('order-1');

-- In the same session, with warm plans.
DROP EXTENSION eventstore CASCADE;
SELECT key, version FROM t_drop_extension.es_aggregates ORDER BY key;
SELECT count(*) FROM (SELECT * FROM t_drop_extension.es_events EXCEPT SELECT * FROM before) AS e;
CREATE EXTENSION eventstore;
SELECT es_version('order-1');
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
-- The guards are gone, as DROP EXTENSION said; es_check_store says so too, and es_upgrade_store restores them.
\pset format unaligned
SELECT * FROM es_check_store('t_drop_extension') ORDER BY finding COLLATE "C";
\pset format aligned
SELECT es_upgrade_store('t_drop_extension');
SELECT * FROM es_check_store('t_drop_extension');
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0, request_id => 'r-1');
SELECT version, type, rank() OVER (ORDER BY position) FROM es_read('order-1') ORDER BY version;
\set VERBOSITY sqlstate
DELETE FROM t_drop_extension.es_events;
\set VERBOSITY default

-- In another session, and into another schema.
DROP EXTENSION eventstore CASCADE;
\connect -
SET client_min_messages = warning;
CREATE SCHEMA "My library";
CREATE EXTENSION eventstore SCHEMA "My library";
SET eventstore.store = 't_drop_extension';
SELECT "My library".es_upgrade_store('t_drop_extension'), "My library".es_upgrade_store('t_drop_extension_2');
SELECT "My library".es_append('order-1', '[{"type": "Delivered"}]', 3);
SELECT status, version FROM "My library".es_append_many('[{"key": "order-2", "events": [{"type": "Paid"}], "expected_version": 1}, {"key": "order-1", "expected_version": 4}]');
SELECT version, type, tags FROM "My library".es_read('order-1');
SELECT * FROM "My library".es_lock(ARRAY['order-1', 'order-2', 'order-3']);
SELECT * FROM "My library".es_check_store('t_drop_extension');
\set VERBOSITY sqlstate
DELETE FROM t_drop_extension.es_events;
\set VERBOSITY default
SET eventstore.store = 't_drop_extension_2';
SELECT "My library".es_append('order-1', '[{"type": "Placed"}]', 0);

\connect :main
DROP DATABASE regress_es_drop_extension;
