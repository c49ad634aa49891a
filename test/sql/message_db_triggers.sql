-- eventstore_message_db: a trigger on the events fires for write_message() as for es_append(), with the caller's search path.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
CREATE SCHEMA t_message_db_triggers;
CREATE TABLE t_message_db_triggers.totals (stream_name text PRIMARY KEY, messages bigint);
CREATE FUNCTION t_message_db_triggers.count_event() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	-- Not qualified.
	INSERT INTO totals AS t VALUES (NEW.key, 1) ON CONFLICT (stream_name) DO UPDATE SET messages = t.messages + 1;
	RETURN NULL;
END
$$;
CREATE TRIGGER count_event AFTER INSERT ON message_store.es_events FOR EACH ROW EXECUTE FUNCTION t_message_db_triggers.count_event();
SET search_path = message_store, t_message_db_triggers, public;
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}', NULL, 0);
SELECT es_append('account-1', '[{"type": "T"}, {"type": "T"}]', 2);
SELECT * FROM totals;

-- What the trigger refuses is not written.
CREATE FUNCTION t_message_db_triggers.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no more'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON message_store.es_events FOR EACH ROW EXECUTE FUNCTION t_message_db_triggers.refuse();
\set VERBOSITY terse
SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}');
\set VERBOSITY default
SELECT stream_version('account-1'), es_version('account-1');
RESET search_path;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store, t_message_db_triggers CASCADE;
