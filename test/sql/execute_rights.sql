-- es_execute works with the caller's rights, whoever the deciding function belongs to; a policy that
-- hides an aggregate makes the command fail.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_rights;
CREATE ROLE regress_es_execute_rights_reader;
CREATE ROLE regress_es_execute_rights_writer;
CREATE ROLE regress_es_execute_rights_author;
GRANT regress_es_execute_rights_reader, regress_es_execute_rights_writer, regress_es_execute_rights_author TO regress_es_execute_rights;
CREATE SCHEMA t_execute_rights AUTHORIZATION regress_es_execute_rights;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM);
END
$$;

CREATE FUNCTION pg_temp.try_all() RETURNS TABLE (call text, outcome text) LANGUAGE sql
AS $$
	SELECT call, pg_temp.refusal('SELECT e.status FROM ' || call)
	FROM unnest(ARRAY['es_execute(''order-1'', ''who'') AS e', 'es_execute(''order-1'', ''definer'') AS e', 'es_execute(''order-1'', ''invoker'') AS e', 'es_execute(''order-1'', ''nothing'') AS e',
					  'es_execute_many(''{order-1}'', ''definer_many'') AS e', 'es_execute(''order-1'', ''definer'', request_id => ''r-1'') AS e']) WITH ORDINALITY AS c (call, n)
	ORDER BY n
$$;

SET ROLE regress_es_execute_rights;
SELECT es_create_store('t_execute_rights');
SET eventstore.store = 't_execute_rights';
SET search_path = t_execute_rights, public;
SELECT es_grant('regress_es_execute_rights_reader', 'reader'), es_grant('regress_es_execute_rights_writer', 'writer'), es_grant('regress_es_execute_rights_author', 'reader');
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
CREATE TABLE secrets (secret text);
INSERT INTO secrets VALUES ('of the owner');
GRANT CREATE ON SCHEMA t_execute_rights TO regress_es_execute_rights_author;

