-- What es_execute does with a decision, for aggregates that are missing, open or closed.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_outcomes;
CREATE SCHEMA t_execute_outcomes AUTHORIZATION regress_es_execute_outcomes;

-- Nothing closes an aggregate yet, so the test does it by hand.
CREATE FUNCTION pg_temp.close_aggregate(k text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET eventstore.allow_direct_writes = on
AS $$
BEGIN
	UPDATE t_execute_outcomes.es_aggregates SET closed_at = now() WHERE key = k;
END
$$;

SET ROLE regress_es_execute_outcomes;
SELECT es_create_store('t_execute_outcomes');
SET eventstore.store = 't_execute_outcomes';

-- The decision is the command itself.
CREATE FUNCTION t_execute_outcomes.obey(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS 'SELECT command';

-- The decision tells what was asked.
CREATE FUNCTION t_execute_outcomes.note(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
BEGIN
	RETURN jsonb_build_array(jsonb_build_object('type', 'Noted', 'data', jsonb_build_object('key', key, 'version', version, 'command', command, 'is_null', command IS NULL)));
END
$$;

-- Appended: a missing aggregate is created, without being allowed to.
SELECT * FROM es_execute('order-1', 't_execute_outcomes.note', '{"do": "place"}');
SELECT * FROM es_execute('order-1', 't_execute_outcomes.note', '{"do": "pay"}');
SELECT * FROM es_execute('order-1', 't_execute_outcomes.note');
SELECT * FROM es_execute('order-1', 't_execute_outcomes.note', 'null');
SELECT version, type, data FROM es_read('order-1');

-- Several events, with all that an event may have.
SELECT * FROM es_execute('order-1', 't_execute_outcomes.obey', '[
	{"type": "Shipped", "data": {"parcels": 2}, "metadata": {"correlation_id": 7}, "tags": ["parcel:1", "parcel:2"], "id": "00000000-0000-0000-0000-000000000001"},
	{"type": "Delivered", "data": null}]');
SELECT version, type, data, data IS NULL AS no_data, metadata, tags, CASE WHEN type = 'Shipped' THEN id END AS id, request_id
FROM t_execute_outcomes.es_events WHERE key = 'order-1' AND version > 4 ORDER BY version;
SELECT tag, key, version FROM t_execute_outcomes.es_tags ORDER BY tag;

-- Nothing to append: null or no events. Neither creates anything.
SELECT * FROM es_execute('order-1', 't_execute_outcomes.obey');
SELECT * FROM es_execute('order-1', 't_execute_outcomes.obey', '[]');
SELECT * FROM es_execute('order-2', 't_execute_outcomes.obey');
SELECT * FROM es_execute('order-2', 't_execute_outcomes.obey', '[]');
SELECT * FROM es_execute('order-2', 't_execute_outcomes.obey', '[]', 0);

-- A strict function has nothing to say to no command.
CREATE FUNCTION t_execute_outcomes.strict(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql STRICT
AS $$ BEGIN RETURN '[{"type": "Asked"}]'; END $$;
SELECT status, version FROM es_execute('order-2', 't_execute_outcomes.strict');
SELECT status, version FROM es_execute('order-2', 't_execute_outcomes.strict', 'null');

-- JSON null is no array of events.
\set SHOW_CONTEXT never
SELECT * FROM es_execute('order-2', 't_execute_outcomes.obey', 'null');
\set SHOW_CONTEXT errors

-- Closed: an error, and no reason to try again; but deciding nothing is no append.
SELECT es_append('order-3', '[{"type": "Placed"}]', 0);
RESET ROLE;
SELECT pg_temp.close_aggregate('order-3');
SET ROLE regress_es_execute_outcomes;
\set SHOW_CONTEXT never
SELECT * FROM es_execute('order-3', 't_execute_outcomes.note');
\set SHOW_CONTEXT errors
SELECT * FROM es_execute('order-3', 't_execute_outcomes.obey');

-- eventstore.require_expected_version is satisfied: the version that was decided on is expected.
BEGIN;
SET LOCAL eventstore.require_expected_version = on;
SELECT * FROM es_execute('order-2', 't_execute_outcomes.note');
SELECT * FROM es_execute('order-5', 't_execute_outcomes.note');
COMMIT;

-- In one statement for several aggregates, and several times for one.
SELECT n, f.* FROM generate_series(1, 4) AS n, es_execute('many-' || n % 2, 't_execute_outcomes.note', to_jsonb(n)) AS f ORDER BY n;
SELECT n, es_execute('many-' || n, 't_execute_outcomes.obey', to_jsonb(ARRAY['{"type": "Once"}'::jsonb])) FROM generate_series(0, 2) AS n;

-- What was written before in the transaction counts, and a rollback takes all of it.
BEGIN;
SELECT es_append('order-6', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT * FROM es_execute('order-6', 't_execute_outcomes.note');
SELECT * FROM es_execute('order-6', 't_execute_outcomes.note');
SELECT version, data->'version' AS decided_at FROM es_read('order-6', 3);
ROLLBACK;
SELECT es_version('order-6');

SELECT key, version FROM t_execute_outcomes.es_aggregates ORDER BY key;
SELECT * FROM es_check_store('t_execute_outcomes');
SELECT es_drop_store('t_execute_outcomes');
RESET ROLE;
DROP SCHEMA t_execute_outcomes CASCADE;
DROP ROLE regress_es_execute_outcomes;
