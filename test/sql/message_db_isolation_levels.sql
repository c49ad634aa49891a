-- eventstore_message_db: above READ COMMITTED messages are written and streams read; a category wants a watermark.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\set SHOW_CONTEXT never
SET ROLE message_store;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}', NULL, -1);
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
SELECT position FROM get_stream_messages('account-1');
SAVEPOINT s;
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}', NULL, 0);
ROLLBACK TO s;
SELECT position FROM get_category_messages('account');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT count(*) FROM get_stream_messages('account-1');
\set VERBOSITY sqlstate
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
ROLLBACK;
\set VERBOSITY default
-- With a watermark it is read up to there.
SELECT count(write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}')) FROM generate_series(1, 3);
RESET ROLE;
INSERT INTO message_store.es_watermark (position) SELECT max(global_position) - 1 FROM message_store.messages;
SET ROLE message_store;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT position FROM get_category_messages('account');
COMMIT;
SELECT position FROM get_category_messages('account');
RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
