-- eventstore_message_db: write_message() and acquire_lock() lock the category to the end of the transaction.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
SET ROLE message_store;
CREATE VIEW pg_temp.category_locks AS
SELECT (classid::bigint << 32) | objid::bigint AS lock, mode FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND pid = pg_backend_pid() AND granted;

BEGIN;
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
SELECT lock = hash_64('account') AS category, mode FROM pg_temp.category_locks;
SELECT acquire_lock('customer-1') = hash_64('customer') AS category;
SELECT count(*) FROM pg_temp.category_locks;
COMMIT;
SELECT count(*) FROM pg_temp.category_locks;

-- One may do without, and then only the stream is locked.
SET message_store.category_lock = off;
BEGIN;
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
SELECT count(*) FROM pg_temp.category_locks;
COMMIT;
RESET message_store.category_lock;

-- What was done is told if one asks.
SET client_min_messages = notice;
SET message_store.debug_write = on;
SELECT write_message('00000000-0000-0000-0000-000000000001', 'account-2', 'T', '{"a": 1}', NULL, -1);
SELECT acquire_lock('account-2');
SELECT count(*) FROM get_stream_messages('account-2');
SET message_store.debug_write = off;
SET message_store.debug_get = on;
SELECT count(*) FROM get_stream_messages('account-2');
SELECT count(*) FROM get_category_messages('account', consumer_group_member => 0, consumer_group_size => 1, correlation => 'some', batch_size => -1);
SELECT type FROM get_last_stream_message('account-2');
SET message_store.debug_get = off;
SET message_store.debug = on;
SELECT type FROM get_last_stream_message('account-2');
SET message_store.debug = off;

RESET ROLE;
SET client_min_messages = warning;
DROP EXTENSION eventstore_message_db CASCADE;
DROP SCHEMA message_store CASCADE;
