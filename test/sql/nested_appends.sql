-- A user's trigger may append itself, to another aggregate and to the same one.
SET client_min_messages = warning;
CREATE ROLE regress_es_nested_appends;
CREATE SCHEMA t_nested_appends AUTHORIZATION regress_es_nested_appends;
SET ROLE regress_es_nested_appends;
SELECT es_create_store('t_nested_appends');
SET eventstore.store = 't_nested_appends';

-- To another aggregate, after each event.
CREATE FUNCTION t_nested_appends.audit()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append('audit-' || NEW.key, jsonb_build_array(jsonb_build_object('type', 'Seen', 'data', NEW.type, 'tags', ARRAY['audit'])), allow_create => true);
	RETURN NULL;
END
$$;
CREATE TRIGGER audit AFTER INSERT ON t_nested_appends.es_events FOR EACH ROW
	WHEN (es_category(NEW.key) <> 'audit') EXECUTE FUNCTION t_nested_appends.audit();
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["o"]}, {"type": "Paid"}]', 0);
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT key, status, version FROM es_append_many('[
	{"key": "order-1", "events": [{"type": "Delivered"}], "expected_version": 3},
	{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]');
SELECT key, status, version FROM es_append_each('[
	{"key": "order-2", "events": [{"type": "Paid"}], "expected_version": 1},
	{"key": "order-2", "events": [{"type": "Paid"}], "expected_version": 1}]');
SELECT key, version, type, data FROM t_nested_appends.es_events ORDER BY key, version;
DROP TRIGGER audit ON t_nested_appends.es_events;

-- To the same aggregate: the inner append finds the version that the outer one left.
CREATE FUNCTION t_nested_appends.follow_up()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append(NEW.key, jsonb_build_array(jsonb_build_object('type', 'FollowUp', 'data', NEW.version)));
	RETURN NULL;
END
$$;
CREATE TRIGGER follow_up AFTER INSERT ON t_nested_appends.es_events FOR EACH ROW
	WHEN (NEW.type <> 'FollowUp') EXECUTE FUNCTION t_nested_appends.follow_up();
SELECT es_append('task-1', '[{"type": "Started"}, {"type": "Finished"}]', 0);
SELECT es_append('task-1', '[{"type": "Reopened"}]', 4);
SELECT key, status, version FROM es_append_each('[
	{"key": "task-1", "events": [{"type": "Finished"}], "expected_version": 6},
	{"key": "task-1", "events": [{"type": "Reopened"}], "expected_version": 8}]');
SELECT version, type, data FROM es_read('task-1') ORDER BY version;
DROP TRIGGER follow_up ON t_nested_appends.es_events;

-- The inner append is refused: it fails the outer one, unless the trigger catches it.
CREATE FUNCTION t_nested_appends.conflict()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append(NEW.key, '[{"type": "Late"}]', 0);
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	IF NEW.data = '"careful"' THEN
		RETURN NULL;
	END IF;
	RAISE;
END
$$;
CREATE TRIGGER conflict AFTER INSERT ON t_nested_appends.es_events FOR EACH ROW EXECUTE FUNCTION t_nested_appends.conflict();
\set SHOW_CONTEXT never
SELECT es_append('task-2', '[{"type": "Started"}]', 0);
SELECT es_append('task-2', '[{"type": "Started", "data": "careful"}]', 0);
SELECT version, type FROM es_read('task-2') ORDER BY version;
DROP TRIGGER conflict ON t_nested_appends.es_events;

-- Before the event is stored, in an append of several events.
CREATE FUNCTION t_nested_appends.announce()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append('announcements', jsonb_build_array(jsonb_build_object('type', 'Announced', 'data', NEW.type)), allow_create => true);
	RETURN NEW;
END
$$;
CREATE TRIGGER announce BEFORE INSERT ON t_nested_appends.es_events FOR EACH ROW
	WHEN (NEW.key <> 'announcements') EXECUTE FUNCTION t_nested_appends.announce();
SELECT es_append('task-3', '[{"type": "Started"}, {"type": "Finished"}]', 0);
SELECT key, version, type, data FROM t_nested_appends.es_events WHERE key IN ('announcements', 'task-3') ORDER BY key, version;
DROP TRIGGER announce ON t_nested_appends.es_events;

-- Before the statement, between our leave to insert and the guard.
CREATE FUNCTION t_nested_appends.open_batch()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		PERFORM es_append('batches', '[{"type": "BatchOpened"}]', allow_create => true);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER aaa_open_batch BEFORE INSERT ON t_nested_appends.es_events FOR EACH STATEMENT EXECUTE FUNCTION t_nested_appends.open_batch();
SELECT es_append('task-4', '[{"type": "Started"}]', 0);
SELECT es_append('task-4', '[{"type": "Paused"}, {"type": "Finished"}]', 1);
SELECT key, version, type FROM t_nested_appends.es_events WHERE key IN ('batches', 'task-4') ORDER BY key, version;
DROP TRIGGER aaa_open_batch ON t_nested_appends.es_events;

-- When the version moves, to the same aggregate: whole and in order, or not at all.
CREATE FUNCTION t_nested_appends.moved()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		PERFORM es_append(NEW.key, '[{"type": "Moved"}]');
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER moved AFTER INSERT OR UPDATE ON t_nested_appends.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_nested_appends.moved();
CREATE FUNCTION t_nested_appends.is_whole(append text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
	whole boolean := true;
BEGIN
	EXECUTE append;
	whole := NOT EXISTS (SELECT FROM es_check_store('t_nested_appends'));
	RAISE EXCEPTION 'undo it';
EXCEPTION WHEN OTHERS THEN
	RETURN whole;
END
$$;
SELECT t_nested_appends.is_whole($$SELECT es_append('task-5', '[{"type": "Started"}]', 0)$$) AS created,
	   t_nested_appends.is_whole($$SELECT es_append('task-1', '[{"type": "Finished"}]')$$) AS appended,
	   t_nested_appends.is_whole($$SELECT es_append('task-1', '[{"type": "Reopened"}, {"type": "Finished"}]')$$) AS two_appended,
	   t_nested_appends.is_whole($$SELECT es_append_many('[{"key": "task-1", "events": [{"type": "Reopened"}]}, {"key": "task-6", "events": [{"type": "Started"}], "expected_version": 0}]')$$) AS many;
DROP TRIGGER moved ON t_nested_appends.es_aggregates;

-- Versions have no gap anywhere, and positions ascend with them.
SELECT a.key, a.version = count(e.version) AND a.version = max(e.version) AS gap_free,
	   array_agg(e.version ORDER BY e.position) = array_agg(e.version ORDER BY e.version) AS ascending
FROM t_nested_appends.es_aggregates AS a JOIN t_nested_appends.es_events AS e USING (key)
GROUP BY a.key, a.version ORDER BY a.key;
SELECT tag, key, version FROM t_nested_appends.es_tags ORDER BY tag, key, version;
SELECT * FROM es_check_store('t_nested_appends');

DROP FUNCTION t_nested_appends.audit, t_nested_appends.follow_up, t_nested_appends.conflict, t_nested_appends.announce,
	t_nested_appends.open_batch, t_nested_appends.moved, t_nested_appends.is_whole;
SELECT es_drop_store('t_nested_appends');
RESET ROLE;
DROP SCHEMA t_nested_appends;
DROP ROLE regress_es_nested_appends;
