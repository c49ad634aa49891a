-- Many events in a call, big events, deeply nested ones, many tags: they go in and come back whole.
SET client_min_messages = warning;
CREATE ROLE regress_es_big_input;
CREATE SCHEMA t_big_input AUTHORIZATION regress_es_big_input;
SET ROLE regress_es_big_input;
SELECT es_create_store('t_big_input');
SET eventstore.store = 't_big_input';

-- 10,000 events in a call, twice.
SELECT es_append('many-1', (SELECT jsonb_agg(jsonb_build_object('type', 'T' || n % 7, 'data', n) ORDER BY n) FROM generate_series(1, 10000) AS n), 0);
SELECT es_append('many-1', (SELECT jsonb_agg(jsonb_build_object('type', 'T' || n % 7, 'data', n) ORDER BY n) FROM generate_series(10001, 20000) AS n), 10000);
SELECT count(*), count(DISTINCT id), min(version), max(version), bool_and(version = data::bigint AND type = 'T' || version % 7) AS in_order, bool_and(ascending) AS ascending
FROM (SELECT *, position > coalesce(lag(position) OVER (ORDER BY version), 0) AS ascending FROM es_read('many-1')) AS e;
SELECT es_version('many-1');

-- Nothing of them stays if the last one is wrong.
\set SHOW_CONTEXT never
SELECT es_append('many-2', (SELECT jsonb_agg(jsonb_build_object('type', CASE WHEN n < 10000 THEN 'T' ELSE '' END) ORDER BY n) FROM generate_series(1, 10000) AS n), 0);
SELECT es_version('many-2');

-- Events of 10 MB: as one string that does not compress well, as many fields, as metadata.
CREATE FUNCTION pg_temp.noise(length integer)
RETURNS text
LANGUAGE sql
AS $$ SELECT left(string_agg(md5(n::text), '' ORDER BY n), length) FROM generate_series(0, length / 32) AS n $$;
SELECT es_append('big-1', jsonb_build_array(jsonb_build_object('type', 'String', 'data', pg_temp.noise(10 * 1024 * 1024))), 0);
SELECT es_append('big-1', jsonb_build_array(
	jsonb_build_object('type', 'Object', 'data', (SELECT jsonb_object_agg('field ' || n, repeat('x', 100)) FROM generate_series(1, 100000) AS n)),
	jsonb_build_object('type', 'Metadata', 'metadata', jsonb_build_object('m', pg_temp.noise(10 * 1024 * 1024)))), 1);
SELECT version, type, data = to_jsonb(pg_temp.noise(10 * 1024 * 1024)) AS string_is_whole,
	   (SELECT count(*) FROM jsonb_each_text(CASE WHEN version = 2 THEN data END) WHERE value = repeat('x', 100)) AS fields,
	   metadata ->> 'm' = pg_temp.noise(10 * 1024 * 1024) AS metadata_is_whole
FROM es_read('big-1') ORDER BY version;

-- A big one is compared whole when it is repeated.
SELECT status, version FROM es_try_append('big-2', jsonb_build_array(jsonb_build_object('type', 'String', 'data', pg_temp.noise(1024 * 1024))), 0, request_id => 'r-1');
SELECT status, version FROM es_try_append('big-2', jsonb_build_array(jsonb_build_object('type', 'String', 'data', pg_temp.noise(1024 * 1024))), 0, request_id => 'r-1');
SELECT status, version FROM es_try_append('big-2', jsonb_build_array(jsonb_build_object('type', 'String', 'data', pg_temp.noise(1024 * 1024 - 1) || '!')), 0, request_id => 'r-1');

-- Deep nesting: as deep as the server parses.
SELECT es_append('deep-1', format('[{"type": "Deep", "data": %s1%s, "metadata": {"a": %s{}%s}}]',
	repeat('[', 1000), repeat(']', 1000), repeat('{"a": ', 1000), repeat('}', 1000))::jsonb, 0);
SELECT data = (repeat('[', 1000) || '1' || repeat(']', 1000))::jsonb AS data,
	   metadata = (repeat('{"a": ', 1001) || '{}' || repeat('}', 1001))::jsonb AS metadata
FROM es_read('deep-1');
\set VERBOSITY sqlstate
SELECT es_append('deep-2', ('[{"type": "Deep", "data": ' || repeat('[', 100000) || repeat(']', 100000) || '}]')::jsonb, 0);
\set VERBOSITY default

-- Deep where nothing may be deep.
SELECT es_append('deep-2', ('[{"type": ' || repeat('[', 1000) || repeat(']', 1000) || '}]')::jsonb, 0);
SELECT es_append('deep-2', ('[{"type": "Deep", "tags": ' || repeat('[', 1000) || repeat(']', 1000) || '}]')::jsonb, 0);
SELECT es_append('deep-2', (repeat('[', 1000) || repeat(']', 1000))::jsonb, 0);

-- An event with 10,000 tags, and 10,000 tagged events.
SELECT es_append('tags-1', jsonb_build_array(jsonb_build_object('type', 'T', 'tags', (SELECT jsonb_agg('tag:' || n) FROM generate_series(1, 10000) AS n))), 0);
SELECT es_append('tags-2', (SELECT jsonb_agg(jsonb_build_object('type', 'T', 'tags', jsonb_build_array('all', 'tag:' || n)) ORDER BY n) FROM generate_series(1, 10000) AS n), 0);
SELECT key, count(*), count(DISTINCT tag), count(DISTINCT version) FROM t_big_input.es_tags GROUP BY key ORDER BY key;

-- Many entries in a call.
SELECT status, count(*), sum(version) FROM es_append_each((SELECT jsonb_agg(jsonb_build_object('key', 'each-' || n % 500, 'events', '[{"type": "T"}]'::jsonb, 'allow_create', true) ORDER BY n)
														   FROM generate_series(1, 10000) AS n)) GROUP BY status;
SELECT status, count(*), sum(version) FROM es_append_many((SELECT jsonb_agg(jsonb_build_object('key', 'each-' || n % 500, 'events', '[{"type": "T"}]'::jsonb) ORDER BY n)
														   FROM generate_series(1, 10000) AS n)) GROUP BY status;
SELECT count(*), min(version), max(version) FROM t_big_input.es_aggregates WHERE key LIKE 'each-%';

-- Versions and events agree everywhere.
SELECT count(*) AS wrong
FROM t_big_input.es_aggregates AS a
FULL JOIN (SELECT key, count(*) AS events, max(version) AS last FROM t_big_input.es_events GROUP BY key) AS e USING (key)
WHERE (a.version, a.version) IS DISTINCT FROM (e.events, e.last);

SELECT es_drop_store('t_big_input');
RESET ROLE;
DROP FUNCTION pg_temp.noise;
DROP SCHEMA t_big_input;
DROP ROLE regress_es_big_input;
