-- A guard of es_append_many may carry conditions, with a key or without: then it is about no aggregate.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_guards;
CREATE SCHEMA t_conditions_guards AUTHORIZATION regress_es_conditions_guards;
SET ROLE regress_es_conditions_guards;
SELECT es_create_store('t_conditions_guards');
SET eventstore.store = 't_conditions_guards';

SELECT es_append('user-1', '[{"type": "Registered", "tags": ["email:a"]}, {"type": "Moved", "tags": ["email:b"]}]', 0);

-- Without a key, and with one: then its aggregate must be there too, or absent, or at the version.
SELECT entry, key, status, version, first_position, recorded_at FROM es_append_many('[
	{"conditions": [{"query": [{"tags": ["email:c"]}]}]},
	{"key": "user-1", "conditions": [{"query": [{"tags": ["email:c"]}]}]},
	{"key": "user-1", "expected_version": 2, "conditions": [{"query": [{"tags": ["email:a"]}], "after": 1}]},
	{"key": "user-2", "expected_version": 0, "conditions": [{"query": [{"tags": ["email:c"]}]}]}]');
SELECT w #>> '{0,key}' AS key, w #>> '{0,expected_version}' AS expected, w #>> '{0,conditions,0,query,0,tags,0}' AS tag, status, version
FROM (VALUES (1, '[{"conditions": [{"query": [{"tags": ["email:a"]}]}]}]'::jsonb),
			 (2, '[{"key": "user-1", "conditions": [{"query": [{"tags": ["email:a"]}]}]}]'),
			 (3, '[{"key": "user-1", "expected_version": 2, "conditions": [{"query": [{"tags": ["email:a"]}]}]}]'),
			 (4, '[{"key": "user-1", "expected_version": 1, "conditions": [{"query": [{"tags": ["email:a"]}]}]}]'),
			 (5, '[{"key": "user-1", "expected_version": 1, "conditions": [{"query": [{"tags": ["email:c"]}]}]}]'),
			 (6, '[{"key": "user-2", "conditions": [{"query": [{"tags": ["email:c"]}]}]}]'),
			 (7, '[{"key": "user-2", "conditions": [{"query": [{"tags": ["email:a"]}]}]}]'),
			 (8, '[{"key": "user-2", "expected_version": 0, "conditions": [{"query": [{"tags": ["email:a"]}]}]}]')) AS g (n, w),
	 LATERAL es_try_append_many(w)
ORDER BY n;

-- Beside writes: one that does not hold stops them all, one that holds lets them pass.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "user-3", "events": [{"type": "Registered", "tags": ["email:d"]}], "expected_version": 0},
	{"conditions": [{"query": [{"tags": ["email:b"]}]}]}]');
SELECT entry, key, status, version FROM es_append_many('[
	{"conditions": [{"query": [{"tags": ["email:d"]}]}, {"query": [{"tags": ["email:b"]}], "after": 2}]},
	{"key": "user-3", "events": [{"type": "Registered", "tags": ["email:d"]}], "expected_version": 0},
	{"conditions": [{"query": [{"tags": ["email:a"]}], "after": 1}]}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"conditions": [{"query": [{"tags": ["email:d"]}]}]},
	{"key": "user-4", "events": [{"type": "Registered", "tags": ["email:d"]}], "expected_version": 0}]');

-- The same guard twice; two that cannot both hold.
SELECT entry, key, status, version FROM es_append_many('[
	{"conditions": [{"query": [{"tags": ["email:x"]}]}]}, {"conditions": [{"query": [{"tags": ["email:x"]}]}]}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"conditions": [{"query": [{"tags": ["email:a"]}], "after": 1}]}, {"conditions": [{"query": [{"tags": ["email:a"]}]}]}]');

-- Guards of conditions alone write nothing, and need no transaction id.
BEGIN;
SELECT entry, status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["email:x"]}]}]}]');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_id;
COMMIT;
SELECT key, version FROM t_conditions_guards.es_aggregates ORDER BY key;

SELECT es_drop_store('t_conditions_guards');
RESET ROLE;
DROP SCHEMA t_conditions_guards;
DROP ROLE regress_es_conditions_guards;
