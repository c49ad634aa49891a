-- eventstore_message_db: the view messages and the reports over it.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
SET ROLE message_store;
SELECT * FROM type_summary;
SELECT count(write_message(gen_random_uuid()::varchar, s, t, '{}'))
FROM (VALUES ('account-1', 'Opened'), ('account-1', 'Deposited'), ('account-1', 'Deposited'), ('account-2', 'Opened'), ('customer-1', 'Registered'), ('customer-1', 'Opened'), ('account', 'Deposited')) AS m (s, t);
SELECT global_position, position, stream_name, type, data, metadata FROM messages ORDER BY global_position;
SELECT * FROM category_type_summary;
SELECT * FROM stream_summary;
SELECT * FROM stream_type_summary;
SELECT * FROM type_category_summary;
SELECT * FROM type_stream_summary;
SELECT * FROM type_summary;
SELECT a.attrelid::regclass::text COLLATE "C" AS view, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) AS columns
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid WHERE c.relnamespace = 'message_store'::regnamespace AND c.relkind = 'v' GROUP BY 1 ORDER BY 1;

-- messages uses the indexes of the events, by the functions of message-db too.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
\a
\t on
EXPLAIN (COSTS off) SELECT * FROM messages WHERE stream_name = 'account-1';
EXPLAIN (COSTS off) SELECT * FROM messages WHERE category(stream_name) = 'account' AND global_position >= 3 ORDER BY global_position;
EXPLAIN (COSTS off) SELECT * FROM messages WHERE id = '00000000-0000-0000-0000-000000000001';
\a
\t off

RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
