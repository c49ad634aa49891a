-- eventstore_message_db: reading a stream from a position on, in batches, and its last message.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\set SHOW_CONTEXT never
SET ROLE message_store;
SELECT count(write_message(gen_random_uuid()::varchar, 'account-' || n % 2, 'Type' || n % 3, jsonb_build_object('n', n))) FROM generate_series(0, 2403) AS n;

SELECT position, global_position, type, data FROM get_stream_messages('account-1', batch_size => 3);
SELECT position, data FROM get_stream_messages('account-1', 2, 2);
SELECT position, data FROM get_stream_messages(stream_name => 'account-1', "position" => 1201);
SELECT count(*) FROM get_stream_messages('account-1', 1202);
SELECT count(*) FROM get_stream_messages('account-1', 9223372036854775807);
SELECT count(*) FROM get_stream_messages('account-1', -9223372036854775808, 1);
SELECT count(*) FROM get_stream_messages('absent-1');

-- A batch has 1000 messages unless the caller says otherwise; -1 is all.
SELECT count(*), min(position), max(position) FROM get_stream_messages('account-1');
SELECT count(*), min(position), max(position) FROM get_stream_messages('account-1', NULL, NULL, NULL);
SELECT count(*) FROM get_stream_messages('account-1', 0, -1);
SELECT count(*) FROM get_stream_messages('account-1', 0, 0);
SELECT count(*) FROM get_stream_messages('account-1', 0, -2);

-- In order, each once.
SELECT bool_and(position = rank) FROM (SELECT position, row_number() OVER () - 1 AS rank FROM get_stream_messages('account-0', 0, -1)) AS m;

SELECT position, global_position, type, data FROM get_last_stream_message('account-1');
SELECT position, type, data FROM get_last_stream_message('account-1', 'Type2');
SELECT position, type, data FROM get_last_stream_message('account-1', type => NULL);
SELECT count(*) FROM get_last_stream_message('account-1', 'Type9');
SELECT count(*) FROM get_last_stream_message('absent-1');

-- A category is no stream.
SELECT * FROM get_stream_messages('account');
SELECT * FROM get_stream_messages(NULL);

RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
