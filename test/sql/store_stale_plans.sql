-- Plans and names kept in a session do not outlive a renamed schema, a dropped and remade store, or a changed table.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_stale_plans;
CREATE SCHEMA t_store_stale_plans AUTHORIZATION regress_es_store_stale_plans;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_es_store_stale_plans;
\set SHOW_CONTEXT never

-- Use everything often enough for plans to be kept, and say what the store holds.
CREATE FUNCTION pg_temp.use_all(OUT versions text, OUT events bigint)
LANGUAGE plpgsql
AS $$
BEGIN
	FOR i IN 1 .. 7 LOOP
		PERFORM es_append('order-1', '[{"type": "T", "tags": ["t"]}]', allow_create => true);
		PERFORM es_append('order-1', '[{"type": "T"}, {"type": "U"}]', es_version('order-1'), request_id => 'r-' || es_version('order-1'));
		PERFORM es_try_append('order-2', '[{"type": "T"}]', 0);
		PERFORM es_append_many('[{"key": "order-1", "events": [{"type": "T"}]}, {"key": "order-3", "events": [{"type": "T"}], "allow_create": true}, {"key": "order-2"}]');
		PERFORM es_append_each('[{"key": "order-1", "events": [{"type": "T"}]}, {"key": "order-4", "events": [{"type": "T"}], "allow_create": true}]');
		PERFORM es_lock(ARRAY['order-1', 'order-9']);
		PERFORM es_find_request('order-1', 'r-1');
		PERFORM es_read('order-1');
	END LOOP;
	versions := (SELECT string_agg(k || ' ' || es_version(k), ', ' ORDER BY k) FROM unnest(ARRAY['order-1', 'order-2', 'order-3', 'order-4']) AS k);
	events := (SELECT count(*) FROM es_read('order-1'));
END
$$;

SET ROLE regress_es_store_stale_plans;
SELECT es_create_store('t_store_stale_plans');
SET eventstore.store = 't_store_stale_plans';
SELECT * FROM pg_temp.use_all();

-- Renamed: the old name is no store any more, the new one is.
ALTER SCHEMA t_store_stale_plans RENAME TO t_store_stale_plans_2;
SELECT es_append('order-1', '[{"type": "T"}]');
SELECT es_version('order-1');
SET eventstore.store = 't_store_stale_plans_2';
SELECT * FROM pg_temp.use_all();
SELECT * FROM es_check_store('t_store_stale_plans_2');
RESET eventstore.store;
SET search_path = t_store_stale_plans_2, public;
SELECT * FROM pg_temp.use_all();
ALTER SCHEMA t_store_stale_plans_2 RENAME TO t_store_stale_plans;
SELECT es_append('order-1', '[{"type": "T"}]');
RESET search_path;
SET eventstore.store = 't_store_stale_plans';
SELECT * FROM pg_temp.use_all();

-- Another store under the old name.
ALTER SCHEMA t_store_stale_plans RENAME TO t_store_stale_plans_2;
SELECT es_create_store('t_store_stale_plans');
SELECT es_version('order-1');
SELECT * FROM pg_temp.use_all();
SET eventstore.store = 't_store_stale_plans_2';
SELECT es_version('order-1');
SELECT * FROM pg_temp.use_all();
-- Swapped.
BEGIN;
ALTER SCHEMA t_store_stale_plans RENAME TO t_store_stale_plans_3;
ALTER SCHEMA t_store_stale_plans_2 RENAME TO t_store_stale_plans;
ALTER SCHEMA t_store_stale_plans_3 RENAME TO t_store_stale_plans_2;
SELECT es_version('order-1');
ROLLBACK;
SELECT es_version('order-1');
SELECT es_drop_store('t_store_stale_plans_2');
DROP SCHEMA t_store_stale_plans_2;

-- Dropped and made again: it starts from nothing.
SET eventstore.store = 't_store_stale_plans';
SELECT es_drop_store('t_store_stale_plans');
SELECT es_append('order-1', '[{"type": "T"}]');
SELECT es_create_store('t_store_stale_plans');
SELECT es_version('order-1');
SELECT es_append('order-1', '[{"type": "T"}]');
SELECT * FROM pg_temp.use_all();
-- In one transaction, and by dropping the schema.
BEGIN;
SELECT es_drop_store('t_store_stale_plans');
SELECT es_create_store('t_store_stale_plans');
SELECT * FROM pg_temp.use_all();
ROLLBACK;
SELECT * FROM pg_temp.use_all();
DROP SCHEMA t_store_stale_plans CASCADE;
SELECT es_append('order-1', '[{"type": "T"}]');
SELECT es_create_store('t_store_stale_plans');
SELECT * FROM pg_temp.use_all();

-- A column of the user's, an index, storage: the plans follow.
ALTER TABLE t_store_stale_plans.es_events ADD COLUMN note text DEFAULT 'none', ADD COLUMN bytes integer GENERATED ALWAYS AS (octet_length(data::text)) STORED;
SELECT * FROM pg_temp.use_all();
CREATE INDEX ON t_store_stale_plans.es_events (type);
ALTER TABLE t_store_stale_plans.es_aggregates SET (fillfactor = 50);
SELECT * FROM pg_temp.use_all();
ALTER TABLE t_store_stale_plans.es_events DROP COLUMN note, DROP COLUMN bytes;
SELECT * FROM pg_temp.use_all();
-- A table made anew.
SELECT es_save_snapshot('order-1', 1, '{}');
BEGIN;
ALTER TABLE t_store_stale_plans.es_snapshots RENAME TO old;
CREATE TABLE t_store_stale_plans.es_snapshots (LIKE t_store_stale_plans.old INCLUDING ALL);
SELECT version, state, snapshot_version FROM es_load('order-1');
ROLLBACK;
SELECT version, state, snapshot_version FROM es_load('order-1');
DISCARD PLANS;
SELECT * FROM pg_temp.use_all();
SELECT * FROM es_check_store('t_store_stale_plans');

SELECT es_drop_store('t_store_stale_plans');
RESET ROLE;
REVOKE CREATE ON DATABASE :"DBNAME" FROM regress_es_store_stale_plans;
DROP SCHEMA t_store_stale_plans;
DROP ROLE regress_es_store_stale_plans;
