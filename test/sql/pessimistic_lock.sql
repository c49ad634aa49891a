-- es_lock locks aggregates, missing ones too, and returns their versions in key order.
SET client_min_messages = warning;
CREATE ROLE regress_es_pessimistic_lock;
CREATE SCHEMA t_pessimistic_lock AUTHORIZATION regress_es_pessimistic_lock;
SET ROLE regress_es_pessimistic_lock;
SELECT es_create_store('t_pessimistic_lock');
SET eventstore.store = 't_pessimistic_lock';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0), es_append('order-2', '[{"type": "Placed"}, {"type": "Paid"}]', 0), es_append('order-10', '[{"type": "Placed"}]', 0);

SELECT * FROM es_lock(ARRAY['order-2', 'order-9', 'order-10', 'order-1', 'order-2', 'Order-1', 'order-9']);
SELECT * FROM es_lock(ARRAY['order-1'], nowait => true);
SELECT * FROM es_lock(ARRAY['order-9'], true);
SELECT * FROM es_lock(ARRAY[]::text[]);
SELECT * FROM es_lock('[5:6]={order-2,order-1}');

-- Lock, read, decide, append, in one transaction.
BEGIN;
SELECT version AS locked_at FROM es_lock(ARRAY['order-1']) \gset
SELECT count(*) FROM es_read('order-1');
SELECT es_append('order-1', '[{"type": "Paid"}]', :locked_at);
SELECT * FROM es_lock(ARRAY['order-1']);
COMMIT;

-- A missing one, locked, then created.
BEGIN;
SELECT * FROM es_lock(ARRAY['order-3']);
SELECT es_append('order-3', '[{"type": "Placed"}]', 0);
SELECT * FROM es_lock(ARRAY['order-3']);
ROLLBACK;
SELECT * FROM es_lock(ARRAY['order-3']);

-- A lock that was not used changes nothing.
BEGIN;
SELECT * FROM es_lock(ARRAY['order-3', 'order-1']);
COMMIT;
SELECT key, version FROM t_pessimistic_lock.es_aggregates ORDER BY key;

-- A lock on a missing one lasts to the end of the transaction, or of the savepoint that is rolled back.
BEGIN;
SELECT count(*) FROM es_lock(ARRAY['order-1', 'order-2']);
SAVEPOINT s;
SELECT count(*) FROM es_lock(ARRAY['order-7', 'order-8']);
SELECT count(*) > 0 AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND mode <> 'SIReadLock' AND locktype NOT IN ('relation', 'virtualxid', 'transactionid');
ROLLBACK TO s;
SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND mode <> 'SIReadLock' AND locktype NOT IN ('relation', 'virtualxid', 'transactionid');
COMMIT;

SELECT es_drop_store('t_pessimistic_lock');
RESET ROLE;
DROP SCHEMA t_pessimistic_lock;
DROP ROLE regress_es_pessimistic_lock;
