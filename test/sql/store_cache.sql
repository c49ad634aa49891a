-- More stores in one session than it keeps plans for: each call still finds its own.
SET client_min_messages = warning;
SELECT count(es_create_store(('t_store_cache_' || n)::name)) FROM generate_series(1, 100) AS n;

-- Round robin, with every function that keeps plans.
DO $$
DECLARE
	found text;
BEGIN
	FOR round IN 1 .. 3 LOOP
		FOR n IN 1 .. 100 LOOP
			PERFORM set_config('eventstore.store', 't_store_cache_' || n, true);
			found := es_append('order-1', jsonb_build_array(jsonb_build_object('type', 'T' || n, 'tags', ARRAY['t' || n])), round - 1, request_id => 'r' || round);
			found := found || ' ' || (SELECT sum(version) FROM es_append_many('[{"key": "order-2", "events": [{"type": "U"}], "allow_create": true}, {"key": "order-3", "expected_version": 0}]'));
			found := found || ' ' || (SELECT string_agg(type, '') FROM es_read('order-1'));
			found := found || ' ' || (SELECT sum(version) FROM es_lock(ARRAY['order-1', 'order-2', 'order-3']));
			found := found || ' ' || (SELECT version FROM es_find_request('order-1', 'r' || round));
			IF found <> concat_ws(' ', round, round, repeat('T' || n, round), 2 * round, round) THEN
				RAISE WARNING 'round %, store %: %', round, n, found;
			END IF;
		END LOOP;
	END LOOP;
END
$$;

-- At random, with a fixed seed.
SELECT setseed(0.42) IS NOT NULL AS seeded;
DO $$
DECLARE
	n integer;
	counts integer[] := array_fill(0, ARRAY[100]);
BEGIN
	FOR i IN 1 .. 1000 LOOP
		n := 1 + floor(random() * 100);
		PERFORM set_config('eventstore.store', 't_store_cache_' || n, true);
		counts[n] := counts[n] + 1;
		IF es_append('random-1', '[{"type": "T"}]', counts[n] - 1) <> counts[n] OR es_version('order-1') <> 3 THEN
			RAISE WARNING 'store % is at %', n, es_version('random-1');
		END IF;
	END LOOP;
	FOR n IN 1 .. 100 LOOP
		PERFORM set_config('eventstore.store', 't_store_cache_' || n, true);
		IF es_version('random-1') <> counts[n] THEN
			RAISE WARNING 'store % is at %, not %', n, es_version('random-1'), counts[n];
		END IF;
	END LOOP;
END
$$;

-- In a trigger, in the middle of an append to one of them.
CREATE FUNCTION t_store_cache_1.copy_to_all()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	FOR n IN 2 .. 100 LOOP
		PERFORM set_config('eventstore.store', 't_store_cache_' || n, true);
		PERFORM es_append('copy-1', '[{"type": "Copied"}]', allow_create => true);
	END LOOP;
	PERFORM set_config('eventstore.store', 't_store_cache_1', true);
	RETURN NULL;
END
$$;
CREATE TRIGGER copy_to_all AFTER INSERT OR UPDATE ON t_store_cache_1.es_aggregates FOR EACH STATEMENT EXECUTE FUNCTION t_store_cache_1.copy_to_all();
SET eventstore.store = 't_store_cache_1';
SELECT es_append('nested-1', '[{"type": "T", "tags": ["t1"]}]', 0);
SELECT es_append('nested-1', '[{"type": "T", "tags": ["t1"]}, {"type": "T"}]', 1);
SELECT key, status, version FROM es_append_many('[{"key": "nested-1", "events": [{"type": "T"}], "expected_version": 3}, {"key": "nested-2", "events": [{"type": "T", "tags": ["t1"]}], "expected_version": 0}]');
SELECT es_append('nested-1', '[{"type": "T"}]', 4);
SELECT key, version, type FROM t_store_cache_1.es_events WHERE key LIKE 'nested-%' ORDER BY key, version;
SELECT version FROM t_store_cache_2.es_aggregates WHERE key = 'copy-1';
SELECT version FROM t_store_cache_100.es_aggregates WHERE key = 'copy-1';
SELECT count(*) FROM es_check_store('t_store_cache_1');
DROP TRIGGER copy_to_all ON t_store_cache_1.es_aggregates;
DROP FUNCTION t_store_cache_1.copy_to_all;
RESET eventstore.store;

-- Every store holds its own events only.
DO $$
DECLARE
	found text;
BEGIN
	FOR n IN 1 .. 100 LOOP
		EXECUTE format('SELECT string_agg(DISTINCT type, '','') FROM t_store_cache_%s.es_events WHERE key = ''order-1''', n) INTO found;
		IF found <> 'T' || n THEN
			RAISE WARNING 'store %: %', n, found;
		END IF;
		EXECUTE format('SELECT string_agg(DISTINCT tag, '','') FROM t_store_cache_%s.es_tags', n) INTO found;
		IF found <> 't' || n THEN
			RAISE WARNING 'store %: %', n, found;
		END IF;
	END LOOP;
END
$$;

SELECT count(es_drop_store(('t_store_cache_' || n)::name)) FROM generate_series(1, 100) AS n;
SELECT count(*) FROM pg_class WHERE relname = 'es_store' AND relnamespace::regnamespace::text LIKE 't\_store\_cache\_%';
DO $$
BEGIN
	FOR n IN 1 .. 100 LOOP
		EXECUTE format('DROP SCHEMA t_store_cache_%s', n);
	END LOOP;
END
$$;
