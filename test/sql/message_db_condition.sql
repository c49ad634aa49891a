-- eventstore_message_db: a condition in SQL, off until message_store.sql_condition is on.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\set SHOW_CONTEXT never
SET ROLE message_store;
SELECT count(write_message(gen_random_uuid()::varchar, 'account-' || n % 2, 'Type' || n % 3, jsonb_build_object('n', n), '{"m": 1, "correlationStreamName": "some-1"}')) FROM generate_series(0, 11) AS n;

SELECT * FROM get_stream_messages('account-1', condition => 'true');
SELECT * FROM get_category_messages('account', condition => 'true');
SET message_store.sql_condition = off;
SELECT * FROM get_stream_messages('account-1', condition => 'true');
SET message_store.sql_condition = on;

-- All columns of messages, with and without its name; what is unqualified is found with the caller's search path.
SELECT position, data FROM get_stream_messages('account-1', condition => 'position IN (1, 4)');
SELECT position, data FROM get_stream_messages('account-1', 1, 2, 'messages.type = ''Type1''');
SELECT global_position, data FROM get_category_messages('account', condition => '(data->>''n'')::int > 3 AND time IS NOT NULL AND id IS NOT NULL AND metadata->>''m'' = ''1''', batch_size => 2);
SELECT global_position, stream_name FROM get_category_messages('account', condition => 'category(stream_name) = ''account'' AND global_position % 4 = 0');
SELECT global_position FROM get_category_messages('account', correlation => 'some', condition => 'position = 1');
SELECT count(*) FROM get_category_messages('account', correlation => 'some', consumer_group_member => 0, consumer_group_size => 1, condition => 'true');
-- OR does not lead out of the stream, nor out of the category.
SELECT count(*) FROM get_stream_messages('account-1', condition => 'true OR true');
SELECT count(*) FROM get_category_messages('none', condition => 'false OR true');
-- A percent sign is nothing special.
SELECT position FROM get_stream_messages('account-1', condition => 'type LIKE ''%0''');
SELECT position FROM get_stream_messages('account-1', condition => '''%s'' = ''%s'' AND position = 0');
SELECT * FROM get_stream_messages('account-1', condition => 'no_column');

-- With the end of SET LOCAL the setting is empty, not on.
\connect -
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET ROLE message_store;
BEGIN;
SET LOCAL message_store.sql_condition = on;
SELECT count(*) FROM get_stream_messages('account-1', condition => 'true');
COMMIT;
SELECT * FROM get_stream_messages('account-1', condition => 'true');

RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
