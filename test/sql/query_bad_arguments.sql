-- es_query refuses what is not a query with tags, and positions that cannot be.
SET client_min_messages = warning;
CREATE ROLE regress_es_query_bad_arguments;
CREATE SCHEMA t_query_bad_arguments AUTHORIZATION regress_es_query_bad_arguments;

CREATE FUNCTION pg_temp.refusal(query jsonb, after_position bigint DEFAULT 0)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	PERFORM es_query(query, after_position);
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;

-- Without a store, bad arguments come first.
SET ROLE regress_es_query_bad_arguments;
SET search_path = pg_catalog, public, pg_temp;
SELECT pg_temp.refusal('[{"types": ["T"]}]');
SELECT pg_temp.refusal('[{"tags": ["t"]}]');
RESET search_path;
SELECT es_create_store('t_query_bad_arguments');
SET eventstore.store = 't_query_bad_arguments';
SELECT es_append('k-1', '[{"type": "T", "tags": ["t"]}]', 0);

\pset format unaligned
SELECT label, pg_temp.refusal(query::jsonb) AS refusal FROM (VALUES
	(1, 'SQL null', NULL),
	(2, 'JSON null', 'null'),
	(3, 'an object', '{"tags": ["t"]}'),
	(4, 'a string', '"t"'),
	(5, 'an empty array', '[]'),
	(6, 'item: null', '[null]'),
	(7, 'item: a string', '["t"]'),
	(8, 'item: an array', '[[{"tags": ["t"]}]]'),
	(9, 'item: empty', '[{}]'),
	(10, 'item: without tags', '[{"types": ["T"], "categories": ["k"]}]'),
	(11, 'item: the third without tags', '[{"tags": ["t"]}, {"tags": ["t"], "types": ["T"]}, {"categories": ["k"]}]'),
	(12, 'item: unknown field', '[{"tags": ["t"], "after": 1}]'),
	(13, 'tags: null', '[{"tags": null}]'),
	(14, 'tags: empty', '[{"tags": []}]'),
	(15, 'tags: a string', '[{"tags": "t"}]'),
	(16, 'tags: an empty string', '[{"tags": ["t", ""]}]'),
	(17, 'tags: a number', '[{"tags": [1]}]'),
	(18, 'tags: null inside', '[{"tags": [null]}]'),
	(19, 'types: empty', '[{"tags": ["t"], "types": []}]'),
	(20, 'categories: an object', '[{"tags": ["t"], "categories": {"k": 1}}]')
) AS q (n, label, query) ORDER BY n;
SELECT pg_temp.refusal('[{"tags": ["t"]}]', NULL) AS "null", pg_temp.refusal('[{"tags": ["t"]}]', -1) AS negative, pg_temp.refusal('[{"tags": ["t"]}]', 2) AS beyond;
\pset format aligned

-- Names of arguments.
SELECT position FROM es_query(after_position => 0, query => '[{"tags": ["t"]}]');

SELECT es_drop_store('t_query_bad_arguments');
RESET ROLE;
DROP SCHEMA t_query_bad_arguments;
DROP ROLE regress_es_query_bad_arguments;
