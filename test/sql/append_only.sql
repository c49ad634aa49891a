-- The log is append-only: nobody changes its tables but the functions, neither the owner nor a superuser.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_only;
CREATE SCHEMA t_append_only AUTHORIZATION regress_es_append_only;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

SET ROLE regress_es_append_only;
SELECT es_create_store('t_append_only');
SET eventstore.store = 't_append_only';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}, {"type": "Paid"}]', 0);
SET search_path = t_append_only, public;

-- What the owner gets, in full.
\set SHOW_CONTEXT never
INSERT INTO es_events SELECT * FROM es_events;
UPDATE es_events SET type = 'Cancelled';
DELETE FROM es_events WHERE version = 2;
TRUNCATE es_events;
INSERT INTO es_aggregates (key, version) VALUES ('order-2', 0);
UPDATE es_aggregates SET version = 0;
DELETE FROM es_aggregates;
TRUNCATE es_aggregates;
INSERT INTO es_tags SELECT * FROM es_tags;
UPDATE es_tags SET tag = 'u';
DELETE FROM es_tags;
TRUNCATE es_tags;

-- Every other way to write, also one that would change nothing.
CREATE TEMPORARY TABLE attempts (n serial, command text);
INSERT INTO attempts (command) VALUES
	('DELETE FROM es_events WHERE false'),
	('UPDATE es_aggregates SET version = version WHERE false'),
	('INSERT INTO es_tags SELECT * FROM es_tags WHERE false'),
	('INSERT INTO es_aggregates SELECT * FROM es_aggregates ON CONFLICT DO NOTHING'),
	('INSERT INTO es_aggregates SELECT * FROM es_aggregates ON CONFLICT (key) DO UPDATE SET version = 9'),
	('MERGE INTO es_events AS e USING (VALUES (1)) AS s (v) ON e.version = s.v WHEN MATCHED THEN DELETE'),
	('MERGE INTO es_events AS e USING (VALUES (1)) AS s (v) ON e.version = s.v WHEN MATCHED THEN UPDATE SET type = ''X'''),
	('MERGE INTO es_aggregates AS a USING (VALUES (''order-9'')) AS s (k) ON a.key = s.k WHEN NOT MATCHED THEN INSERT (key, version) VALUES (k, 0)'),
	('MERGE INTO es_tags AS t USING es_events AS e ON t.version = e.version WHEN MATCHED THEN DELETE'),
	('WITH gone AS (DELETE FROM es_events RETURNING *) SELECT count(*) FROM gone'),
	('TRUNCATE es_events, es_aggregates, es_tags'),
	('TRUNCATE es_events RESTART IDENTITY CASCADE');
SELECT command, code, hint IS NOT NULL AND hint <> '' AS hint FROM attempts, LATERAL pg_temp.refusal(command) ORDER BY n;
\set VERBOSITY sqlstate
COPY es_events FROM stdin;
\.
COPY es_aggregates (key, version) FROM stdin;
order-2	5
\.
COPY es_tags FROM stdin;
\.
\set VERBOSITY default

-- Through a view, a function, a rule and a prepared statement.
CREATE VIEW t_append_only.all_events AS SELECT * FROM es_events;
DELETE FROM t_append_only.all_events;
CREATE FUNCTION t_append_only.forget() RETURNS void LANGUAGE sql AS 'DELETE FROM t_append_only.es_events';
SELECT t_append_only.forget();
PREPARE forget AS DELETE FROM es_events;
EXECUTE forget;
DEALLOCATE forget;
DROP FUNCTION t_append_only.forget;
DROP VIEW t_append_only.all_events;

-- An append just before, in the same transaction or the same statement, opens no door.
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
DELETE FROM es_events;
ROLLBACK;
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
INSERT INTO es_events SELECT * FROM es_events;
ROLLBACK;
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
UPDATE es_aggregates SET version = 9;
ROLLBACK;
WITH appended AS (SELECT es_append('order-1', '[{"type": "Shipped"}]', 2) AS version)
UPDATE es_aggregates AS a SET version = a.version + 1 FROM appended;
SELECT es_append('order-1', '[{"type": "Shipped"}]', (SELECT count(*) FROM es_events))
	FROM pg_temp.refusal('DELETE FROM t_append_only.es_events') WHERE code = '42501';

-- The same for a superuser.
RESET ROLE;
SELECT command, code FROM attempts, LATERAL pg_temp.refusal(command) ORDER BY n;
DELETE FROM es_events;
TRUNCATE es_aggregates;

-- The guard function is no use elsewhere, and cannot be called.
CREATE TEMPORARY TABLE other (n integer);
CREATE TRIGGER guard BEFORE INSERT ON other FOR EACH STATEMENT EXECUTE FUNCTION es_guard();
\set VERBOSITY sqlstate
INSERT INTO other VALUES (1);
SELECT es_guard();
\set VERBOSITY default
SELECT count(*) FROM other;

-- Reading and locking rows is not writing.
SET ROLE regress_es_append_only;
SELECT key, version FROM es_aggregates FOR UPDATE;
SELECT key, version FROM es_events ORDER BY version FOR UPDATE;

-- Nothing has changed but what was appended.
SELECT key, version, type FROM es_events ORDER BY key, version;
SELECT key, version FROM es_aggregates;
SELECT tag, key, version FROM es_tags;

DROP TABLE attempts;
RESET search_path;
SELECT es_drop_store('t_append_only');
RESET ROLE;
DROP TABLE other;
DROP SCHEMA t_append_only;
DROP ROLE regress_es_append_only;
