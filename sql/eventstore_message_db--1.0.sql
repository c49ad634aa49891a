/* eventstore_message_db 1.0 */

\echo Use "CREATE EXTENSION eventstore_message_db" to load this file. \quit

-- Whatever somebody has put into the schema before, with a better match, is not called by this script.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The interface of message-db 1.3 over the store in schema message_store, which
-- es_create_message_store() makes.  The tables cannot be members of the extension (a dump
-- would lose their rows), so nothing here may need them before it is called: queries over
-- them are the text of functions.
--
-- What write_message() locks, and in this order: the category (an advisory lock, as
-- message-db has it, so that acquire_lock() excludes writers), then what es_append() locks:
-- the aggregate, the tags (there are none), the lock that shows an append in flight.  Nothing
-- but write_message() and acquire_lock() takes the category, so a call cannot deadlock
-- another, nor es_append(); a transaction of several calls can, as everywhere.
--
-- The category lock keeps only writers through write_message() in order.  Readers of a
-- category do not rely on it, but on the settled horizon of the log: whoever appends, by
-- whatever function, is either visible to them or behind their last position.
--
-- write_message() and the get functions run with the search path of the caller, because the
-- user's triggers and conditions do.  So every name in them is qualified, operators too.  As
-- with message-db all of them are volatile: each call sees what was written before it.

DO $$
BEGIN
	IF to_regclass('message_store.messages') IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_table',
			MESSAGE = 'schema "message_store" already holds a table "messages"',
			HINT = 'If it is that of message-db, rename the schema; then es_import_messages() copies it.';
	END IF;
	IF to_regrole('message_store') IS NULL THEN
		CREATE ROLE message_store LOGIN;
	END IF;
EXCEPTION
	WHEN duplicate_object OR unique_violation THEN
		NULL;					-- made in another database meanwhile
END
$$;

CREATE TYPE message_store.message AS (
	id varchar,
	stream_name varchar,
	type varchar,
	position bigint,
	global_position bigint,
	data varchar,
	metadata varchar,
	time timestamp
);

COMMENT ON TYPE message_store.message IS
'A message as the get functions of message-db return it. position: place in its stream, from 0; global_position: place in the log; time: UTC.';

-- Names of streams
--
-- As text, not parsed beforehand, so that they take on the collation of their argument and
-- match the index of es_create_message_store().

