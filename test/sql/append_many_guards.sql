-- An entry of es_append_many without events is a guard: it checks an aggregate and writes nothing.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_many_guards;
CREATE SCHEMA t_append_many_guards AUTHORIZATION regress_es_append_many_guards;
SET ROLE regress_es_append_many_guards;
SELECT es_create_store('t_append_many_guards');
SET eventstore.store = 't_append_many_guards';

SELECT es_append('customer-1', '[{"type": "Registered"}, {"type": "Verified"}]', 0);
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

-- Guards that hold: at this version, exists, does not exist.
SELECT * FROM es_append_many('[
	{"key": "customer-1", "expected_version": 2},
	{"key": "order-1"},
	{"key": "blocklist-1", "expected_version": 0}]');
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "customer-1", "expected_version": 2},
	{"key": "blocklist-1", "expected_version": 0},
	{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]');

-- Guards that do not hold: each of them, as a row and as an error.
SELECT w #>> '{0,key}' AS key, w #>> '{0,expected_version}' AS expected, status, version, first_position, last_position, recorded_at
FROM (VALUES (1, '[{"key": "customer-1", "expected_version": 1}]'::jsonb),
			 (2, '[{"key": "customer-1", "expected_version": 3}]'),
			 (3, '[{"key": "customer-1", "expected_version": 0}]'),
			 (4, '[{"key": "blocklist-1"}]'),
			 (5, '[{"key": "blocklist-1", "expected_version": 1}]')) AS g (n, w),
	 LATERAL es_try_append_many(w)
ORDER BY n;
\set SHOW_CONTEXT never
SELECT * FROM es_append_many('[{"key": "customer-1", "expected_version": 1}]');
SELECT * FROM es_append_many('[{"key": "blocklist-1"}]');

-- A guard that does not hold stops every write of the call, and the other way round.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "order-3", "events": [{"type": "Placed"}], "expected_version": 0},
	{"key": "customer-1", "expected_version": 1}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "customer-1", "expected_version": 2},
	{"key": "order-1", "events": [{"type": "Placed"}], "expected_version": 0}]');

-- A guard and an append on one key: the guard sees what the entries before it did.
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "order-1", "expected_version": 1},
	{"key": "order-1", "events": [{"type": "Paid"}]},
	{"key": "order-1", "expected_version": 2}]');
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "order-4", "expected_version": 0},
	{"key": "order-4", "events": [{"type": "Placed"}], "expected_version": 0},
	{"key": "order-4"}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "order-1", "events": [{"type": "Shipped"}]},
	{"key": "order-1", "expected_version": 2}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0},
	{"key": "order-5", "expected_version": 0}]');

-- The same guard twice, and two guards that cannot both hold.
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "order-1", "expected_version": 2}, {"key": "order-1", "expected_version": 2}, {"key": "order-1"},
	{"key": "order-9", "expected_version": 0}, {"key": "order-9", "expected_version": 0}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "order-1", "expected_version": 2}, {"key": "order-1", "expected_version": 3}]');

-- A guard can follow its own aggregate's append in the same transaction.
BEGIN;
SELECT es_append('order-6', '[{"type": "Placed"}]', 0);
SELECT entry, key, status, version FROM es_append_many('[{"key": "order-6", "expected_version": 1}]');
SELECT es_append('order-6', '[{"type": "Paid"}]', 1);
SELECT entry, key, status, version FROM es_append_many('[{"key": "order-7", "expected_version": 0}]');
SELECT es_append('order-7', '[{"type": "Placed"}]', 0);
SELECT entry, key, status, version FROM es_append_many('[{"key": "order-7"}]');
COMMIT;

-- Guards wrote nothing.
SELECT key, version FROM t_append_many_guards.es_aggregates ORDER BY key;
SELECT key, version, type FROM t_append_many_guards.es_events ORDER BY key, version;

SELECT es_drop_store('t_append_many_guards');
RESET ROLE;
DROP SCHEMA t_append_many_guards;
DROP ROLE regress_es_append_many_guards;
