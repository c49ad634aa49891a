-- eventstore_message_db: bad arguments are refused, and nothing is written.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\set SHOW_CONTEXT never
SET ROLE message_store;
CREATE FUNCTION pg_temp.outcome(id text, stream text, type text, data jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	RETURN write_message(id, stream, type, data);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT what, outcome
FROM (VALUES
	('no id', pg_temp.outcome(NULL, 'account-1', 'T')),
	('id is no uuid', pg_temp.outcome('17', 'account-1', 'T')),
	('no stream', pg_temp.outcome('00000000-0000-0000-0000-000000000001', NULL, 'T')),
	('empty stream', pg_temp.outcome('00000000-0000-0000-0000-000000000001', '', 'T')),
	('stream of 513 bytes', pg_temp.outcome('00000000-0000-0000-0000-000000000001', repeat('x', 513), 'T')),
	('no type', pg_temp.outcome('00000000-0000-0000-0000-000000000001', 'account-1', NULL)),
	('empty type', pg_temp.outcome('00000000-0000-0000-0000-000000000001', 'account-1', '')),
	('type of 513 bytes', pg_temp.outcome('00000000-0000-0000-0000-000000000001', 'account-1', repeat('x', 513)))
) AS t (what, outcome);
SELECT count(*) FROM messages;
-- At the limits.
SELECT write_message('00000000-0000-0000-0000-000000000001', repeat('x', 512), repeat('y', 512), '{}');
SELECT length(stream_name), length(type), position FROM messages;

-- The fields of an error that a client may look at.
DO $$
DECLARE
	schema_name text;
	table_name text;
	column_name text;
	constraint_name text;
BEGIN
	BEGIN
		PERFORM write_message(gen_random_uuid()::varchar, 'account-1', NULL, '{}');
	EXCEPTION WHEN not_null_violation THEN
		GET STACKED DIAGNOSTICS schema_name = SCHEMA_NAME, table_name = TABLE_NAME, column_name = COLUMN_NAME;
		RAISE WARNING '% % %', schema_name, table_name, column_name;
	END;
	BEGIN
		PERFORM write_message('00000000-0000-0000-0000-000000000001', 'account-1', 'T', '{}');
	EXCEPTION WHEN unique_violation THEN
		GET STACKED DIAGNOSTICS constraint_name = CONSTRAINT_NAME;
		RAISE WARNING '%: %', constraint_name, SQLERRM;
	END;
END
$$;

-- messages is for reading.
\set VERBOSITY sqlstate
INSERT INTO messages (stream_name, position, type) VALUES ('account-1', 0, 'T');
DELETE FROM messages;
TRUNCATE messages;
\set VERBOSITY default

RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