CREATE FUNCTION message_store.category(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.split_part(stream_name, '-', 1) $$;

COMMENT ON FUNCTION message_store.category(varchar) IS
'Category of a stream: the part of its name before the first "-", or the whole name.';

CREATE FUNCTION message_store.is_category(stream_name varchar) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT coalesce(pg_catalog.strpos(stream_name, '-') OPERATOR(pg_catalog.=) 0, true) $$;

COMMENT ON FUNCTION message_store.is_category(varchar) IS
'Is this the name of a category, not of a stream: has it no "-"?';

CREATE FUNCTION message_store.id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN pg_catalog.strpos(stream_name, '-') OPERATOR(pg_catalog.>) 0
		   THEN pg_catalog.substr(stream_name, pg_catalog.strpos(stream_name, '-') OPERATOR(pg_catalog.+) 1) END
$$;

COMMENT ON FUNCTION message_store.id(varchar) IS
'Id in the name of a stream: the part after the first "-"; NULL for a category.';

CREATE FUNCTION message_store.cardinal_id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.split_part(message_store.id(stream_name), '+', 1) $$;

COMMENT ON FUNCTION message_store.cardinal_id(varchar) IS
'First part of a compound id: the part of the id before the first "+", or the whole id; NULL for a category.';

CREATE FUNCTION message_store.hash_64(value varchar) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT ('x' OPERATOR(pg_catalog.||) pg_catalog.substr(pg_catalog.md5(value), 1, 16))::bit(64)::bigint $$;

COMMENT ON FUNCTION message_store.hash_64(varchar) IS
'The first 64 bits of the MD5 hash of a text: consumer groups and category locks go by it.';

CREATE FUNCTION message_store.message_store_version() RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT '1.3.0'::varchar $$;

COMMENT ON FUNCTION message_store.message_store_version() IS
'The version of message-db whose interface this is.';

-- Writing

CREATE FUNCTION message_store.acquire_lock(stream_name varchar) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	hash CONSTANT bigint := message_store.hash_64(message_store.category(stream_name));
BEGIN
	PERFORM pg_catalog.pg_advisory_xact_lock(hash);
	IF pg_catalog.current_setting('message_store.debug_write', true) OPERATOR(pg_catalog.=) 'on'
	   OR pg_catalog.current_setting('message_store.debug', true) OPERATOR(pg_catalog.=) 'on' THEN
		RAISE NOTICE 'acquire_lock: stream_name %, category %, lock %', stream_name, message_store.category(stream_name), hash;
	END IF;
	RETURN hash;
END
$$;

COMMENT ON FUNCTION message_store.acquire_lock(varchar) IS
'Locks the category of a stream against write_message() until the transaction ends, and returns the number of the advisory lock. es_append() and its like do not mind it.';

-- Before PostgreSQL 16 a script cannot name the schema of an extension that it requires;
-- es_library stands for it here.
CREATE PROCEDURE message_store.es_define(definition text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE replace(definition, 'es_library.', (SELECT quote_ident(n.nspname) || '.' FROM pg_extension AS e
												JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'eventstore'));
END
$$;

CALL message_store.es_define($create$
CREATE FUNCTION message_store.write_message(id varchar, stream_name varchar, type varchar, data jsonb, metadata jsonb DEFAULT NULL, expected_version bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET eventstore.store = 'message_store'
AS $$
DECLARE
	message pg_catalog.jsonb;
	expected bigint;
	outcome es_library.es_append_result;
BEGIN
	IF id IS NULL OR stream_name IS NULL OR type IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'not_null_violation',
			MESSAGE = pg_catalog.format('%s of a message must not be null',
										CASE WHEN stream_name IS NULL THEN 'stream name' WHEN type IS NULL THEN 'type' ELSE 'id' END),
			SCHEMA = 'message_store', TABLE = 'messages',
			COLUMN = CASE WHEN stream_name IS NULL THEN 'stream_name' WHEN type IS NULL THEN 'type' ELSE 'id' END;
	END IF;

	IF coalesce(pg_catalog.current_setting('message_store.category_lock', true) OPERATOR(pg_catalog.<>) 'off', true) THEN
		PERFORM pg_catalog.pg_advisory_xact_lock(message_store.hash_64(message_store.category(stream_name)));
	END IF;

	-- An event's metadata is an object; what else a client may give is wrapped into one.
	IF pg_catalog.jsonb_typeof(metadata) OPERATOR(pg_catalog.<>) 'object' OR metadata OPERATOR(pg_catalog.?) 'message_db_metadata' THEN
		metadata := pg_catalog.jsonb_build_object('message_db_metadata', metadata);
	END IF;
	-- No data is not the same as a JSON null.
	message := pg_catalog.jsonb_build_object('id', id::pg_catalog.uuid, 'type', type, 'data', data, 'metadata', metadata);
	IF data IS NULL THEN
		message := message OPERATOR(pg_catalog.-) 'data'::pg_catalog.text;
	END IF;
	IF metadata IS NULL THEN
		message := message OPERATOR(pg_catalog.-) 'metadata'::pg_catalog.text;
	END IF;
	message := pg_catalog.jsonb_build_array(message);

	-- Our versions begin with 1.  Where no stream can be is a conflict like any other.
	expected := CASE WHEN expected_version OPERATOR(pg_catalog.<) -1 OR expected_version OPERATOR(pg_catalog.=) 9223372036854775807
				THEN 9223372036854775807 ELSE expected_version OPERATOR(pg_catalog.+) 1 END;

	outcome := es_library.es_try_append(stream_name::pg_catalog.text, message, expected, true, NULL::pg_catalog.text);
	IF outcome.status OPERATOR(pg_catalog.=) 'version_conflict' THEN
		RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
			expected_version, stream_name, outcome.version OPERATOR(pg_catalog.-) 1;
	ELSIF outcome.status OPERATOR(pg_catalog.<>) 'appended' THEN
		-- A refusal that message-db does not know: with our own error.
		PERFORM es_library.es_append(stream_name::pg_catalog.text, message, expected, true, NULL::pg_catalog.text);
	END IF;

	IF pg_catalog.current_setting('message_store.debug_write', true) OPERATOR(pg_catalog.=) 'on'
	   OR pg_catalog.current_setting('message_store.debug', true) OPERATOR(pg_catalog.=) 'on' THEN
		RAISE NOTICE 'write_message: id %, stream_name %, type %, data %, metadata %, expected_version %; position %',
			id, stream_name, type, data, metadata, expected_version, outcome.version OPERATOR(pg_catalog.-) 1;
	END IF;
	RETURN outcome.version OPERATOR(pg_catalog.-) 1;
END
$$
$create$);

COMMENT ON FUNCTION message_store.write_message(varchar, varchar, varchar, jsonb, jsonb, bigint) IS
'Writes a message to a stream and returns its position there, from 0. expected_version: the position of the last message that was read, -1 if there must be none, NULL to write in any case. Locks the category (unless message_store.category_lock is off), then the stream, to the end of the transaction. Errors: P0001 "Wrong expected version"; 23505 (messages_id) for an id that is known; 23502, 22023, 22P02 bad arguments; VE003 closed; 40001 above READ COMMITTED; 42P01 no store; 42501 no rights.';

-- Reading

CREATE FUNCTION message_store.es_unwrap(metadata jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT coalesce(metadata OPERATOR(pg_catalog.->) 'message_db_metadata', metadata) $$;

COMMENT ON FUNCTION message_store.es_unwrap(jsonb) IS
'Internal: metadata as they were given to write_message(), which wraps what is not an object.';

CREATE FUNCTION message_store.stream_version(stream_name varchar) RETURNS bigint
LANGUAGE sql
AS $$ SELECT a.version OPERATOR(pg_catalog.-) 1 FROM message_store.es_aggregates AS a WHERE a.key OPERATOR(pg_catalog.=) stream_name::pg_catalog.text $$;

COMMENT ON FUNCTION message_store.stream_version(varchar) IS
'Position of the last message of a stream; NULL if there is none.';

CREATE FUNCTION message_store.get_last_stream_message(stream_name varchar, type varchar DEFAULT NULL) RETURNS SETOF message_store.message
LANGUAGE plpgsql ROWS 1
AS $$
BEGIN
	IF pg_catalog.current_setting('message_store.debug_get', true) OPERATOR(pg_catalog.=) 'on'
	   OR pg_catalog.current_setting('message_store.debug', true) OPERATOR(pg_catalog.=) 'on' THEN
		RAISE NOTICE 'get_last_stream_message: stream_name %, type %', stream_name, type;
	END IF;
	RETURN QUERY
		SELECT e.id::varchar, e.key::varchar, e.type::varchar, e.version OPERATOR(pg_catalog.-) 1, e.position,
			   e.data::varchar, message_store.es_unwrap(e.metadata)::varchar, pg_catalog.timezone('UTC', e.recorded_at)
		FROM message_store.es_events AS e
		WHERE e.key OPERATOR(pg_catalog.=) get_last_stream_message.stream_name::pg_catalog.text
		  AND (get_last_stream_message.type IS NULL OR e.type OPERATOR(pg_catalog.=) get_last_stream_message.type::pg_catalog.text)
		ORDER BY e.version DESC LIMIT 1;
END
$$;

COMMENT ON FUNCTION message_store.get_last_stream_message(varchar, varchar) IS
'The last message of a stream, or the last of a type; no row if there is none.';

-- The columns of a message, under the names that a condition knows.  The condition is SQL of
-- the caller's; whoever cannot run SQL must not get to choose it.
CREATE FUNCTION message_store.es_select(restriction text, condition varchar, last_clauses text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
	SELECT pg_catalog.format('SELECT messages.id::varchar, messages.stream_name::varchar, messages.type::varchar, messages.position, messages.global_position, '
		'messages.data::varchar, messages.metadata::varchar, messages.time '
		'FROM (SELECT e.id, e.key AS stream_name, e.type, e.version OPERATOR(pg_catalog.-) 1 AS position, e.position AS global_position, '
		'e.data, message_store.es_unwrap(e.metadata) AS metadata, pg_catalog.timezone(''UTC'', e.recorded_at) AS time, e.version '
		'FROM message_store.es_events AS e WHERE %s) AS messages%s %s',
		restriction, CASE WHEN condition IS NOT NULL THEN pg_catalog.format(' WHERE (%s)', condition) END, last_clauses)
$$;

COMMENT ON FUNCTION message_store.es_select(text, varchar, text) IS
'Internal: the query of a get function.';

CREATE FUNCTION message_store.get_stream_messages(stream_name varchar, "position" bigint DEFAULT 0, batch_size bigint DEFAULT 1000, condition varchar DEFAULT NULL) RETURNS SETOF message_store.message
LANGUAGE plpgsql
AS $$
DECLARE
	command pg_catalog.text;
BEGIN
	IF message_store.is_category(stream_name) THEN
		RAISE EXCEPTION 'Must be a stream name: %', stream_name;
	END IF;
	IF condition IS NOT NULL AND coalesce(pg_catalog.current_setting('message_store.sql_condition', true) OPERATOR(pg_catalog.=) ANY (ARRAY['off', '']), true) THEN
		RAISE EXCEPTION 'Retrieval with SQL condition is not activated';
	END IF;
	get_stream_messages.position := coalesce(get_stream_messages.position, 0);
	batch_size := coalesce(batch_size, 1000);

	-- A position p is our version p + 1.
	command := message_store.es_select('e.key OPERATOR(pg_catalog.=) $1 AND e.version OPERATOR(pg_catalog.>) $2', condition,
									   CASE WHEN batch_size OPERATOR(pg_catalog.=) -1 THEN 'ORDER BY messages.version' ELSE 'ORDER BY messages.version LIMIT $3' END);
	IF pg_catalog.current_setting('message_store.debug_get', true) OPERATOR(pg_catalog.=) 'on'
	   OR pg_catalog.current_setting('message_store.debug', true) OPERATOR(pg_catalog.=) 'on' THEN
		RAISE NOTICE 'get_stream_messages: stream_name ($1) %, position ($2) %, batch_size ($3) %, condition %; %',
			stream_name, get_stream_messages.position, batch_size, condition, command;
	END IF;
	-- Planned for these very values: a plan for any would not know how far a page reaches.
	RETURN QUERY EXECUTE command USING stream_name::pg_catalog.text, get_stream_messages.position, batch_size;
END
$$;

COMMENT ON FUNCTION message_store.get_stream_messages(varchar, bigint, bigint, varchar) IS
'Messages of a stream from a position on, in order, at most batch_size (-1: all). condition: SQL over the columns of messages, allowed only while message_store.sql_condition is on.';

CALL message_store.es_define($create$
CREATE FUNCTION message_store.get_category_messages(category varchar, "position" bigint DEFAULT 1, batch_size bigint DEFAULT 1000, correlation varchar DEFAULT NULL, consumer_group_member bigint DEFAULT NULL, consumer_group_size bigint DEFAULT NULL, condition varchar DEFAULT NULL) RETURNS SETOF message_store.message
LANGUAGE plpgsql
SET eventstore.store = 'message_store'
AS $$
DECLARE
	restriction pg_catalog.text := 'pg_catalog.split_part(e.key, ''-'', 1) OPERATOR(pg_catalog.=) $1 AND e.position OPERATOR(pg_catalog.>=) $2 AND e.position OPERATOR(pg_catalog.<=) $3';
	command pg_catalog.text;
	horizon bigint;
BEGIN
	IF NOT message_store.is_category(category) THEN
		RAISE EXCEPTION 'Must be a category: %', category;
	END IF;
	get_category_messages.position := coalesce(get_category_messages.position, 1);
	batch_size := coalesce(batch_size, 1000);

	IF correlation IS NOT NULL THEN
		IF NOT message_store.is_category(correlation) THEN
			RAISE EXCEPTION 'Correlation must be a category (Correlation: %)', correlation;
		END IF;
		restriction := pg_catalog.concat(restriction, ' AND pg_catalog.split_part(e.metadata OPERATOR(pg_catalog.->>) ''correlationStreamName'', ''-'', 1) OPERATOR(pg_catalog.=) $5');
	END IF;

	IF (consumer_group_member IS NULL) OPERATOR(pg_catalog.<>) (consumer_group_size IS NULL) THEN
		RAISE EXCEPTION 'Consumer group member and size must be specified (Consumer Group Member: %, Consumer Group Size: %)',
			consumer_group_member, consumer_group_size;
	ELSIF consumer_group_size OPERATOR(pg_catalog.<) 1 THEN
		RAISE EXCEPTION 'Consumer group size must not be less than 1 (Consumer Group Member: %, Consumer Group Size: %)',
			consumer_group_member, consumer_group_size;
	ELSIF consumer_group_member OPERATOR(pg_catalog.<) 0 THEN
		RAISE EXCEPTION 'Consumer group member must not be less than 0 (Consumer Group Member: %, Consumer Group Size: %)',
			consumer_group_member, consumer_group_size;
	ELSIF consumer_group_member OPERATOR(pg_catalog.>=) consumer_group_size THEN
		RAISE EXCEPTION 'Consumer group member must be less than the group size (Consumer Group Member: %, Consumer Group Size: %)',
			consumer_group_member, consumer_group_size;
	ELSIF consumer_group_size IS NOT NULL THEN
		restriction := pg_catalog.concat(restriction, ' AND pg_catalog.mod(pg_catalog.abs(message_store.hash_64(message_store.cardinal_id(e.key::varchar))), $7) OPERATOR(pg_catalog.=) $6');
	END IF;

	IF condition IS NOT NULL AND coalesce(pg_catalog.current_setting('message_store.sql_condition', true) OPERATOR(pg_catalog.=) ANY (ARRAY['off', '']), true) THEN
		RAISE EXCEPTION 'Retrieval with SQL condition is not activated';
	END IF;
	command := message_store.es_select(restriction, condition,
									   CASE WHEN batch_size OPERATOR(pg_catalog.=) -1 THEN 'ORDER BY messages.global_position' ELSE 'ORDER BY messages.global_position LIMIT $4' END);

	-- First the horizon, then the snapshot to read with: that of the statement after it.
	horizon := es_library.es_horizon();
	IF pg_catalog.current_setting('message_store.debug_get', true) OPERATOR(pg_catalog.=) 'on'
	   OR pg_catalog.current_setting('message_store.debug', true) OPERATOR(pg_catalog.=) 'on' THEN
		RAISE NOTICE 'get_category_messages: category ($1) %, position ($2) %, horizon ($3) %, batch_size ($4) %, correlation ($5) %, consumer_group_member ($6) %, consumer_group_size ($7) %, condition %; %',
			category, get_category_messages.position, horizon, batch_size, correlation, consumer_group_member, consumer_group_size, condition, command;
	END IF;
	RETURN QUERY EXECUTE command
		USING category::pg_catalog.text, get_category_messages.position, horizon, batch_size, correlation::pg_catalog.text, consumer_group_member, consumer_group_size;
END
$$
$create$);

COMMENT ON FUNCTION message_store.get_category_messages(varchar, bigint, bigint, varchar, bigint, bigint, varchar) IS
'Messages of a category from a position in the log on, in order, at most batch_size (-1: all), and none before all earlier ones are settled. correlation: only those whose metadata name a stream of that category as correlationStreamName; consumer_group_member, from 0, and consumer_group_size: only the streams of one member; condition: SQL over the columns of messages, allowed only while message_store.sql_condition is on. On a standby and above READ COMMITTED: up to the watermark. Errors: P0001 bad arguments; 42P01 no store; 42501 no rights; 55000 no watermark where one is needed.';

-- messages, and the reports over it

CREATE TYPE message_store.es_message AS (
	global_position bigint,
	position bigint,
	time timestamp,
	stream_name text COLLATE "C",
	type text COLLATE "C",
	data jsonb,
	metadata jsonb,
	id uuid
);

COMMENT ON TYPE message_store.es_message IS
'Internal: a row of the view messages.';

-- The planner puts the query in place of its call, so that indexes are used.
CREATE FUNCTION message_store.es_messages() RETURNS SETOF message_store.es_message
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
	SELECT e.position, e.version OPERATOR(pg_catalog.-) 1, pg_catalog.timezone('UTC', e.recorded_at), e.key, e.type, e.data, message_store.es_unwrap(e.metadata), e.id
	FROM message_store.es_events AS e
$$;

COMMENT ON FUNCTION message_store.es_messages() IS
'Internal: what the view messages shows.';

CREATE VIEW message_store.messages AS
SELECT m.global_position, m.position, m.time, m.stream_name, m.type, m.data, m.metadata, m.id
FROM message_store.es_messages() AS m;

COMMENT ON VIEW message_store.messages IS
'All messages, for reading. Messages are written by write_message() only.';

CREATE VIEW message_store.category_type_summary AS
SELECT message_store.category(m.stream_name) AS category, m.type, count(*) AS message_count, round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM message_store.messages AS m GROUP BY 1, 2 ORDER BY 1, 2;

COMMENT ON VIEW message_store.category_type_summary IS
'Number and share of messages for each category and type.';

CREATE VIEW message_store.stream_summary AS
SELECT m.stream_name, count(*) AS message_count, round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM message_store.messages AS m GROUP BY 1 ORDER BY 1;

COMMENT ON VIEW message_store.stream_summary IS
'Number and share of messages for each stream.';

CREATE VIEW message_store.stream_type_summary AS
SELECT m.stream_name, m.type, count(*) AS message_count, round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM message_store.messages AS m GROUP BY 1, 2 ORDER BY 1, 2;

COMMENT ON VIEW message_store.stream_type_summary IS
'Number and share of messages for each stream and type.';

CREATE VIEW message_store.type_category_summary AS
SELECT m.type, message_store.category(m.stream_name) AS category, count(*) AS message_count, round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM message_store.messages AS m GROUP BY 1, 2 ORDER BY 1, 2;

COMMENT ON VIEW message_store.type_category_summary IS
'Number and share of messages for each type and category.';

CREATE VIEW message_store.type_stream_summary AS
SELECT m.type, m.stream_name, count(*) AS message_count, round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM message_store.messages AS m GROUP BY 1, 2 ORDER BY 1, 2;

COMMENT ON VIEW message_store.type_stream_summary IS
'Number and share of messages for each type and stream.';

CREATE VIEW message_store.type_summary AS
SELECT m.type, count(*) AS message_count, round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM message_store.messages AS m GROUP BY 1 ORDER BY 1;

COMMENT ON VIEW message_store.type_summary IS
'Number and share of messages for each type.';

-- The store

CALL message_store.es_define($create$
CREATE FUNCTION message_store.es_create_message_store(if_not_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
BEGIN
	PERFORM es_library.es_create_store('message_store'::pg_catalog.name, if_not_exists);
	-- Clients look for this name when an id comes a second time.
	CREATE UNIQUE INDEX IF NOT EXISTS messages_id ON message_store.es_events (id);
	CREATE INDEX IF NOT EXISTS messages_category ON message_store.es_events
		(split_part(key, '-', 1), position, split_part(metadata ->> 'correlationStreamName', '-', 1));
	PERFORM es_library.es_grant('message_store'::pg_catalog.regrole, 'writer'::pg_catalog.text, 'message_store'::pg_catalog.name);
	IF NOT has_schema_privilege('message_store', (SELECT extnamespace FROM pg_extension WHERE extname = 'eventstore'), 'USAGE') THEN
		EXECUTE format('GRANT USAGE ON SCHEMA %s TO message_store',
					   (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'eventstore'));
	END IF;
END
$$
$create$);

COMMENT ON FUNCTION message_store.es_create_message_store(boolean) IS
'Makes the event store in schema message_store, with the indexes that message-db has, and lets the role message_store write. Its tables belong to the caller. Errors: as es_create_store() and es_grant().';

CALL message_store.es_define($create$
CREATE FUNCTION message_store.es_import_messages(source regclass) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET eventstore.allow_direct_writes = on
AS $$
DECLARE
	problems text;
	first bigint;
	drawn bigint;
	imported bigint;
BEGIN
	IF source IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'argument "source" must not be null';
	END IF;
	-- Whoever writes to either waits for the end of this transaction.
	EXECUTE format('LOCK TABLE %s, message_store.es_aggregates, message_store.es_events IN SHARE ROW EXCLUSIVE MODE', source);
	-- Nor can anybody draw a position until then.
	drawn := es_library.es_sync_position('message_store'::pg_catalog.name);
	IF EXISTS (SELECT FROM message_store.es_aggregates) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'event store "message_store" already has messages',
			HINT = 'Import into a new one.';
	END IF;

	EXECUTE format($sql$
		SELECT string_agg(finding, E'\n') FROM (
			SELECT format('Message %%s: %%s.', m.global_position, concat_ws(', ',
				CASE WHEN octet_length(m.stream_name) NOT BETWEEN 1 AND 512 THEN 'stream name not of 1 to 512 bytes' END,
				CASE WHEN octet_length(m.type) NOT BETWEEN 1 AND 512 THEN 'type not of 1 to 512 bytes' END,
				CASE WHEN m.global_position < 1 THEN 'global position below 1' END,
				CASE WHEN m.position < 0 THEN 'position below 0' END,
				CASE WHEN m.position <> m.previous_position + 1 THEN format('position %%s of stream "%%s" missing before it', m.position - 1, m.stream_name) END,
				CASE WHEN m.global_position < m.previous_global THEN format('before its predecessor in stream "%%s"', m.stream_name) END)) AS finding
			FROM (SELECT s.global_position, s.position, s.stream_name, s.type,
						 lag(s.position) OVER w AS previous_position, lag(s.global_position) OVER w AS previous_global
				  FROM %s AS s WINDOW w AS (PARTITION BY s.stream_name COLLATE "C" ORDER BY s.position)) AS m
			WHERE octet_length(m.stream_name) NOT BETWEEN 1 AND 512 OR octet_length(m.type) NOT BETWEEN 1 AND 512
			   OR m.global_position < 1 OR m.position < 0 OR m.position <> m.previous_position + 1 OR m.global_position < m.previous_global
			ORDER BY m.global_position LIMIT 20) AS f
		$sql$, source) INTO problems;
	IF problems IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('table %s has messages that an event store does not take', source),
			DETAIL = problems;
	END IF;

	-- Positions may have been drawn in vain.  No reader is beyond the last of them; one that is behind the first
	-- message would miss it.
	EXECUTE format('SELECT min(s.global_position) FROM %s AS s', source) INTO first;
	IF first <= drawn THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'readers of event store "message_store" may be beyond the first message already',
			DETAIL = format('The first message is at global position %s, the last position drawn was %s.', first, drawn),
			HINT = 'Import into a new one.';
	END IF;

	EXECUTE format($sql$
		INSERT INTO message_store.es_events (position, version, recorded_at, id, key, type, data, metadata)
		SELECT s.global_position, s.position + 1, timezone('UTC', s.time), s.id, s.stream_name, s.type, s.data,
			   CASE WHEN jsonb_typeof(s.metadata) <> 'object' OR s.metadata ? 'message_db_metadata'
					THEN jsonb_build_object('message_db_metadata', s.metadata) ELSE s.metadata END
		FROM %s AS s ORDER BY s.global_position
		$sql$, source);
	GET DIAGNOSTICS imported = ROW_COUNT;
	-- A stream whose first messages were deleted begins later.
	INSERT INTO message_store.es_aggregates (key, version, first_version)
	SELECT e.key, max(e.version), min(e.version) FROM message_store.es_events AS e GROUP BY e.key;
	PERFORM es_library.es_sync_position('message_store'::pg_catalog.name);
	RETURN imported;
END
$$
$create$);

COMMENT ON FUNCTION message_store.es_import_messages(regclass) IS
'Copies the table of messages of a message-db into the new, empty message store: streams, positions, global positions, ids and times stay as they are. Returns their number. Locks both against writers to the end of the transaction. For superusers. Errors: 22023 for messages that an event store does not take, 55000 if there are messages already, or readers may be beyond the first, 23505 if two have one id, 42501 for others.';

DROP PROCEDURE message_store.es_define(text);

-- What the role may do; with rights on schema and tables from es_create_message_store().
DO $$
DECLARE
	member record;
BEGIN
	FOR member IN SELECT classid, objid FROM pg_depend
				  WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
				  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore_message_db')
	LOOP
		IF member.classid = 'pg_proc'::regclass THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO message_store', member.objid::regprocedure);
		ELSIF member.objid IN (SELECT oid FROM pg_class WHERE relkind = 'v') THEN
			EXECUTE format('GRANT SELECT ON %s TO message_store', member.objid::regclass);
		END IF;
	END LOOP;
END
$$;
