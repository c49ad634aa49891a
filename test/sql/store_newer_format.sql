-- A store of a later format is refused by everything that would use it, in a session that knows it already too; nothing is changed.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_newer_format;
CREATE ROLE regress_es_store_newer_format_guest;
CREATE SCHEMA t_store_newer_format AUTHORIZATION regress_es_store_newer_format;
SET ROLE regress_es_store_newer_format;
SELECT es_create_store('t_store_newer_format');
SET eventstore.store = 't_store_newer_format';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT es_create_subscription('s');
CREATE FUNCTION t_store_newer_format.decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "Decided"}]'::jsonb $$;
CREATE FUNCTION t_store_newer_format.decide_many(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$;
\set SHOW_CONTEXT never

-- What an upgrade by a later version does, as far as we can know: it says so, and touches the tables.
BEGIN;
UPDATE t_store_newer_format.es_store SET format_version = 2;
SELECT es_make_guards('t_store_newer_format');
COMMIT;

-- Every function that takes a store or finds one, from the catalog, so that none is forgotten.
CREATE TEMPORARY TABLE arguments (function text, arguments text);
INSERT INTO arguments VALUES
	('es_append', $$'order-1', '[{"type": "T"}]'$$), ('es_try_append', $$'order-1', '[{"type": "T"}]'$$),
	('es_append_many', $$'[{"key": "order-1", "events": [{"type": "T"}]}]'$$), ('es_try_append_many', $$'[{"key": "order-1", "events": [{"type": "T"}]}]'$$),
	('es_append_each', $$'[{"key": "order-1", "events": [{"type": "T"}]}]'$$), ('es_find_request', $$'order-1', 'r-1'$$), ('es_lock', $$'{order-1}'$$),
	('es_query', $$'[{"tags": ["t"]}]'$$), ('es_execute', $$'order-1', 't_store_newer_format.decide'$$), ('es_execute_many', $$'{order-1}', 't_store_newer_format.decide_many'$$),
	('es_load', $$'order-1'$$), ('es_save_snapshot', $$'order-1', 1, '{}'$$), ('es_version', $$'order-1'$$), ('es_read', $$'order-1'$$),
	('es_horizon', ''), ('es_read_all', ''), ('es_read_partition', '0, 10, NULL, 10, 1, 0'), ('es_check_position', '0'),
	('es_wait', $$0, '1 second'$$), ('es_wait_for', $$'s', 0, '1 second'$$), ('es_start_worker', ''), ('es_stop_worker', ''), ('es_current_store', ''),
	('es_create_store', $$'t_store_newer_format', true$$), ('es_drop_store', $$'t_store_newer_format'$$), ('es_upgrade_store', $$'t_store_newer_format'$$),
	('es_check_store', $$'t_store_newer_format'$$), ('es_require_store', $$'t_store_newer_format'$$),
	('es_grant', $$'regress_es_store_newer_format_guest', 'reader', 't_store_newer_format'$$), ('es_sync_position', $$'t_store_newer_format'$$),
	('es_create_subscription', $$'s2', schema_name => 't_store_newer_format'$$), ('es_require_subscription', $$'t_store_newer_format', 's'$$),
	('es_fetch', $$'s', schema_name => 't_store_newer_format'$$), ('es_advance', $$'s', 0, 0, 0, schema_name => 't_store_newer_format'$$),
	('es_park', $$'s', 1, 'broken', schema_name => 't_store_newer_format'$$), ('es_unpark', $$'s', 1, 't_store_newer_format'$$),
	('es_reset_subscription', $$'s', 0, 't_store_newer_format'$$), ('es_drop_subscription', $$'s', 't_store_newer_format'$$),
	('es_list_subscriptions', $$'t_store_newer_format'$$);
-- These know nothing of a store, or are parts of others that have looked.
SELECT p.proname AS not_tried
FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'eventstore' AND p.proname NOT IN (SELECT function FROM arguments) ORDER BY p.proname;

CREATE FUNCTION pg_temp.outcome(function text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	kind "char" = (SELECT prokind FROM pg_proc WHERE proname = function);
BEGIN
	EXECUTE CASE kind WHEN 'p' THEN 'CALL ' ELSE 'SELECT * FROM ' END || function || '(' || arguments || ')';
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || CASE WHEN SQLERRM ~ '^event store "t_store_newer_format" has format 2' THEN ' newer format' ELSE ' ' || SQLERRM END;
END
$$;
SELECT function, pg_temp.outcome(function, arguments) AS outcome FROM arguments
WHERE pg_temp.outcome(function, arguments) <> '55000 newer format' ORDER BY function;
SELECT es_append('order-1', '[{"type": "T"}]');
SELECT es_check_store('t_store_newer_format');
SELECT es_upgrade_store('t_store_newer_format');

-- Statistics of other stores are not to be missed because of it.
SELECT store FROM es_stat_store WHERE store = 't_store_newer_format';
SELECT store FROM es_stat_subscription WHERE store = 't_store_newer_format';

-- The log is guarded all the same.
\set VERBOSITY sqlstate
DELETE FROM t_store_newer_format.es_events;
\set VERBOSITY default

-- Back in this format, nothing has happened to it.
UPDATE t_store_newer_format.es_store SET format_version = 1;
SELECT * FROM es_check_store('t_store_newer_format');
SELECT key, version, type FROM es_read('order-1');
SELECT subscription, "position", parked FROM es_subscription_status;
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);

-- An older or a broken one can still be dropped.
UPDATE t_store_newer_format.es_store SET format_version = 0;
SELECT es_drop_store('t_store_newer_format');
DROP TABLE arguments;
DROP FUNCTION pg_temp.outcome;
DROP FUNCTION t_store_newer_format.decide, t_store_newer_format.decide_many;
RESET ROLE;
DROP SCHEMA t_store_newer_format;
DROP ROLE regress_es_store_newer_format, regress_es_store_newer_format_guest;
