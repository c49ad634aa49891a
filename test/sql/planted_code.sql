-- What the owner of a store plants in its tables runs with the rights of whoever uses the store, as in any table, reading included: no less, and no more.
SET client_min_messages = warning;
CREATE ROLE regress_es_planted_code;
CREATE ROLE regress_es_planted_code_user;
CREATE SCHEMA t_planted_code AUTHORIZATION regress_es_planted_code;
CREATE SCHEMA t_planted_code_traces;
CREATE TABLE t_planted_code_traces.ran (what text, as_user name, as_session_user boolean);
GRANT USAGE ON SCHEMA t_planted_code_traces TO PUBLIC;
GRANT INSERT ON t_planted_code_traces.ran TO PUBLIC;

SET ROLE regress_es_planted_code;
SELECT es_create_store('t_planted_code');
SELECT es_grant('regress_es_planted_code_user', 'writer', 't_planted_code'), es_grant('regress_es_planted_code_user', 'consumer', 't_planted_code');
SET eventstore.store = 't_planted_code';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT es_create_subscription('s');

-- Traces, and fails where it may not do what it is asked to.
CREATE FUNCTION t_planted_code.trace(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_planted_code_traces.ran VALUES (what, current_user, current_user = session_user);
	RETURN true;
EXCEPTION WHEN read_only_sql_transaction OR object_not_in_prerequisite_state THEN
	RETURN true;
END
$$;
CREATE FUNCTION t_planted_code.trace_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM t_planted_code.trace('trigger on ' || TG_TABLE_NAME);
	RETURN NEW;
END
$$;
CREATE FUNCTION t_planted_code.trace_value(what text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM t_planted_code.trace(what); RETURN what; END $$;
GRANT USAGE ON SCHEMA t_planted_code TO PUBLIC;

CREATE TRIGGER planted AFTER INSERT ON t_planted_code.es_events FOR EACH ROW EXECUTE FUNCTION t_planted_code.trace_trigger();
CREATE TRIGGER planted BEFORE UPDATE ON t_planted_code.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_planted_code.trace_trigger();
CREATE TRIGGER planted AFTER INSERT ON t_planted_code.es_tags FOR EACH STATEMENT EXECUTE FUNCTION t_planted_code.trace_trigger();
CREATE TRIGGER planted AFTER INSERT ON t_planted_code.es_snapshots FOR EACH ROW EXECUTE FUNCTION t_planted_code.trace_trigger();
CREATE TRIGGER planted AFTER UPDATE ON t_planted_code.es_subscriptions FOR EACH ROW EXECUTE FUNCTION t_planted_code.trace_trigger();
ALTER TABLE t_planted_code.es_events ADD CHECK (t_planted_code.trace('check'));
ALTER TABLE t_planted_code.es_events ADD COLUMN planted boolean DEFAULT t_planted_code.trace('default');
CREATE INDEX planted ON t_planted_code.es_events (t_planted_code.trace_value(key || ' in an index'));
ALTER TABLE t_planted_code.es_aggregates ENABLE ROW LEVEL SECURITY;
CREATE POLICY planted ON t_planted_code.es_aggregates USING (t_planted_code.trace('policy'));
RESET ROLE;
TRUNCATE t_planted_code_traces.ran;

SET ROLE regress_es_planted_code_user;
SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1);
SELECT key, version FROM es_lock('{order-1}');
SELECT es_save_snapshot('order-1', 2, '{}');
SELECT count(*) FROM es_fetch('s', lease => '1 minute');
SELECT es_version('order-1');
RESET ROLE;
SELECT what, as_user, count(*) > 0 AS ran FROM t_planted_code_traces.ran GROUP BY 1, 2 ORDER BY 1, 2;
TRUNCATE t_planted_code_traces.ran;

-- A superuser is no exception, but for policies: do not use a store whose owner you do not trust as one.
SELECT es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2);
SELECT es_version('order-1');
SELECT what, as_session_user, count(*) > 0 AS ran FROM t_planted_code_traces.ran GROUP BY 1, 2 ORDER BY 1, 2;
TRUNCATE t_planted_code_traces.ran;

-- Nor is reading: the planner computes what is constant in an index.  As with any SELECT.
SET ROLE regress_es_planted_code;
CREATE FUNCTION t_planted_code.planned() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM set_config('planted.as', current_user, false); RETURN 1; END $$;
CREATE INDEX planned ON t_planted_code.es_events (version) WHERE t_planted_code.planned() = 1;
\connect -
SET client_min_messages = warning;
SET eventstore.store = 't_planted_code';
SELECT version, type FROM es_read('order-1') ORDER BY version;
SELECT current_setting('planted.as') = session_user AS planned_as_caller;
\connect -
SET client_min_messages = warning;
SELECT count(*) FROM t_planted_code.es_events WHERE key = 'order-1';
SELECT current_setting('planted.as') = session_user AS planned_as_caller;

-- Nothing of the extension runs with other rights than the caller's: no function is SECURITY DEFINER, none is LEAKPROOF, and the views hold no more than everybody may see.
SELECT count(*) AS definer_or_leakproof
FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid JOIN pg_extension AS e ON d.refobjid = e.oid
WHERE d.deptype = 'e' AND e.extname = 'eventstore' AND (p.prosecdef OR p.proleakproof);

SET ROLE regress_es_planted_code;
SELECT es_drop_store('t_planted_code');
DROP FUNCTION t_planted_code.trace, t_planted_code.trace_trigger, t_planted_code.trace_value, t_planted_code.planned;
RESET ROLE;
DROP SCHEMA t_planted_code_traces CASCADE;
DROP OWNED BY regress_es_planted_code_user;
DROP SCHEMA t_planted_code;
DROP ROLE regress_es_planted_code, regress_es_planted_code_user;
