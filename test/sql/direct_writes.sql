-- The ways past the append-only guard, for restores, replication and maintenance, are for superusers.
SET client_min_messages = warning;
CREATE ROLE regress_es_direct_writes;
CREATE SCHEMA t_direct_writes AUTHORIZATION regress_es_direct_writes;
SET ROLE regress_es_direct_writes;
SELECT es_create_store('t_direct_writes');
SET eventstore.store = 't_direct_writes';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);

-- The owner of the store may not use them.
SET eventstore.allow_direct_writes = on;
SELECT set_config('eventstore.allow_direct_writes', 'on', true);
SET session_replication_role = replica;
SHOW eventstore.allow_direct_writes;
ALTER ROLE regress_es_direct_writes SET eventstore.allow_direct_writes = on;
CREATE FUNCTION pg_temp.forget() RETURNS void LANGUAGE sql SET eventstore.allow_direct_writes = on AS 'DELETE FROM t_direct_writes.es_events';

-- A superuser may.
RESET ROLE;
SET eventstore.allow_direct_writes = on;
INSERT INTO t_direct_writes.es_aggregates (key, version) VALUES ('order-2', 1);
INSERT INTO t_direct_writes.es_events (position, key, version, id, type, recorded_at)
	VALUES (nextval('t_direct_writes.es_position_seq'), 'order-2', 1, '00000000-0000-0000-0000-000000000001', 'Imported', '2001-01-01');
UPDATE t_direct_writes.es_events SET data = '{"redacted": true}' WHERE key = 'order-1' AND version = 2;
DELETE FROM t_direct_writes.es_tags;
RESET eventstore.allow_direct_writes;
\set SHOW_CONTEXT never
DELETE FROM t_direct_writes.es_events;

-- For one transaction only.
BEGIN;
SET LOCAL eventstore.allow_direct_writes = on;
UPDATE t_direct_writes.es_events SET metadata = '{"redacted": true}' WHERE key = 'order-1' AND version = 2;
COMMIT;
\set VERBOSITY sqlstate
UPDATE t_direct_writes.es_events SET metadata = NULL;
\set VERBOSITY default

-- As a replica, or a restore with --disable-triggers.
SET session_replication_role = replica;
INSERT INTO t_direct_writes.es_aggregates (key, version) VALUES ('order-3', 1);
COPY t_direct_writes.es_events (position, key, version, id, type, recorded_at) FROM stdin;
1000	order-3	1	00000000-0000-0000-0000-000000000002	Replicated	2001-01-01
\.
RESET session_replication_role;

-- What was written so is part of the store.
SELECT setval('t_direct_writes.es_position_seq', 1000) > 0 AS set;
SET ROLE regress_es_direct_writes;
SELECT es_append('order-2', '[{"type": "Paid"}]', 1), es_append('order-3', '[{"type": "Paid"}]', 1);
SELECT key, version, type, data, metadata FROM t_direct_writes.es_events ORDER BY key, version;
SELECT * FROM es_check_store('t_direct_writes');

-- The functions work with the setting on, as without; appends by the way do not switch it off.
RESET ROLE;
SET eventstore.allow_direct_writes = on;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
DELETE FROM t_direct_writes.es_events WHERE key = 'order-1' AND version = 3;
UPDATE t_direct_writes.es_aggregates SET version = 2 WHERE key = 'order-1';
RESET eventstore.allow_direct_writes;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);

-- Set before the library is loaded, by one who may not: it has no effect.
\connect -
SET client_min_messages = error;
SET ROLE regress_es_direct_writes;
SET eventstore.allow_direct_writes = on;
\set SHOW_CONTEXT never
DELETE FROM t_direct_writes.es_events;
SHOW eventstore.allow_direct_writes;
DELETE FROM t_direct_writes.es_events;
SELECT es_drop_store('t_direct_writes');
RESET ROLE;
DROP SCHEMA t_direct_writes;
DROP ROLE regress_es_direct_writes;
