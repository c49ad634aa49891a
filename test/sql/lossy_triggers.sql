-- A trigger or rule that swallows what is appended makes the append fail: nothing is lost silently.
SET client_min_messages = warning;
CREATE ROLE regress_es_lossy_triggers;
CREATE SCHEMA t_lossy_triggers AUTHORIZATION regress_es_lossy_triggers;

CREATE FUNCTION pg_temp.lost(append text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	wrong bigint;
BEGIN
	BEGIN
		EXECUTE append;
	EXCEPTION WHEN OTHERS THEN
		RETURN 'refused';
	END;
	SELECT count(*) INTO wrong
	FROM t_lossy_triggers.es_aggregates AS a
	FULL JOIN (SELECT key, count(*) AS events, max(version) AS last FROM t_lossy_triggers.es_events GROUP BY key) AS e USING (key)
	WHERE (a.version, a.version) IS DISTINCT FROM (e.events, e.last);
	RETURN CASE wrong WHEN 0 THEN 'whole' ELSE 'accepted, and the log is wrong' END;
END
$$;

SET ROLE regress_es_lossy_triggers;
SELECT es_create_store('t_lossy_triggers');
SET eventstore.store = 't_lossy_triggers';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

CREATE TEMPORARY TABLE appends (n serial, append text);
INSERT INTO appends (append) VALUES
	($$SELECT es_append('order-1', '[{"type": "Paid"}]', 1)$$),
	($$SELECT es_append('order-1', '[{"type": "Paid"}, {"type": "Noisy"}, {"type": "Shipped"}]')$$),
	($$SELECT es_append('order-2', '[{"type": "Placed"}]', 0)$$),
	($$SELECT es_append_many('[{"key": "order-1", "events": [{"type": "Noisy"}]}, {"key": "order-3", "events": [{"type": "Noisy"}], "expected_version": 0}]')$$),
	($$SELECT es_append_each('[{"key": "order-1", "events": [{"type": "Noisy"}]}, {"key": "order-3", "events": [{"type": "Noisy"}], "expected_version": 0}]')$$);

-- A filter that drops some events, or all of them.
CREATE FUNCTION t_lossy_triggers.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON t_lossy_triggers.es_events FOR EACH ROW WHEN (NEW.type = 'Noisy') EXECUTE FUNCTION t_lossy_triggers.swallow();
SELECT n, pg_temp.lost(append) FROM appends ORDER BY n;
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON t_lossy_triggers.es_events FOR EACH ROW EXECUTE FUNCTION t_lossy_triggers.swallow();
SELECT n, pg_temp.lost(append) FROM appends ORDER BY n;
ROLLBACK;

-- The same on the versions.
BEGIN;
CREATE TRIGGER swallow BEFORE UPDATE ON t_lossy_triggers.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_lossy_triggers.swallow();
SELECT n, pg_temp.lost(append) FROM appends ORDER BY n;
ROLLBACK;
BEGIN;
CREATE TRIGGER swallow BEFORE INSERT ON t_lossy_triggers.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_lossy_triggers.swallow();
SELECT n, pg_temp.lost(append) FROM appends ORDER BY n;
ROLLBACK;

-- A rule.
BEGIN;
CREATE RULE swallow AS ON INSERT TO t_lossy_triggers.es_events DO INSTEAD NOTHING;
SELECT n, pg_temp.lost(append) FROM appends ORDER BY n;
ROLLBACK;
BEGIN;
CREATE RULE swallow AS ON UPDATE TO t_lossy_triggers.es_aggregates DO INSTEAD NOTHING;
SELECT n, pg_temp.lost(append) FROM appends ORDER BY n;
ROLLBACK;

DROP TABLE appends;
DROP FUNCTION t_lossy_triggers.swallow;
SELECT es_drop_store('t_lossy_triggers');
RESET ROLE;
DROP SCHEMA t_lossy_triggers;
DROP ROLE regress_es_lossy_triggers;
