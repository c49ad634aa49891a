-- es_upgrade_store restores guards that were dropped, disabled or replaced, and changes nothing in a sound store.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_upgrade;
CREATE SCHEMA t_store_upgrade AUTHORIZATION regress_es_store_upgrade;
SET ROLE regress_es_store_upgrade;
SELECT es_create_store('t_store_upgrade');
SET eventstore.store = 't_store_upgrade';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
\set SHOW_CONTEXT never

CREATE TEMPORARY TABLE before AS
	SELECT tgrelid, tgname, tgenabled, pg_get_triggerdef(t.oid) AS definition
	FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid WHERE relnamespace = 't_store_upgrade'::regnamespace;
SELECT es_upgrade_store('t_store_upgrade');
SELECT count(*) FROM before;

DROP TRIGGER es_guard ON t_store_upgrade.es_events;
ALTER TABLE t_store_upgrade.es_aggregates DISABLE TRIGGER es_guard;
DROP TRIGGER es_guard ON t_store_upgrade.es_tags;
CREATE FUNCTION t_store_upgrade.harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER es_guard BEFORE DELETE ON t_store_upgrade.es_tags EXECUTE FUNCTION t_store_upgrade.harmless();
-- Appends go on without guards.
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
SELECT es_upgrade_store('t_store_upgrade');
SELECT tgrelid::regclass, tgname, tgenabled, definition FROM before
EXCEPT
SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(t.oid)
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid WHERE relnamespace = 't_store_upgrade'::regnamespace;
SELECT * FROM es_check_store('t_store_upgrade');
DELETE FROM t_store_upgrade.es_events;
DELETE FROM t_store_upgrade.es_aggregates;
DELETE FROM t_store_upgrade.es_tags;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT version, type FROM es_read('order-1') ORDER BY version;

-- A store of a format from the future is left alone.
DROP TABLE before;
RESET ROLE;
UPDATE t_store_upgrade.es_store SET format_version = format_version + 1000;
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_store_upgrade;
SET eventstore.store = 't_store_upgrade';
\set VERBOSITY sqlstate
SELECT es_upgrade_store('t_store_upgrade');
SELECT es_append('order-1', '[{"type": "Returned"}]', 3);
SELECT es_version('order-1');
\set VERBOSITY default
RESET ROLE;
UPDATE t_store_upgrade.es_store SET format_version = format_version - 1000;
SET ROLE regress_es_store_upgrade;
SELECT es_version('order-1');

-- Only for who owns it.
RESET ROLE;
CREATE ROLE regress_es_store_upgrade_other;
SET ROLE regress_es_store_upgrade_other;
\set VERBOSITY sqlstate
SELECT es_upgrade_store('t_store_upgrade');
SELECT es_drop_store('t_store_upgrade');
\set VERBOSITY default

SET ROLE regress_es_store_upgrade;
DROP FUNCTION t_store_upgrade.harmless;
SELECT es_drop_store('t_store_upgrade');
RESET ROLE;
DROP SCHEMA t_store_upgrade;
DROP ROLE regress_es_store_upgrade, regress_es_store_upgrade_other;
