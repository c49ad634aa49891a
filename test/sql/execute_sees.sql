-- What a deciding function sees, whatever its language and volatility: the aggregate at the version
-- that it is told, and all that was done before in the transaction and in the statement.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_sees;
CREATE SCHEMA t_execute_sees AUTHORIZATION regress_es_execute_sees;
SET ROLE regress_es_execute_sees;
SELECT es_create_store('t_execute_sees');
SET eventstore.store = 't_execute_sees';
SET search_path = t_execute_sees, public;
CREATE TABLE stock (n integer);
INSERT INTO stock VALUES (10);

-- The same function six times, and again for es_execute_many: it reads the aggregate in every way, and the table.
CREATE PROCEDURE make(name text, arguments text, attributes text, language text, body text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE format('CREATE FUNCTION %I(%s) RETURNS jsonb LANGUAGE %s %s AS %L', name, arguments, language, attributes,
				   CASE language WHEN 'plpgsql' THEN format('BEGIN RETURN (%s); END', body) ELSE body END);
END
$$;
DO $$
DECLARE
	reads constant text := 'SELECT jsonb_build_array(jsonb_build_object(''type'', ''Seen'', ''data'', jsonb_build_array($2, es_version($1),
		(SELECT count(*) FROM es_read($1)), (SELECT count(*) FROM es_events AS e WHERE e.key = $1),
		(SELECT l.version FROM es_load($1) AS l), (SELECT n FROM stock))))';
	writes constant text := 'SELECT jsonb_build_array(jsonb_build_object(''key'', $1->>0, ''allow_create'', true, ''events'', %I($1->>0, es_version($1->>0), NULL)))';
	language text; volatility text; name text;
BEGIN
	FOREACH language IN ARRAY ARRAY['sql', 'plpgsql'] LOOP
		FOREACH volatility IN ARRAY ARRAY['volatile', 'stable', 'immutable'] LOOP
			name := language || '_' || volatility;
			CALL make(name, 'text, bigint, jsonb', volatility, language, reads);
			CALL make('many_' || name, 'jsonb', volatility, language, format(writes, name));
		END LOOP;
	END LOOP;
END
$$;
CREATE VIEW deciders AS
SELECT language || '_' || volatility AS name
FROM unnest(ARRAY['sql', 'plpgsql']) AS language, unnest(ARRAY['volatile', 'stable', 'immutable']) AS volatility;

-- In transactions of their own.
SELECT name, e.status, e.version FROM deciders, es_execute('a-' || name, name::regproc) AS e ORDER BY name;
SELECT name, e.status, e.version FROM deciders, es_execute_many(ARRAY['a-' || name], ('many_' || name)::regproc, jsonb_build_array('a-' || name)) AS e ORDER BY name;
SELECT key, version, data FROM es_events WHERE key LIKE 'a-%' ORDER BY key, version;

-- In one transaction, after its own writes, also those of the statement at hand, which the statement itself does not see.
CREATE FUNCTION write_first(k text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append(k, '[{"type": "First"}, {"type": "Second"}]', allow_create => true);
	UPDATE stock SET n = n + 1;
	RETURN k;
END
$$;
BEGIN;
UPDATE stock SET n = 20;
SELECT name, e.status, e.version, es_version('b-' || name) AS as_of_the_statement
FROM deciders, es_execute(write_first('b-' || name), name::regproc) AS e ORDER BY name;
SELECT name, e.status, e.version, es_version('b-' || name) AS as_of_the_statement
FROM deciders, es_execute_many(ARRAY[write_first('b-' || name)], ('many_' || name)::regproc, jsonb_build_array('b-' || name)) AS e ORDER BY name;
COMMIT;
-- version given, es_version, es_read, es_events, es_load: all the same.
SELECT key, version, data - 5 AS seen, (data->5)::integer > 20 AS updated
FROM es_events WHERE key LIKE 'b-%' AND type = 'Seen' ORDER BY key, version;

-- Each attempt sees the aggregate as it is then: the function's own append is undone with the first one.
CREATE SEQUENCE calls;
CREATE FUNCTION twice(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	events jsonb;
BEGIN
	EXECUTE format('SELECT %I($1, $2, $3)', command->>0) INTO events USING key, version, command;
	IF nextval('calls') % 2 = 1 THEN
		PERFORM es_append(key, '[{"type": "Lost"}]', allow_create => true);
		UPDATE stock SET n = 99;
	END IF;
	RETURN events;
END
$$;
SELECT name, e.* FROM deciders, es_execute('c-' || name, 'twice', jsonb_build_array(name)) AS e ORDER BY name;
SELECT name, e.* FROM deciders, es_execute('c-' || name, 'twice', jsonb_build_array(name)) AS e ORDER BY name;
SELECT key, version, data FROM es_events WHERE key LIKE 'c-%' ORDER BY key, version;

-- The volatile one sees what it has written itself; the others cannot write.
CREATE FUNCTION own(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO stock VALUES (version);
	RETURN jsonb_build_array(jsonb_build_object('type', 'Own', 'data', (SELECT count(*) FROM stock)));
END
$$;
SELECT * FROM es_execute('d', 'own');
SELECT * FROM es_execute('d', 'own');
SELECT data FROM es_read('d');
ALTER FUNCTION own STABLE;
\set SHOW_CONTEXT never
SELECT * FROM es_execute('d', 'own');
\set SHOW_CONTEXT errors

RESET search_path;
SELECT * FROM es_check_store('t_execute_sees');
SELECT es_drop_store('t_execute_sees');
RESET ROLE;
DROP SCHEMA t_execute_sees CASCADE;
DROP ROLE regress_es_execute_sees;
