# Databases as message-db 1.3 leaves them, to be moved: its table with its indexes, and of
# its functions what a client in the middle of a move would be running.  Written from its
# documentation; unqualified names, because that is how its functions find the table.

package EventstoreMessageDb;

use strict;
use warnings;

use Exporter 'import';
use EventstoreTest;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(make_message_db);

sub make_message_db
{
	my ($node, $db, $count) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql(
		$db, q(
		DO $$ BEGIN IF to_regrole('message_store') IS NULL THEN CREATE ROLE message_store LOGIN; END IF; END $$;
		CREATE SCHEMA message_store;
		SET search_path = message_store;
		CREATE TABLE messages (
			global_position bigserial PRIMARY KEY,
			position bigint NOT NULL,
			time timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
			stream_name text NOT NULL,
			type text NOT NULL,
			data jsonb,
			metadata jsonb,
			id uuid NOT NULL DEFAULT gen_random_uuid());
		CREATE FUNCTION category(stream_name varchar) RETURNS varchar LANGUAGE sql IMMUTABLE AS $$ SELECT split_part(stream_name, '-', 1) $$;
		CREATE FUNCTION message_store_version() RETURNS varchar LANGUAGE sql AS $$ SELECT '1.3.0'::varchar $$;
		CREATE UNIQUE INDEX messages_id ON messages (id);
		CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position);
		CREATE INDEX messages_category ON messages (message_store.category(stream_name), global_position);
		CREATE TYPE message AS (id varchar, stream_name varchar, type varchar, position bigint, global_position bigint,
			data varchar, metadata varchar, time timestamp);
		CREATE FUNCTION write_message(id varchar, stream_name varchar, type varchar, data jsonb, metadata jsonb DEFAULT NULL,
			expected_version bigint DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
		DECLARE
			place bigint;
		BEGIN
			PERFORM pg_advisory_xact_lock(hashtextextended(category(write_message.stream_name), 0));
			SELECT coalesce(max(m.position), -1) + 1 INTO place FROM messages AS m WHERE m.stream_name = write_message.stream_name;
			INSERT INTO messages (id, stream_name, position, type, data, metadata)
			VALUES (write_message.id::uuid, write_message.stream_name, place, write_message.type, write_message.data, write_message.metadata);
			RETURN place;
		END $$;
		CREATE FUNCTION get_stream_messages(stream_name varchar, "position" bigint DEFAULT 0, batch_size bigint DEFAULT 1000,
			condition varchar DEFAULT NULL) RETURNS SETOF message LANGUAGE sql AS $$
			SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position, m.data::varchar, m.metadata::varchar, m.time
			FROM messages AS m WHERE m.stream_name = $1 AND m.position >= $2 ORDER BY m.position LIMIT batch_size $$;
		CREATE VIEW type_summary AS SELECT type, count(*) AS message_count FROM messages GROUP BY type;
		GRANT USAGE ON SCHEMA message_store TO message_store;
		GRANT SELECT, INSERT ON messages TO message_store;
		GRANT USAGE, SELECT ON SEQUENCE messages_global_position_seq TO message_store;));
	$node->safe_psql(
		$db, qq(
		SET search_path = message_store, public;
		SELECT count(write_message(gen_random_uuid()::varchar, 'account-' || n % 7, 'T' || n % 3,
			nullif(to_jsonb(n), '2'), CASE n % 3 WHEN 0 THEN jsonb_build_object('n', n) END))
		FROM generate_series(1, $count) AS n));
	return;
}

1;