CREATE FUNCTION who(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN jsonb_build_array(jsonb_build_object('type', 'Seen', 'data', current_user)); END $$;
CREATE FUNCTION definer(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
AS $$ BEGIN RETURN jsonb_build_array(jsonb_build_object('type', current_user, 'data', (SELECT secret FROM t_execute_rights.secrets))); END $$;
CREATE FUNCTION invoker(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN jsonb_build_array(jsonb_build_object('type', 'Seen', 'data', (SELECT secret FROM t_execute_rights.secrets))); END $$;
CREATE FUNCTION nothing(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
CREATE FUNCTION definer_many(command jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
AS $$ BEGIN RETURN jsonb_build_array(jsonb_build_object('key', 'order-1', 'events', t_execute_rights.definer('', 0, NULL))); END $$;

-- Who may do what.  A reader has nothing to execute.
SET ROLE regress_es_execute_rights_writer;
SELECT * FROM pg_temp.try_all();
SET ROLE regress_es_execute_rights_reader;
SELECT call, left(outcome, 5) AS code FROM pg_temp.try_all() WHERE call NOT LIKE '%nothing%';
RESET ROLE;
SET ROLE regress_es_execute_rights;
SELECT version, type, data FROM es_read('order-1');

-- A reader's own function does not append for him with a definer's rights, but a definer's function may.
SET ROLE regress_es_execute_rights_author;
CREATE FUNCTION trap(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN PERFORM es_append('trap', '[{"type": "Trapped"}]', allow_create => true); RETURN '[{"type": "Trapped"}]'; END $$;
SELECT pg_temp.refusal($$SELECT e.status FROM es_execute('order-1', 'trap') AS e$$);
-- Called by a writer it works with the writer's rights: who calls a function trusts it.
SET ROLE regress_es_execute_rights_writer;
SELECT pg_temp.refusal($$SELECT e.status FROM es_execute('order-1', 'trap') AS e$$);
SET ROLE regress_es_execute_rights;
CREATE FUNCTION service(key text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = t_execute_rights, public, pg_temp
AS $$ SELECT status FROM es_execute(key, 'who') $$;
SET ROLE regress_es_execute_rights_reader;
SELECT service('order-1');
SELECT current_user;
SET ROLE regress_es_execute_rights;
SELECT version, type, data FROM es_read('order-1', 6);

-- After a discarded attempt and after an error the rights are the caller's again.
CREATE SEQUENCE calls;
GRANT USAGE ON SEQUENCE calls TO regress_es_execute_rights_writer;
CREATE FUNCTION twice(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = t_execute_rights, public, pg_temp
AS $$
BEGIN
	IF nextval('calls') = 1 THEN
		PERFORM es_append(key, '[{"type": "Lost"}]');
	ELSIF command IS NOT NULL THEN
		RAISE 'failed as %', current_user;
	END IF;
	RETURN jsonb_build_array(jsonb_build_object('type', 'Twice', 'data', current_user));
END
$$;
SET ROLE regress_es_execute_rights_writer;
SELECT status, attempts FROM es_execute('order-1', 'twice');
SELECT current_user, current_setting('search_path');
SELECT pg_temp.refusal($$SELECT e.status FROM es_execute('order-1', 'twice', '1') AS e$$);
SELECT current_user, current_setting('search_path');
SELECT pg_temp.refusal('SELECT secret FROM secrets');

-- The function is looked up where the caller looks; the store's own names are not to be had that way.
SET ROLE regress_es_execute_rights;
CREATE FUNCTION pg_temp.who(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "Temporary"}]'::jsonb $$;
SELECT status FROM es_execute('order-2', 'who');
SELECT status FROM es_execute('order-2', 'pg_temp.who');
SELECT type FROM es_read('order-2');
DROP FUNCTION pg_temp.who(text, bigint, jsonb);

-- What a policy hides is neither decided on as missing nor created.
ALTER TABLE es_aggregates ENABLE ROW LEVEL SECURITY;
ALTER TABLE es_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY orders ON es_aggregates TO regress_es_execute_rights_writer USING (key LIKE 'mine-%');
CREATE POLICY orders ON es_events TO regress_es_execute_rights_writer USING (key LIKE 'mine-%');
CREATE FUNCTION obey(command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';
SET ROLE regress_es_execute_rights_writer;
SELECT pg_temp.refusal(format('SELECT e.status FROM es_execute(%L, %L) AS e', key, 'who')) AS es_execute,
	   pg_temp.refusal(format('SELECT e.status FROM es_execute(%L, %L, request_id => %L) AS e', key, 'who', 'r-1')) AS with_a_request,
	   pg_temp.refusal(format('SELECT string_agg(e.status, %L) FROM es_execute_many(%L, %L, %L) AS e', ' ', '{mine-3}', 'obey', jsonb_build_array(jsonb_build_object('key', key, 'events', '[{"type": "T"}]'::jsonb, 'expected_version', 0)))) AS es_execute_many,
	   pg_temp.refusal(format('SELECT string_agg(e.status, %L) FROM es_execute_many(%L, %L, %L) AS e', ' ', '{mine-3}', 'obey', jsonb_build_array(jsonb_build_object('key', key)))) AS as_a_guard
FROM unnest(ARRAY['mine-1', 'order-1', 'order-9']) WITH ORDINALITY AS k (key, n) ORDER BY n;
SET ROLE regress_es_execute_rights;
SELECT key, version FROM es_aggregates ORDER BY key;

DROP POLICY orders ON es_aggregates;
DROP POLICY orders ON es_events;
RESET search_path;
SELECT * FROM es_check_store('t_execute_rights');
SELECT es_drop_store('t_execute_rights');
RESET ROLE;
DROP SCHEMA t_execute_rights CASCADE;
DROP ROLE regress_es_execute_rights, regress_es_execute_rights_reader, regress_es_execute_rights_writer, regress_es_execute_rights_author;
