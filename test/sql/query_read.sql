-- es_query returns the events that match after a position, each once, in order of position, with all of their columns.
SET client_min_messages = warning;
CREATE ROLE regress_es_query_read;
CREATE SCHEMA t_query_read AUTHORIZATION regress_es_query_read;

CREATE FUNCTION pg_temp.matching(query jsonb, after bigint DEFAULT 0)
RETURNS bigint[]
LANGUAGE sql
AS $$ SELECT array_agg(position ORDER BY ordinality) FROM es_query(query, after) WITH ORDINALITY $$;

SET ROLE regress_es_query_read;
SELECT es_create_store('t_query_read');
SET eventstore.store = 't_query_read';

SELECT es_append('course-1', '[{"type": "Defined", "data": {"capacity": 2}, "metadata": {"by": "me"}, "tags": ["course:1"], "id": "00000000-0000-4000-8000-000000000001"}]', 0);
SELECT es_append('enrolment-1', '[{"type": "Subscribed", "data": null, "tags": ["student:1", "course:1"]}, {"type": "Subscribed", "tags": ["course:1", "student:2", "course:1"]}]', 0);
SELECT es_append('note-1', '[{"type": "Noted"}, {"type": "Noted", "tags": []}, {"type": "Noted", "tags": ["student:1"]}]', 0);
SELECT es_append('enrolment-1', '[{"type": "Left", "tags": ["student:1", "course:1"]}]', 2);

-- All columns; SQL NULL and JSON null differ.
SELECT position, key, version, type, data, metadata, tags, recorded_at IS NOT NULL AS recorded FROM es_query('[{"tags": ["course:1"]}]');
SELECT id FROM es_query('[{"tags": ["course:1"], "types": ["Defined"]}]');
SELECT count(*) FROM es_query('[{"tags": ["course:1"]}]') AS q JOIN t_query_read.es_events AS e USING (position, key, version, type, tags, id, recorded_at)
WHERE (q.data, q.metadata) IS NOT DISTINCT FROM (e.data, e.metadata);
SELECT * FROM es_query('[{"tags": ["nothing"]}]');

SELECT query, pg_temp.matching(query), pg_temp.matching(query, 3) AS after_3 FROM (VALUES
	(1, '[{"tags": ["course:1"]}]'),
	(2, '[{"tags": ["student:1"]}]'),
	(3, '[{"tags": ["student:1", "course:1"]}]'),
	(4, '[{"tags": ["course:1", "student:1", "course:1"]}]'),
	(5, '[{"tags": ["student:1", "student:2"]}]'),
	(6, '[{"tags": ["course:1", "nothing"]}]'),
	(7, '[{"tags": ["Course:1"]}]'),
	(8, '[{"tags": ["course:1"], "types": ["Subscribed"]}]'),
	(9, '[{"tags": ["course:1"], "types": ["Left", "Subscribed", "Left"]}]'),
	(10, '[{"tags": ["student:1"], "categories": ["note"]}]'),
	(11, '[{"tags": ["student:1"], "categories": ["enrolment", "note"]}]'),
	(12, '[{"tags": ["student:1"], "categories": ["note"], "types": ["Left"]}]'),
	-- Several items: what matches two of them comes once, and the order is that of the log.
	(13, '[{"tags": ["student:1"]}, {"tags": ["course:1"]}]'),
	(14, '[{"tags": ["course:1"]}, {"tags": ["course:1"]}, {"tags": ["course:1", "student:2"]}]'),
	(15, '[{"tags": ["student:1"], "types": ["Left"]}, {"tags": ["student:1"], "types": ["Noted"]}, {"tags": ["student:2"]}]'),
	(16, '[{"tags": ["nothing"]}, {"tags": ["student:2"]}]'),
	(17, '[{"tags": ["nothing"]}, {"tags": ["anything"]}]')
) AS q (n, q), LATERAL (SELECT q::jsonb) AS j (query)
ORDER BY n;

-- After a position: that one is left out.
SELECT n, pg_temp.matching('[{"tags": ["course:1"]}]', n) FROM generate_series(0, 7) AS n;

