-- es_save_snapshot: never ahead of the aggregate, never older in place of newer.
SET client_min_messages = warning;
CREATE ROLE regress_es_snapshots_save;
CREATE SCHEMA t_snapshots_save AUTHORIZATION regress_es_snapshots_save;

-- Nothing closes an aggregate yet, so the test does it by hand.
CREATE FUNCTION pg_temp.close_aggregate(k text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET eventstore.allow_direct_writes = on
AS $$
BEGIN
	UPDATE t_snapshots_save.es_aggregates SET closed_at = now() WHERE key = k;
END
$$;

SET ROLE regress_es_snapshots_save;
SELECT es_create_store('t_snapshots_save');
SET eventstore.store = 't_snapshots_save';
SET search_path = t_snapshots_save, public;
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}, {"type": "C"}]', 0);

-- Every version of the aggregate, and others, after a snapshot of version 2.
SELECT es_save_snapshot('order-1', 2, '"first"');
CREATE FUNCTION save(k text, v bigint, s jsonb)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	RETURN CASE WHEN es_save_snapshot(k, v, s) THEN 'saved' ELSE 'there is a newer one' END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;
SELECT v, save('order-1', v, to_jsonb(v)) FROM unnest(ARRAY[-1, 0, 4, 9223372036854775807, 1, NULL]) AS v;
SELECT key, version, state FROM es_snapshots;
SELECT save('order-1', 2, '"again"');
SELECT key, version, state FROM es_snapshots;
SELECT save('order-1', 3, '"newer"');
SELECT save('order-1', 2, '"older"');
SELECT save('order-1', 3, '"newer again"');
SELECT key, version, state FROM es_snapshots;
-- When it was saved is kept up to date; a refused one changes nothing.
SELECT recorded_at AS before FROM es_snapshots \gset
SELECT save('order-1', 1, '"older"'), save('order-1', 4, '"ahead"');
SELECT recorded_at = :'before' AS kept FROM es_snapshots;
SELECT save('order-1', 3, '"newer again"');
SELECT recorded_at > :'before' AS moved FROM es_snapshots;

-- A missing aggregate is at version 0: nothing to save.
SELECT save('order-2', 1, '{}'), save('order-2', 0, '{}');
-- One that is closed, or has no events after it, or is the transaction's own.
RESET ROLE;
SELECT pg_temp.close_aggregate('order-1');
SET ROLE regress_es_snapshots_save;
SELECT save('order-1', 3, '"closed"');
BEGIN;
SELECT es_append('order-2', '[{"type": "A"}]', 0);
SELECT save('order-2', 1, '{}'), save('order-2', 2, '{}');
SAVEPOINT s;
SELECT es_append('order-2', '[{"type": "B"}]', 1), save('order-2', 2, '{}');
ROLLBACK TO s;
SELECT key, version FROM es_snapshots ORDER BY key;
ROLLBACK;
SELECT key, version FROM es_snapshots ORDER BY key;
-- In the statement that appends, and as the fold of what was read there.
SELECT save('order-3', version, '{}') FROM (SELECT es_append('order-3', '[{"type": "A"}]', 0) AS version OFFSET 0) AS a;
CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "B"}]'::jsonb $$;
SELECT e.version, es_save_snapshot('order-3', e.version, to_jsonb(e.version)) FROM es_execute('order-3', 'decide') AS e;
SELECT version, snapshot_version, state, events FROM es_load('order-3');

-- Any state but NULL.
SELECT es_append('order-4', '[{"type": "A"}]', 0);
CREATE FUNCTION save_and_load(s jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_save_snapshot('order-4', 1, s);
	RETURN (SELECT l.state FROM es_load('order-4') AS l);
END
$$;
SELECT s AS state, save_and_load(s) = s AS kept FROM unnest(ARRAY['null', '[]', '{}', '0', '""', 'false', '{"a": {"b": [1, "ü", null]}}']::jsonb[]) AS s;
SELECT save('order-4', 1, to_jsonb(repeat('0123456789', 100000)));
SELECT length(state #>> '{}') FROM es_load('order-4');

-- Bad arguments.
SELECT save(NULL, 1, '{}');
SELECT save('', 1, '{}');
SELECT save(repeat('k', 513), 1, '{}');
SELECT save('order-3', NULL, '{}');
SELECT save('order-3', 1, NULL);

-- The table is no part of the log: whoever may write it may also empty it, and the store is sound without.
SELECT * FROM es_check_store('t_snapshots_save');
TRUNCATE es_snapshots;
SELECT save('order-3', 1, '{}');
DELETE FROM es_snapshots;
SELECT * FROM es_check_store('t_snapshots_save');

-- A store of its own.
SELECT save('order-3', 1, '"here"');
RESET search_path;
SELECT es_drop_store('t_snapshots_save');
SELECT to_regclass('t_snapshots_save.es_snapshots') IS NULL AS dropped;
SELECT es_create_store('t_snapshots_save');
SELECT count(*) FROM t_snapshots_save.es_snapshots;
SELECT es_drop_store('t_snapshots_save');
RESET ROLE;
DROP SCHEMA t_snapshots_save CASCADE;
DROP ROLE regress_es_snapshots_save;
