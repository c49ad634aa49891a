-- Who may load aggregates and save snapshots of them; policies on the tables hold.
SET client_min_messages = warning;
CREATE ROLE regress_es_snapshots_rights;
CREATE ROLE regress_es_snapshots_rights_none;
CREATE ROLE regress_es_snapshots_rights_reader;
CREATE ROLE regress_es_snapshots_rights_consumer;
CREATE ROLE regress_es_snapshots_rights_writer;
CREATE ROLE regress_es_snapshots_rights_admin;
GRANT regress_es_snapshots_rights_none, regress_es_snapshots_rights_reader, regress_es_snapshots_rights_consumer, regress_es_snapshots_rights_writer, regress_es_snapshots_rights_admin TO regress_es_snapshots_rights;
CREATE SCHEMA t_snapshots_rights AUTHORIZATION regress_es_snapshots_rights;

CREATE FUNCTION pg_temp.outcome(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN coalesce(result, 'done');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
CREATE FUNCTION pg_temp.outcomes(role text) RETURNS TABLE (role text, es_load text, es_save_snapshot text, delete text) LANGUAGE sql
AS $$ SELECT role, pg_temp.outcome('SELECT snapshot_version FROM es_load(''order-1'')'), pg_temp.outcome('SELECT es_save_snapshot(''order-1'', 1, ''2'')'), pg_temp.outcome('WITH d AS (DELETE FROM t_snapshots_rights.es_snapshots WHERE version = 0 RETURNING 1) SELECT count(*) FROM d') $$;

SET ROLE regress_es_snapshots_rights;
SELECT es_create_store('t_snapshots_rights');
SET eventstore.store = 't_snapshots_rights';
SELECT es_grant('regress_es_snapshots_rights_reader', 'reader'), es_grant('regress_es_snapshots_rights_consumer', 'consumer'), es_grant('regress_es_snapshots_rights_writer', 'writer'), es_grant('regress_es_snapshots_rights_admin', 'admin');
SELECT es_append('order-1', '[{"type": "A"}]', 0), es_append('hidden-1', '[{"type": "A"}, {"type": "B"}]', 0);
SELECT es_save_snapshot('order-1', 1, '1'), es_save_snapshot('hidden-1', 1, '1');

SET ROLE regress_es_snapshots_rights_none;
SELECT * FROM pg_temp.outcomes('none');
SET ROLE regress_es_snapshots_rights_reader;
SELECT * FROM pg_temp.outcomes('reader');
SET ROLE regress_es_snapshots_rights_consumer;
SELECT * FROM pg_temp.outcomes('consumer');
SET ROLE regress_es_snapshots_rights_writer;
SELECT * FROM pg_temp.outcomes('writer');
SET ROLE regress_es_snapshots_rights_admin;
SELECT * FROM pg_temp.outcomes('admin');

-- A policy on the aggregates and events: what is hidden is not there for a reader, and an error for who saves.
SET ROLE regress_es_snapshots_rights;
ALTER TABLE t_snapshots_rights.es_aggregates ENABLE ROW LEVEL SECURITY;
ALTER TABLE t_snapshots_rights.es_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON t_snapshots_rights.es_aggregates USING (key LIKE 'order-%');
CREATE POLICY visible ON t_snapshots_rights.es_events USING (key LIKE 'order-%');
SET ROLE regress_es_snapshots_rights_writer;
SELECT key, l.* FROM unnest(ARRAY['order-1', 'hidden-1']) AS key, LATERAL (SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load(key)) AS l ORDER BY key DESC;
SELECT pg_temp.outcome(format('SELECT es_save_snapshot(%L, %s, %L)', key, version, 2)) AS outcome FROM (VALUES (1, 'order-1', 1), (2, 'order-1', 2), (3, 'hidden-1', 1), (4, 'hidden-1', 2), (5, 'hidden-1', 3), (6, 'order-9', 1)) AS v (n, key, version) ORDER BY n;

-- A policy on the snapshots alone.
SET ROLE regress_es_snapshots_rights;
DROP POLICY visible ON t_snapshots_rights.es_aggregates;
DROP POLICY visible ON t_snapshots_rights.es_events;
ALTER TABLE t_snapshots_rights.es_aggregates DISABLE ROW LEVEL SECURITY;
ALTER TABLE t_snapshots_rights.es_events DISABLE ROW LEVEL SECURITY;
ALTER TABLE t_snapshots_rights.es_snapshots ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON t_snapshots_rights.es_snapshots USING (key LIKE 'order-%');
SELECT key, version, state FROM t_snapshots_rights.es_snapshots ORDER BY key;
SET ROLE regress_es_snapshots_rights_writer;
SELECT key, l.* FROM unnest(ARRAY['order-1', 'hidden-1']) AS key, LATERAL (SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load(key)) AS l ORDER BY key DESC;
SELECT pg_temp.outcome('SELECT es_save_snapshot(''order-1'', 1, ''3'')') AS visible, pg_temp.outcome('SELECT es_save_snapshot(''hidden-1'', 2, ''3'')') AS hidden;
SET ROLE regress_es_snapshots_rights;
SELECT key, version, state FROM t_snapshots_rights.es_snapshots ORDER BY key;

-- Nothing that a caller puts on the search path comes between.
RESET ROLE;
CREATE FUNCTION t_snapshots_rights.boom(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE OPERATOR t_snapshots_rights.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = t_snapshots_rights.boom);
CREATE OPERATOR t_snapshots_rights.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = t_snapshots_rights.boom);
CREATE OPERATOR t_snapshots_rights.>= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = t_snapshots_rights.boom);
CREATE FUNCTION t_snapshots_rights.jsonb_agg(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
SET ROLE regress_es_snapshots_rights;
SET search_path = t_snapshots_rights, pg_catalog, public;
SELECT 1::bigint <= 2::bigint AS caught;
SELECT version, snapshot_version, state, jsonb_array_length(events) AS events FROM es_load('order-1');
SELECT es_save_snapshot('order-1', 1, '4');
RESET search_path;

DROP POLICY visible ON t_snapshots_rights.es_snapshots;
SELECT es_drop_store('t_snapshots_rights');
RESET ROLE;
DROP SCHEMA t_snapshots_rights CASCADE;
DROP OWNED BY regress_es_snapshots_rights_reader, regress_es_snapshots_rights_consumer, regress_es_snapshots_rights_writer, regress_es_snapshots_rights_admin;
DROP ROLE regress_es_snapshots_rights, regress_es_snapshots_rights_none, regress_es_snapshots_rights_reader, regress_es_snapshots_rights_consumer, regress_es_snapshots_rights_writer, regress_es_snapshots_rights_admin;