-- The same events as es_read_all gives, for random queries over random events.
SELECT setseed(0.4);
SELECT count(es_append(CASE n % 3 WHEN 0 THEN 'a-' ELSE 'b-' END || n % 7, (SELECT jsonb_agg(jsonb_build_object('type', 'T' || (random() * 3)::integer,
		'tags', (SELECT coalesce(jsonb_agg('t' || t), '[]') FROM generate_series(1, 6) AS t WHERE random() < 0.4)) ORDER BY m) FROM generate_series(1, 5) AS m WHERE n > 0), allow_create => true))
FROM generate_series(1, 200) AS n;
CREATE TEMPORARY TABLE queries AS
SELECT n, (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
			   'tags', (SELECT jsonb_agg('t' || (random() * 7)::integer) FROM generate_series(0, (random() * 2)::integer) WHERE n + i > 0),
			   'types', CASE WHEN random() < 0.4 THEN (SELECT jsonb_agg('T' || (random() * 4)::integer) FROM generate_series(0, (random() * 2)::integer) WHERE n + i > 0) END,
			   'categories', CASE WHEN random() < 0.3 THEN '["b", "c"]'::jsonb END))) FROM generate_series(1, 1 + (random() * 3)::integer) AS i WHERE n > 0) AS query,
	   (random() * 1000)::bigint AS after
FROM generate_series(1, 300) AS n;
SELECT count(*) FILTER (WHERE q.positions IS NOT NULL) > 100 AS many_match, bool_and(q.positions IS NOT DISTINCT FROM r.positions) AS same
FROM queries,
	 LATERAL (SELECT array_agg(position ORDER BY ordinality) FROM es_query(query, after) WITH ORDINALITY) AS q (positions),
	 LATERAL (SELECT array_agg(position ORDER BY ordinality) FROM es_read_all(after, 100000, query) WITH ORDINALITY) AS r (positions);
DROP TABLE queries;

-- Whatever a name is made of, it is only a name.
SELECT count(es_append(format('%s-%s', k, n), jsonb_build_array(jsonb_build_object('type', k, 'tags', ARRAY[k])), 0))
FROM (VALUES (1, 'it''s'), (2, 'back\slash'), (3, 'a"b'), (4, '{a,b}'), (5, '%s %I'), (6, '$1'), (7, E'line\nbreak'), (8, 'NULL'), (9, ''') OR true; /*'), (10, ' '), (11, repeat('x', 500))) AS names (n, k);
SELECT count(*), count(*) FILTER (WHERE q.keys = ARRAY[e.key]) AS found
FROM t_query_read.es_events AS e,
	 LATERAL (SELECT array_agg(key) FROM es_query(jsonb_build_array(jsonb_build_object('tags', tags, 'types', ARRAY[type], 'categories', ARRAY[es_category(key)])))) AS q (keys)
WHERE e.tags = ARRAY[e.type];

-- Own events of an open transaction are there; of a rolled back one, or of a savepoint, they are not.
BEGIN;
SELECT es_append('own-1', '[{"type": "T", "tags": ["own"]}]', 0);
SELECT key, version FROM es_query('[{"tags": ["own"]}]');
SAVEPOINT s;
SELECT es_append('own-1', '[{"type": "T", "tags": ["own"]}]', 1);
SELECT key, version FROM es_query('[{"tags": ["own"]}]');
ROLLBACK TO s;
SELECT key, version FROM es_query('[{"tags": ["own"]}]');
ROLLBACK;
SELECT key, version FROM es_query('[{"tags": ["own"]}]');

-- As a cursor, in a join, with a limit, in a prepared statement; and large values come as they are.
SELECT es_append('big-1', jsonb_build_array(jsonb_build_object('type', 'T', 'data', jsonb_build_object('text', repeat('long ', 100000)), 'tags', ARRAY['big'])), 0);
BEGIN;
DECLARE c CURSOR FOR SELECT position, type FROM es_query('[{"tags": ["course:1"]}]');
FETCH 2 FROM c;
FETCH ALL FROM c;
COMMIT;
SELECT type FROM es_query('[{"tags": ["course:1"]}]') LIMIT 1;
PREPARE by_tag (text) AS SELECT position, length(data->>'text') FROM es_query(jsonb_build_array(jsonb_build_object('tags', ARRAY[$1])));
EXECUTE by_tag ('big');
EXECUTE by_tag ('student:2');
DEALLOCATE by_tag;

SELECT es_drop_store('t_query_read');
RESET ROLE;
DROP SCHEMA t_query_read;
DROP ROLE regress_es_query_read;
