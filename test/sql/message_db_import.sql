-- es_import_messages(): a table as message-db has it becomes the store, with all positions, ids and times; what cannot is named.
SET client_min_messages = warning;
-- Not into the schema of a message-db.
CREATE SCHEMA message_store;
CREATE TABLE message_store.messages (global_position bigint);
\set SHOW_CONTEXT never
CREATE EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
CREATE EXTENSION eventstore_message_db;
CREATE SCHEMA t_message_db_import;
CREATE TABLE t_message_db_import.messages (
	global_position bigserial PRIMARY KEY,
	position bigint NOT NULL,
	time timestamp NOT NULL DEFAULT '2020-02-29 12:00',
	stream_name text NOT NULL,
	type text NOT NULL,
	data jsonb,
	metadata jsonb,
	id uuid NOT NULL DEFAULT gen_random_uuid()
);
CREATE TABLE t_message_db_import.good (LIKE t_message_db_import.messages INCLUDING ALL);
INSERT INTO t_message_db_import.good (global_position, position, stream_name, type, data, metadata) VALUES
	(3, 0, 'account-1', 'Opened', '{"a": 1}', '{"m": 1}'),
	(7, 0, 'account-2', 'Opened', NULL, 'null'),
	(8, 1, 'account-1', 'Closed', 'null', NULL),
	-- Its first messages were deleted.
	(20, 5, 'account-3', 'Closed', '{}', '{}'),
	(21, 0, 'account-4', 'Opened', '{}', '"text"'),
	(22, 0, 'account-5', 'Opened', '{}', '{"message_db_metadata": []}');
INSERT INTO t_message_db_import.messages SELECT * FROM t_message_db_import.good;

-- Nowhere to import to; then for superusers only.
\set VERBOSITY sqlstate
SELECT message_store.es_import_messages('t_message_db_import.messages');
\set VERBOSITY default
SELECT message_store.es_create_message_store();
SELECT message_store.es_import_messages(NULL);

-- Everything that cannot be, at once.
INSERT INTO t_message_db_import.messages (global_position, position, stream_name, type) VALUES
	(-1, 0, 'early-1', 'T'), (30, -1, 'negative-1', 'T'), (31, 0, '', 'T'), (32, 0, repeat('x', 513), 'T'), (33, 0, 'type-1', ''),
	(35, 0, 'hole-1', 'T'), (36, 2, 'hole-1', 'T'), (37, 1, 'order-1', 'T'), (38, 0, 'order-1', 'T'),
	(39, 0, 'both-1', repeat('y', 513)), (39 - 100, -1, '', '');
SELECT message_store.es_import_messages('t_message_db_import.messages');
SELECT count(*) FROM message_store.messages;
TRUNCATE t_message_db_import.messages;
INSERT INTO t_message_db_import.messages SELECT * FROM t_message_db_import.good;

-- Two with one id.
BEGIN;
UPDATE t_message_db_import.messages SET id = (SELECT id FROM t_message_db_import.messages WHERE global_position = 3) WHERE global_position = 7;
\set VERBOSITY sqlstate
SELECT message_store.es_import_messages('t_message_db_import.messages');
\set VERBOSITY default
ROLLBACK;

-- Positions that were drawn in vain, with readers up to the last of them: 3, and then 2.
BEGIN;
ALTER SEQUENCE message_store.es_position_seq RESTART WITH 4;
SELECT message_store.es_import_messages('t_message_db_import.messages');
ROLLBACK;
BEGIN;
ALTER SEQUENCE message_store.es_position_seq RESTART WITH 3;
SELECT message_store.es_import_messages('t_message_db_import.messages');
ROLLBACK;

SET TimeZone = 'America/New_York';
SELECT message_store.es_import_messages('t_message_db_import.messages');
RESET TimeZone;
SELECT * FROM es_check_store('message_store');
SELECT m.global_position, m.position, m.time, m.stream_name, m.type, m.data, m.metadata, m.id = s.id AS same_id
FROM message_store.messages AS m JOIN t_message_db_import.messages AS s USING (global_position) ORDER BY 1;
-- Once only.
SELECT message_store.es_import_messages('t_message_db_import.messages');

-- It goes on behind what was there.
SET ROLE message_store;
SELECT write_message(gen_random_uuid()::varchar, 'account-3', 'Reopened', '{}', NULL, 5);
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Reopened', '{}', NULL, 0);
SELECT global_position, position, type FROM get_category_messages('account', 8);
SELECT position, type FROM get_stream_messages('account-3');
RESET ROLE;
SELECT * FROM es_check_store('message_store');
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store, t_message_db_import CASCADE;
