-- eventstore_message_db: data and metadata come back as they were given; none is NULL, and not JSON null.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
SET ROLE message_store;
\pset null '(null)'
SELECT write_message(gen_random_uuid()::varchar, 'pay-1', t, d::jsonb, m::jsonb)
FROM (VALUES ('both', '{"a": 1.50, "b": [null, {"data": null}]}', '{"m": null}'), ('neither', NULL, NULL), ('data only', '{}', NULL),
	('metadata only', NULL, '{}'), ('JSON nulls', 'null', 'null'), ('scalar', '17', '17'), ('array', '[]', '[1]'), ('object as text', '{}', '"{\"a\": 1}"'), ('wrapped', '{}', '{"message_db_metadata": 1, "b": 2}'), ('string', '"ß \" \\ \n"', '{"ß": "日本"}')) AS p (t, d, m);
SELECT position, type, data, metadata, data IS NULL AS no_data, metadata IS NULL AS no_metadata FROM get_stream_messages('pay-1');
SELECT position, data, metadata FROM get_category_messages('pay');
SELECT data, metadata FROM get_last_stream_message('pay-1', 'neither');
SELECT position, data, metadata, pg_typeof(data) FROM messages ORDER BY position;
SELECT version, metadata FROM es_read('pay-1') WHERE metadata ? 'message_db_metadata';

-- The types of a message, as drivers see them.
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'message_store.message'::regclass AND attnum > 0 ORDER BY attnum;

-- Times are UTC, whatever the session has.
SET TimeZone = 'Asia/Tokyo';
SELECT abs(extract(epoch FROM time - (now() AT TIME ZONE 'UTC'))) < 3600 AS utc FROM get_stream_messages('pay-1', batch_size => 1);
SELECT bool_and(m.time = g.time) AS same FROM get_stream_messages('pay-1') AS g JOIN messages AS m ON m.id = g.id::uuid;
RESET TimeZone;

RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
