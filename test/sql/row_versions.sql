-- Every append leaves a dead version of the aggregate's row. They are cleared away on the
-- way, so the table does not grow.
SET client_min_messages = warning;
SELECT es_create_store('t_row_versions');
SET search_path = t_row_versions, public;
SELECT es_append(key, '[{"type": "Counted"}]', 0) FROM unnest(ARRAY['counter-1', 'counter-2', repeat('k', 512)]) AS key;
DO $$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		PERFORM es_append('counter-1', '[{"type": "Counted"}]');
		IF i % 3 = 0 THEN
			PERFORM * FROM es_append_many('[{"key": "counter-1", "events": [{"type": "Counted"}]}, {"key": "counter-2", "events": [{"type": "Counted"}]}]');
		END IF;
		COMMIT;
	END LOOP;
END
$$;
SELECT key, version FROM es_aggregates WHERE length(key) < 100 ORDER BY key;
-- 5,000 versions would take 40 pages. Somebody with an old snapshot may keep a few.
SELECT pg_relation_size('es_aggregates') < 10 * current_setting('block_size')::integer AS small;

-- Rows of keys as long as they may be: few fit into a page.
DO $$
BEGIN
	FOR i IN 1 .. 500 LOOP
		PERFORM es_append(repeat('k', 512), '[{"type": "Counted"}]');
		COMMIT;
	END LOOP;
END
$$;
SELECT length(key), version FROM es_aggregates WHERE length(key) > 100;
SELECT pg_relation_size('es_aggregates') < 20 * current_setting('block_size')::integer AS small;

-- A key whose entry in the index leads to nothing but dead rows.
SET eventstore.allow_direct_writes = on;
DELETE FROM es_aggregates WHERE key = 'counter-2';
DELETE FROM es_events WHERE key = 'counter-2';
RESET eventstore.allow_direct_writes;
SELECT es_append('counter-2', '[{"type": "Counted"}]', 0);
SELECT es_append('counter-2', '[{"type": "Counted"}]', 1);
SELECT es_append('counter-2', '[{"type": "Counted"}]', 1);
SELECT * FROM es_check_store('t_row_versions');
SELECT es_drop_store('t_row_versions');
DROP SCHEMA t_row_versions;
