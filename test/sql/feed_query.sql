-- es_read_all with a query: types, categories and tags within an item, any of several items, and text of every kind.
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE ROLE regress_es_feed_query;
CREATE SCHEMA t_feed_query AUTHORIZATION regress_es_feed_query;

CREATE FUNCTION pg_temp.matching(query jsonb)
RETURNS bigint[]
LANGUAGE sql
AS $$ SELECT array_agg(position ORDER BY ordinality) FROM es_read_all(query => query) WITH ORDINALITY $$;

SET ROLE regress_es_feed_query;
SELECT es_create_store('t_feed_query');
SET eventstore.store = 't_feed_query';

SELECT es_append('order-1', '[{"type": "Placed", "tags": ["customer:1"]}, {"type": "Paid", "tags": ["customer:1", "payment:7"]}, {"type": "Shipped"}]', 0);
SELECT es_append('order-2', '[{"type": "Placed", "tags": ["customer:2", "customer:2"]}]', 0);
SELECT es_append('invoice-1', '[{"type": "Sent", "tags": []}, {"type": "Paid", "tags": ["payment:7"]}]', 0);
SELECT es_append('order', '[{"type": "Settled"}]', 0);
SELECT es_append('orders-1', '[{"type": "placed"}]', 0);
SELECT es_append('Order-1', '[{"type": "Placed"}]', 0);
SELECT es_append('order-1-2', '[{"type": "Split"}]', 0);
SELECT es_append('-order-1', '[{"type": "Odd"}]', 0);
SELECT position, key, type, tags FROM es_read_all();

SELECT query, pg_temp.matching(query) FROM (VALUES
	(1, '[{"types": ["Paid"]}]'),
	(2, '[{"types": ["Paid", "Shipped"]}]'),
	(3, '[{"types": ["Paid", "Paid"]}]'),
	(4, '[{"types": ["Unknown"]}]'),
	(5, '[{"categories": ["order"]}]'),
	(6, '[{"categories": ["order", "invoice"]}]'),
	(7, '[{"categories": ["orders"]}]'),
	(8, '[{"categories": ["order-1"]}]'),
	(9, '[{"tags": ["customer:1"]}]'),
	(10, '[{"tags": ["customer:1", "payment:7"]}]'),
	(11, '[{"tags": ["payment:7", "customer:1", "payment:7"]}]'),
	(12, '[{"tags": ["customer:1", "customer:2"]}]'),
	(13, '[{"types": ["Placed"], "categories": ["order"]}]'),
	(14, '[{"types": ["Paid"], "tags": ["payment:7"]}]'),
	(15, '[{"types": ["Paid"], "categories": ["invoice"], "tags": ["payment:7"]}]'),
	(16, '[{"types": ["Paid"], "categories": ["order"], "tags": ["customer:2"]}]'),
	-- Any of the items; an event that matches two of them comes once.
	(17, '[{"types": ["Shipped"]}, {"categories": ["invoice"]}]'),
	(18, '[{"types": ["Paid"]}, {"tags": ["payment:7"]}]'),
	(19, '[{"types": ["Paid"], "categories": ["order"]}, {"types": ["Sent"], "categories": ["order"]}, {"tags": ["customer:2"]}]')
) AS q (n, q), LATERAL (SELECT q::jsonb) AS j (query)
ORDER BY n;

-- SQL null is no query; so is leaving it out.
SELECT count(*) FROM es_read_all(query => NULL);

-- A page counts events that match; the query does not move the limits.
SELECT position FROM es_read_all(0, 2, '[{"types": ["Placed"]}]');
SELECT position FROM es_read_all(1, 2, '[{"types": ["Placed"]}]');
SELECT position FROM es_read_all(4, 2, '[{"types": ["Placed"]}]');
SELECT position FROM es_read_all(10, 2, '[{"types": ["Placed"]}]');
SELECT position FROM es_read_all(1, 10, '[{"types": ["Placed"]}]', 9);
SELECT position FROM es_read_all(0, 0, '[{"types": ["Placed"]}]');

-- Categories are those of es_category.
SELECT bool_and((e.position IS NOT NULL) = (es_category(s.key) = 'order')) AS same
FROM t_feed_query.es_events AS s LEFT JOIN es_read_all(query => '[{"categories": ["order"]}]') AS e USING (position);

-- Whatever a name is made of, it is only a name.
SELECT n, es_append(format('%s-%s', k, n), jsonb_build_array(jsonb_build_object('type', k, 'tags', ARRAY[k])), 0)
FROM (VALUES (1, 'it''s'), (2, 'back\slash'), (3, 'a"b'), (4, '{a,b}'), (5, '%s %I'), (6, '$1'), (7, E'line\nbreak'), (8, 'é 日本'), (9, 'NULL'),
			 (10, ''') OR true; /*'), (11, ' '), (12, E'\\'''), (13, repeat('x', 500))) AS names (n, k)
ORDER BY n;
SELECT n, types.keys = ARRAY[n] AS by_type, categories.keys = ARRAY[n] AS by_category, tags.keys = ARRAY[n] AS by_tag
FROM (SELECT split_part(key, '-', -1) AS n, type AS k FROM t_feed_query.es_events WHERE position > 11) AS names,
	 LATERAL (SELECT array_agg(split_part(key, '-', -1)) FROM es_read_all(query => jsonb_build_array(jsonb_build_object('types', ARRAY[k])))) AS types (keys),
	 LATERAL (SELECT array_agg(split_part(key, '-', -1)) FROM es_read_all(query => jsonb_build_array(jsonb_build_object('categories', ARRAY[k])))) AS categories (keys),
	 LATERAL (SELECT array_agg(split_part(key, '-', -1)) FROM es_read_all(query => jsonb_build_array(jsonb_build_object('tags', ARRAY[k])))) AS tags (keys)
ORDER BY n::integer;
-- Servers before 19 may be told that a backslash escapes in every string literal.
DO $$
BEGIN
	SET standard_conforming_strings = off;
EXCEPTION WHEN feature_not_supported THEN
	NULL;
END
$$;
SELECT count(*) FROM es_read_all(query => jsonb_build_array(jsonb_build_object('types', ARRAY[E'back\\slash', E'\\''', 'it''s'])));
RESET standard_conforming_strings;

-- Hundreds of items.
SELECT count(*) FROM es_read_all(query => (SELECT jsonb_agg(jsonb_build_object('types', ARRAY['T' || n], 'tags', ARRAY['t', 'u'])) FROM generate_series(1, 500) AS n) || '[{"types": ["Shipped"]}]');
SELECT count(*) FROM es_read_all(query => jsonb_build_array(jsonb_build_object('types', (SELECT array_agg('T' || n) FROM generate_series(1, 10000) AS n) || 'Shipped'::text)));

SELECT es_drop_store('t_feed_query');
RESET ROLE;
DROP SCHEMA t_feed_query;
DROP ROLE regress_es_feed_query;
