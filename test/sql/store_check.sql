-- es_check_store finds nothing in a sound store, and names what is wrong in a damaged one.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_check;
CREATE SCHEMA t_store_check AUTHORIZATION regress_es_store_check;
SET ROLE regress_es_store_check;
SELECT es_create_store('t_store_check');
SET eventstore.store = 't_store_check';
SELECT * FROM es_check_store('t_store_check');
SELECT es_append('order-1', '[{"type": "A", "tags": ["t"]}, {"type": "B"}, {"type": "C"}]', 0);
SELECT es_append('order-2', '[{"type": "A"}, {"type": "B", "tags": ["t", "u"]}]', 0);
SELECT es_append('order-3', '[{"type": "A"}]', 0);
SELECT * FROM es_check_store('t_store_check');

-- Damage of every kind, undone after each.
RESET ROLE;
SET eventstore.allow_direct_writes = on;
\t on
\pset format unaligned
\echo an event is missing in the middle
BEGIN;
DELETE FROM t_store_check.es_events WHERE key = 'order-1' AND version = 2;
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo the last event is missing
BEGIN;
DELETE FROM t_store_check.es_events WHERE key = 'order-1' AND version = 3;
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo the first event is missing
BEGIN;
DELETE FROM t_store_check.es_events WHERE key = 'order-1' AND version = 1;
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo all events of an aggregate are missing
BEGIN;
DELETE FROM t_store_check.es_events WHERE key = 'order-3';
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo the version is too high
BEGIN;
UPDATE t_store_check.es_aggregates SET version = 5 WHERE key = 'order-2';
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo the version is too low
BEGIN;
UPDATE t_store_check.es_aggregates SET version = 1 WHERE key = 'order-2';
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo an aggregate is missing
BEGIN;
DELETE FROM t_store_check.es_aggregates WHERE key = 'order-3';
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo positions do not ascend with the versions
BEGIN;
UPDATE t_store_check.es_events SET position = 0 WHERE key = 'order-1' AND version = 3;
SELECT count(*) > 0 AS found FROM es_check_store('t_store_check');
ROLLBACK;
\echo a tag is missing
BEGIN;
DELETE FROM t_store_check.es_tags WHERE tag = 'u';
SELECT count(*) > 0 AS found FROM es_check_store('t_store_check');
ROLLBACK;
\echo a tag without its event
BEGIN;
INSERT INTO t_store_check.es_tags VALUES ('v', 1000000, 'order-1', 1);
SELECT count(*) > 0 AS found FROM es_check_store('t_store_check');
ROLLBACK;
\echo the sequence is behind the log
BEGIN;
CREATE TEMPORARY TABLE position AS SELECT last_value FROM t_store_check.es_position_seq;
SELECT setval('t_store_check.es_position_seq', 1, false);
SELECT regexp_replace(finding, '\d+', 'N', 'g') FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
SELECT setval('t_store_check.es_position_seq', last_value) > 0 FROM position;
ROLLBACK;
\echo a guard is missing
BEGIN;
DROP TRIGGER es_guard ON t_store_check.es_events;
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo guards are disabled
BEGIN;
ALTER TABLE t_store_check.es_aggregates DISABLE TRIGGER es_guard;
ALTER TABLE t_store_check.es_tags ENABLE REPLICA TRIGGER es_guard;
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo something else stands in for a guard
BEGIN;
CREATE FUNCTION t_store_check.harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
DROP TRIGGER es_guard ON t_store_check.es_events;
CREATE TRIGGER es_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON t_store_check.es_events EXECUTE FUNCTION t_store_check.harmless();
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo a guard guards too little
BEGIN;
DROP TRIGGER es_guard ON t_store_check.es_events;
CREATE TRIGGER es_guard BEFORE TRUNCATE ON t_store_check.es_events EXECUTE FUNCTION es_guard();
SELECT * FROM es_check_store('t_store_check') ORDER BY finding COLLATE "C";
ROLLBACK;
\echo much is wrong
BEGIN;
DELETE FROM t_store_check.es_events;
SELECT count(*) >= 3 AS found FROM es_check_store('t_store_check');
ROLLBACK;
\t off
\pset format aligned

-- Sound again; the check itself changes nothing, and a read-only transaction will do.
RESET eventstore.allow_direct_writes;
SET ROLE regress_es_store_check;
BEGIN READ ONLY;
SELECT * FROM es_check_store('t_store_check');
COMMIT;

SELECT es_drop_store('t_store_check');
RESET ROLE;
DROP SCHEMA t_store_check;
DROP ROLE regress_es_store_check;
