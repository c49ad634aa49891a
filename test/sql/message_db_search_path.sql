-- Objects with the names of built-in ones, in a schema before pg_catalog on the search path, are never used by eventstore_message_db.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
-- Nor functions beside ours that would fit a call better, with varchar where ours take text, with text where ours take name.
CREATE FUNCTION public.es_try_append(varchar, jsonb, bigint, boolean) RETURNS es_append_result LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION public.es_append(varchar, jsonb, bigint, boolean) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION public.es_create_store(text, boolean) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION public.es_grant(text, text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION public.es_sync_position(text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
SELECT message_store.es_create_message_store(true);
CREATE TEMPORARY TABLE nothing AS TABLE message_store.messages;
SELECT message_store.es_import_messages('nothing');
CREATE SCHEMA t_message_db_evil;
SET search_path = t_message_db_evil;
DO $$
DECLARE
	f record;
	made bigint := 0;
BEGIN
	-- A function and an operator of the same name and arguments, raising the alarm, for whatever takes such types.
	FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
			 FROM pg_proc AS p
			 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.proargmodes IS NULL
				 AND p.prorettype = ANY ('{text,int8,int4,bool,jsonb,uuid,timestamp,timestamptz,name,bit,void}'::regtype[]::oid[])
				 AND p.proargtypes::oid[] <@ '{text,int8,int4,bool,jsonb,uuid,timestamp,timestamptz,name,bit}'::regtype[]::oid[]
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION %I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result, 'BEGIN RAISE EXCEPTION ''hijacked''; END');
			made := made + 1;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	FOR f IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result FROM pg_operator AS o
			 WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
				 AND ARRAY[o.oprleft, o.oprright, o.oprresult] <@ '{text,int8,int4,bool,jsonb,uuid,timestamp,timestamptz,anynonarray}'::regtype[]::oid[]
	LOOP
		EXECUTE format('CREATE FUNCTION %I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', 'operator_' || md5(f.oprname), f.l, f.r, f.result, 'BEGIN RAISE EXCEPTION ''hijacked''; END');
		EXECUTE format('CREATE OPERATOR %s (FUNCTION = %I, LEFTARG = %s, RIGHTARG = %s)', f.oprname, 'operator_' || md5(f.oprname), f.l, f.r);
		made := made + 1;
	END LOOP;
	FOR f IN SELECT unnest(ARRAY['text', 'jsonb', 'uuid', 'record', 'name', 'regclass']) AS name
	LOOP
		EXECUTE CASE f.name WHEN 'record' THEN 'CREATE TYPE record AS (x pg_catalog.int4)' ELSE format('CREATE DOMAIN %I AS pg_catalog.%1$I CHECK (false)', f.name) END;
	END LOOP;
	FOR f IN SELECT unnest(ARRAY['pg_extension', 'pg_namespace', 'messages', 'es_events', 'es_aggregates']) AS name
	LOOP
		EXECUTE format('CREATE VIEW %I AS SELECT 1 / 0 AS hijacked', f.name);
	END LOOP;
	RAISE WARNING 'enough: %', made > 500;
END
$$;
GRANT USAGE ON SCHEMA t_message_db_evil TO message_store;

SET search_path = t_message_db_evil, pg_catalog, message_store, public;
-- They would be used.
SELECT split_part('a-b', '-', 1);
SELECT 1 + 1;
SET ROLE message_store;
SELECT message_store.write_message('00000000-0000-0000-0000-000000000001', 'account-1', 'T', '{}', '{}', -1);
SELECT message_store.write_message('00000000-0000-0000-0000-000000000002', 'account-1', 'T', NULL, '1');
\set VERBOSITY terse
SELECT message_store.write_message('00000000-0000-0000-0000-000000000003', 'account-1', 'T', '{}', NULL, 7);
SELECT message_store.write_message('00000000-0000-0000-0000-000000000003', 'account-1', 'T', '{}', NULL, -7);
\set VERBOSITY default
SELECT position, data, metadata FROM message_store.get_stream_messages('account-1');
SELECT position, data FROM message_store.get_category_messages('account');
SELECT position, data FROM message_store.get_category_messages('account', 1, 1, NULL, 0, 1);
SELECT position, data FROM message_store.get_category_messages('account', 1, -1, 'some', 0, 1);
SELECT type FROM message_store.get_last_stream_message('account-1', 'T');
SELECT message_store.stream_version('account-1');
SELECT message_store.acquire_lock('account-1');
SELECT message_store.category('account-1+2'), message_store.id('account-1+2'), message_store.cardinal_id('account-1+2'), message_store.is_category('account'), message_store.hash_64('x'), message_store.message_store_version();
SELECT global_position, stream_name FROM message_store.messages;
SELECT * FROM message_store.type_summary;
RESET ROLE;
CREATE TABLE t_message_db_evil.source (global_position bigint, position bigint, time timestamp, stream_name pg_catalog.text, type pg_catalog.text, data pg_catalog.jsonb, metadata pg_catalog.jsonb, id pg_catalog.uuid);
\set VERBOSITY terse
SELECT message_store.es_import_messages('t_message_db_evil.source'::pg_catalog.regclass);
\set VERBOSITY default
SELECT message_store.es_create_message_store(true);
RESET search_path;
SET client_min_messages = error;
DROP FUNCTION public.es_try_append(varchar, jsonb, bigint, boolean), public.es_append(varchar, jsonb, bigint, boolean), public.es_create_store(text, boolean), public.es_grant(text, text, text), public.es_sync_position(text);
DROP TABLE nothing;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store, t_message_db_evil CASCADE;
