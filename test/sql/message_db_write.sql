-- eventstore_message_db: what write_message() returns and refuses, and how es_append() and it see each other.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\set SHOW_CONTEXT never
SET ROLE message_store;

-- As a client calls it: unqualified, all casts written out.
SELECT write_message('a5eb2a97-84d9-4ccf-8a56-7160338b11e2'::varchar, 'account-1'::varchar, 'Opened'::varchar, '{"owner": "Anna"}'::jsonb, '{"properties": 1}'::jsonb, NULL::bigint);
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Deposited', '{"amount": 1}');
SELECT write_message(id => gen_random_uuid()::varchar, stream_name => 'account-1', type => 'Deposited', data => '{"amount": 2}', expected_version => 1);

-- A new stream: -1, or nothing.
SELECT write_message(gen_random_uuid()::varchar, 'account-2', 'Opened', '{}', NULL, -1);
SELECT write_message(gen_random_uuid()::varchar, 'account-3', 'Opened', '{}', NULL, NULL);

-- Every wrong version is the same error, at a stream and where there is none.
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Deposited', '{}', NULL, 1);
SELECT write_message(gen_random_uuid()::varchar, 'account-4', 'Deposited', '{}', NULL, 0);
DO $$
DECLARE
	expected bigint;
	stream text;
BEGIN
	FOREACH stream IN ARRAY ARRAY['account-1', 'absent-1']
	LOOP
		FOREACH expected IN ARRAY ARRAY[-9223372036854775808, -2, -1, 0, 1, 2, 3, 9223372036854775806, 9223372036854775807]
		LOOP
			BEGIN
				RAISE WARNING 'at %: %', stream, write_message(gen_random_uuid()::varchar, stream, 'T', '{}', NULL, expected);
				RAISE SQLSTATE 'UNDO0';
			EXCEPTION
				WHEN SQLSTATE 'UNDO0' THEN
					NULL;
				WHEN raise_exception THEN
					RAISE WARNING '% %', SQLSTATE, SQLERRM;
			END;
		END LOOP;
	END LOOP;
END
$$;

-- An id that is known, in whatever stream.
SELECT write_message('A5EB2A97-84D9-4CCF-8A56-7160338B11E2', 'other-1', 'Opened', '{}');
-- The wrong version comes first.
SELECT write_message('a5eb2a97-84d9-4ccf-8a56-7160338b11e2', 'account-1', 'Opened', '{}', NULL, 0);

SELECT stream_name, stream_version(stream_name) FROM unnest(ARRAY['account-1', 'account-2', 'account-4', 'other-1', 'account', NULL]) AS stream_name;

-- In one statement too, what is called later sees what was written before.
SELECT write_message(gen_random_uuid()::varchar, 'account-5', 'Opened', '{}') AS written, stream_version('account-5'),
	   (SELECT position FROM get_last_stream_message('account-5')) AS last, (SELECT position FROM get_stream_messages('account-5')) AS read;

-- The other functions of the store see it, one version further on, and the other way round.
SELECT es_current_store(), es_version('account-1');
SELECT version, type, data, metadata, id = 'a5eb2a97-84d9-4ccf-8a56-7160338b11e2' AS given FROM es_read('account-1');
SELECT es_append('account-1', '[{"type": "Withdrawn", "data": {"amount": 1}, "tags": ["t"]}, {"type": "Withdrawn"}]', 3);
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Closed', '{}', NULL, 2);
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'Closed', '{}', NULL, 4);
SELECT es_append('account-1', '[{"type": "Withdrawn"}]', 5);
SELECT position, type, data FROM get_stream_messages('account-1');

-- Whatever store is set or comes first on the path, messages go to their own.
RESET ROLE;
CREATE SCHEMA t_message_db_write;
SELECT es_create_store('t_message_db_write');
GRANT USAGE ON SCHEMA t_message_db_write TO message_store;
SET eventstore.store = 't_message_db_write';
SET search_path = t_message_db_write, public;
SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-2', 'Deposited', '{}', NULL, 0);
SELECT type FROM message_store.get_category_messages('account') WHERE stream_name = 'account-2';
SELECT es_current_store(), count(*) FROM es_events GROUP BY 1;
RESET eventstore.store;
RESET search_path;
SELECT es_drop_store('t_message_db_write');
DROP SCHEMA t_message_db_write;

-- A refusal that message-db does not know has our error.
SET eventstore.allow_direct_writes = on;
UPDATE message_store.es_aggregates SET closed_at = now() WHERE key = 'account-2';
RESET eventstore.allow_direct_writes;
SET ROLE message_store;
SELECT write_message(gen_random_uuid()::varchar, 'account-2', 'Deposited', '{}');
RESET ROLE;

SELECT * FROM es_check_store('message_store');
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
