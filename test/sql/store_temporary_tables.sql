-- Temporary tables with the names of a store's tables stand in nobody's way.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_temporary_tables;
CREATE SCHEMA t_store_temporary_tables AUTHORIZATION regress_es_store_temporary_tables;
SET ROLE regress_es_store_temporary_tables;
SELECT es_create_store('t_store_temporary_tables');
SET search_path = t_store_temporary_tables, public;
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
\set SHOW_CONTEXT never

-- With warm plans, by search path and by setting.
CREATE TEMPORARY TABLE es_events (LIKE t_store_temporary_tables.es_events);
CREATE TEMPORARY TABLE es_aggregates (LIKE t_store_temporary_tables.es_aggregates);
CREATE TEMPORARY TABLE es_tags (LIKE t_store_temporary_tables.es_tags);
CREATE TEMPORARY TABLE es_store (LIKE t_store_temporary_tables.es_store);
CREATE TEMPORARY SEQUENCE es_position_seq;
DO $$
DECLARE
	name name;
BEGIN
	-- All the others that a store has.
	FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 't_store_temporary_tables'::regnamespace AND relkind = 'r'
		EXCEPT SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
	LOOP
		EXECUTE format('CREATE TEMPORARY TABLE %I (LIKE t_store_temporary_tables.%I)', name, name);
	END LOOP;
END
$$;
INSERT INTO pg_temp.es_store SELECT * FROM t_store_temporary_tables.es_store;
INSERT INTO pg_temp.es_aggregates VALUES ('order-1', 99, 1);
SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1);
SELECT es_version('order-1');
SELECT version, type FROM es_read('order-1') ORDER BY version;
SET search_path = pg_temp, t_store_temporary_tables, public;
SELECT es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2);
SET eventstore.store = 't_store_temporary_tables';
SELECT es_append('order-1', '[{"type": "Delivered", "tags": ["t"]}]', 3);
SELECT count(*) FROM es_append_many('[{"key": "order-1", "events": [{"type": "Returned"}]}, {"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]');

-- The temporary schema is no store, also when it is named.
RESET eventstore.store;
SET search_path = pg_temp, public;
SELECT es_version('order-1');
SET eventstore.store = 'pg_temp';
SELECT es_version('order-1');
SELECT set_config('eventstore.store', pg_my_temp_schema()::regnamespace::text, false) LIKE 'pg\_temp\_%' AS set;
\set VERBOSITY sqlstate
SELECT es_version('order-1');
SELECT es_append('order-1', '[{"type": "Paid"}]');
\set VERBOSITY default
SELECT (SELECT count(*) FROM pg_temp.es_events) AS temporary_events, (SELECT count(*) FROM t_store_temporary_tables.es_events) AS events;

-- In a session that had no plans yet.
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_store_temporary_tables;
SET search_path = t_store_temporary_tables, public;
CREATE TEMPORARY TABLE es_store (format_version integer);
CREATE TEMPORARY TABLE es_events (position bigint);
CREATE TEMPORARY TABLE es_aggregates (key text, version bigint);
SELECT es_append('order-1', '[{"type": "Refunded"}]', 5);
SELECT es_version('order-1');
DROP TABLE pg_temp.es_store, pg_temp.es_events, pg_temp.es_aggregates;

RESET search_path;
SELECT es_drop_store('t_store_temporary_tables');
RESET ROLE;
DROP SCHEMA t_store_temporary_tables;
DROP ROLE regress_es_store_temporary_tables;
