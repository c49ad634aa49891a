-- What a writer, a reader and a consumer can do to the tables and the sequence themselves, beside the functions.
SET client_min_messages = warning;
CREATE ROLE regress_es_writer_reach;
CREATE ROLE regress_es_writer_reach_reader;
CREATE ROLE regress_es_writer_reach_writer;
CREATE ROLE regress_es_writer_reach_consumer;
CREATE ROLE regress_es_writer_reach_admin;
CREATE ROLE regress_es_writer_reach_none;
GRANT regress_es_writer_reach_reader, regress_es_writer_reach_writer, regress_es_writer_reach_consumer, regress_es_writer_reach_admin,
	regress_es_writer_reach_none TO regress_es_writer_reach;
CREATE SCHEMA t_writer_reach AUTHORIZATION regress_es_writer_reach;
SET ROLE regress_es_writer_reach;
SELECT es_create_store('t_writer_reach');
SELECT es_grant('regress_es_writer_reach_reader', 'reader', 't_writer_reach'), es_grant('regress_es_writer_reach_writer', 'writer', 't_writer_reach'),
	   es_grant('regress_es_writer_reach_consumer', 'consumer', 't_writer_reach'), es_grant('regress_es_writer_reach_admin', 'admin', 't_writer_reach');
SET eventstore.store = 't_writer_reach';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT es_save_snapshot('order-1', 1, '{}');
SELECT es_create_subscription('s');
CREATE FUNCTION t_writer_reach.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
GRANT EXECUTE ON FUNCTION t_writer_reach.nothing() TO PUBLIC;

CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN 'yes';
	WHEN OTHERS THEN
		RETURN SQLSTATE || CASE WHEN SQLERRM ~ 'of an event store directly' THEN ' guard' ELSE '' END;
END
$$;
CREATE TEMPORARY TABLE attempts (n serial, command text);
INSERT INTO attempts (command)
	SELECT format(c, t) FROM unnest(ARRAY['es_events', 'es_aggregates', 'es_tags']) WITH ORDINALITY AS ts (t, o),
		unnest(ARRAY['INSERT INTO %1$s SELECT * FROM %1$s', 'INSERT INTO %1$s SELECT * FROM %1$s ON CONFLICT DO NOTHING',
					 'MERGE INTO %1$s AS t USING %1$s AS s ON t.key = s.key AND false WHEN NOT MATCHED THEN INSERT (key, version) VALUES (s.key, s.version)',
					 'UPDATE %1$s SET version = 7', 'DELETE FROM %1$s', 'TRUNCATE %1$s',
					 'SELECT * FROM %1$s FOR UPDATE', 'LOCK TABLE %1$s IN EXCLUSIVE MODE',
					 'CREATE TRIGGER t BEFORE INSERT ON %1$s EXECUTE FUNCTION nothing()', 'ALTER TABLE %1$s DISABLE TRIGGER es_guard', 'DROP TRIGGER es_guard ON %1$s',
					 'CREATE RULE r AS ON INSERT TO %1$s DO INSTEAD NOTHING', 'CREATE POLICY p ON %1$s', 'DROP TABLE %1$s']) WITH ORDINALITY AS cs (c, p) ORDER BY o, p;
INSERT INTO attempts (command) VALUES
	($$SELECT nextval('es_position_seq')$$), ($$SELECT setval('es_position_seq', 1)$$), ('ALTER SEQUENCE es_position_seq CACHE 10'), ('SELECT * FROM es_position_seq'),
	($$UPDATE es_store SET settings = '{}'$$), ('UPDATE es_store SET format_version = 2'), ('DELETE FROM es_store'),
	($$UPDATE es_snapshots SET state = '"forged"'$$), ('DELETE FROM es_snapshots'),
	('INSERT INTO es_watermark (position) VALUES (1000)'), ('UPDATE es_subscriptions SET position = 0'), ($$INSERT INTO es_parked_events (subscription, key, position, version) VALUES ('s', 'order-1', 1, 1)$$),
	('SET LOCAL eventstore.allow_direct_writes = on'), ('SET LOCAL session_replication_role = replica'),
	($$SELECT es_make_guards('t_writer_reach')$$), ($$SELECT es_upgrade_store('t_writer_reach')$$), ($$SELECT es_drop_store('t_writer_reach')$$), ($$SELECT es_sync_position('t_writer_reach')$$),
	($$SELECT es_grant('regress_es_writer_reach_reader', 'writer', 't_writer_reach')$$),
	($$SELECT * FROM es_check_store('t_writer_reach')$$),
	($$SELECT es_fetch('s')$$), ($$SELECT es_lock('{order-1}')$$), ($$SELECT es_query('[{"tags": ["t"]}]')$$);
