-- es_query and conditions are about one store: the same tags in another one do not matter, whatever was used or cached before.
SET client_min_messages = warning;
CREATE ROLE regress_es_query_stores;
CREATE SCHEMA t_query_stores_1 AUTHORIZATION regress_es_query_stores;
CREATE SCHEMA t_query_stores_2 AUTHORIZATION regress_es_query_stores;
SET ROLE regress_es_query_stores;
SELECT es_create_store('t_query_stores_1'), es_create_store('t_query_stores_2');

-- By the setting, and by the search path.
SET eventstore.store = 't_query_stores_1';
SELECT es_append('one-1', '[{"type": "T", "tags": ["t"]}]', 0);
SELECT key FROM es_query('[{"tags": ["t"]}]');
SET eventstore.store = 't_query_stores_2';
SELECT key FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}]}]}]');
SELECT es_append('two-1', '[{"type": "T", "tags": ["t"]}]', 0);
RESET eventstore.store;
SET search_path = t_query_stores_2, t_query_stores_1, public;
SELECT key FROM es_query('[{"tags": ["t"]}]');
SET search_path = t_query_stores_1, public;
SELECT key FROM es_query('[{"tags": ["t"]}]');

-- Both in one transaction.
BEGIN;
SELECT status FROM es_try_append_many('[{"conditions": [{"query": [{"tags": ["t"]}]}]}]');
SET LOCAL eventstore.store = 't_query_stores_2';
SELECT key FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["u"]}]}]}]');
COMMIT;

-- Renamed, and another in its place.
RESET ROLE;
ALTER SCHEMA t_query_stores_1 RENAME TO t_query_stores_3;
ALTER SCHEMA t_query_stores_2 RENAME TO t_query_stores_1;
SET ROLE regress_es_query_stores;
SELECT key FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');

-- Dropped and made again; and then not at all.
SELECT es_drop_store('t_query_stores_1'), es_create_store('t_query_stores_1');
SELECT key FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}]}]}]');
SELECT es_drop_store('t_query_stores_1');
\set SHOW_CONTEXT never
SELECT key FROM es_query('[{"tags": ["t"]}]');
SET eventstore.store = 't_query_stores_3';
SELECT key FROM es_query('[{"tags": ["t"]}]');
RESET eventstore.store;

-- A user's index, or a column more, makes a new plan, no error.
SET eventstore.store = 't_query_stores_3';
CREATE INDEX ON t_query_stores_3.es_events USING gin (tags);
ALTER TABLE t_query_stores_3.es_events ADD COLUMN note text;
SELECT key, version, tags FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');

SELECT es_drop_store('t_query_stores_3');
RESET ROLE;
DROP SCHEMA t_query_stores_1, t_query_stores_3;
DROP ROLE regress_es_query_stores;