GRANT SELECT ON attempts TO PUBLIC;
CREATE TEMPORARY TABLE outcomes (n integer, role name, outcome text);
GRANT INSERT ON outcomes TO PUBLIC;
SET search_path = t_writer_reach, public;
SET client_min_messages = error;
SET ROLE regress_es_writer_reach_reader;
INSERT INTO outcomes SELECT n, 'reader', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_writer_reach_writer;
INSERT INTO outcomes SELECT n, 'writer', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_writer_reach_consumer;
INSERT INTO outcomes SELECT n, 'consumer', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_writer_reach_admin;
INSERT INTO outcomes SELECT n, 'admin', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_writer_reach;
INSERT INTO outcomes SELECT n, 'owner', pg_temp.outcome(command) FROM attempts ORDER BY n;
SELECT command, max(outcome) FILTER (WHERE role = 'reader') AS reader, max(outcome) FILTER (WHERE role = 'writer') AS writer,
	   max(outcome) FILTER (WHERE role = 'consumer') AS consumer, max(outcome) FILTER (WHERE role = 'admin') AS admin, max(outcome) FILTER (WHERE role = 'owner') AS owner
FROM attempts JOIN outcomes USING (n) GROUP BY n, command ORDER BY n;

-- COPY is refused, too.
\set VERBOSITY sqlstate
SET ROLE regress_es_writer_reach_writer;
COPY t_writer_reach.es_tags FROM stdin;
t	1	order-1	1
\.
SET ROLE regress_es_writer_reach;
\set VERBOSITY default

-- Advisory locks made by SQL are of another class: ours can neither be taken nor released.
RESET ROLE;
SET log_min_messages = error;
SET ROLE regress_es_writer_reach;
SET client_min_messages = error;
BEGIN;
SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1);
CREATE TEMPORARY TABLE held ON COMMIT DROP AS
	SELECT classid, objid, objsubid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT count(*) > 1 AS several, bool_and(objsubid > 2) AS of_another_class FROM held;
SELECT pg_advisory_unlock_all();
SELECT bool_or(pg_advisory_unlock(((classid::bigint << 32) | objid::bigint))) AS released, bool_or(pg_advisory_unlock_shared(((classid::bigint << 32) | objid::bigint))) AS released_shared,
	   bool_or(pg_try_advisory_lock(((classid::bigint << 32) | objid::bigint))) AS taken_beside FROM held;
SELECT count(*) AS gone FROM (SELECT * FROM held EXCEPT SELECT classid, objid, objsubid, mode FROM pg_locks WHERE pid = pg_backend_pid()) AS g;
-- Everybody sees who is in flight, but not where.
SET LOCAL ROLE regress_es_writer_reach_none;
SELECT store, bound IS NULL AS no_bound, pid = pg_backend_pid() AS own_process, role = session_user AS own_role FROM es_in_flight;
ROLLBACK;
SELECT pg_advisory_unlock_all();
SET client_min_messages = warning;
RESET ROLE;
RESET log_min_messages;
SET ROLE regress_es_writer_reach;

SELECT * FROM es_check_store('t_writer_reach');
DROP TABLE attempts, outcomes;
DROP FUNCTION pg_temp.outcome;
DROP FUNCTION t_writer_reach.nothing;
SELECT es_drop_store('t_writer_reach');
RESET ROLE;
DROP SCHEMA t_writer_reach CASCADE;
DROP ROLE regress_es_writer_reach, regress_es_writer_reach_reader, regress_es_writer_reach_writer, regress_es_writer_reach_consumer, regress_es_writer_reach_admin,
	regress_es_writer_reach_none;
