-- A query that is not as documented is refused, wherever one is taken; it never selects more or less than was meant.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_bad_queries;
CREATE SCHEMA t_feed_bad_queries AUTHORIZATION regress_es_feed_bad_queries;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

SET ROLE regress_es_feed_bad_queries;
SELECT es_create_store('t_feed_bad_queries');
SET eventstore.store = 't_feed_bad_queries';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

CREATE TEMPORARY TABLE queries (n serial, wrong text, query jsonb);
INSERT INTO queries (wrong, query) VALUES
	('not an array: null', 'null'),
	('not an array: string', '"Placed"'),
	('not an array: number', '1'),
	('not an array: boolean', 'true'),
	('not an array: object', '{"types": ["Placed"]}'),
	('no items', '[]'),
	('item is null', '[null]'),
	('item is a string', '["Placed"]'),
	('item is an array', '[["Placed"]]'),
	('item is empty', '[{}]'),
	('second item is empty', '[{"types": ["Placed"]}, {}]'),
	('second item is a number', '[{"types": ["Placed"]}, 7]'),
	('unknown field', '[{"type": ["Placed"]}]'),
	('unknown field beside a known one', '[{"types": ["Placed"], "keys": ["order-1"]}]'),
	('unknown field in another case', '[{"Types": ["Placed"]}]'),
	('unknown field without a name', '[{"": ["Placed"]}]'),
	('unknown field of the second item', '[{"types": ["Placed"]}, {"tag": ["t"]}]'),
	('types is a string', '[{"types": "Placed"}]'),
	('types is null', '[{"types": null}]'),
	('types is an object', '[{"types": {"a": "Placed"}}]'),
	('types is empty', '[{"types": []}]'),
	('types holds a number', '[{"types": ["Placed", 1]}]'),
	('types holds null', '[{"types": [null]}]'),
	('types holds an array', '[{"types": [["Placed"]]}]'),
	('types holds an object', '[{"types": [{"a": 1}]}]'),
	('types holds an empty string', '[{"types": ["Placed", ""]}]'),
	('categories is a string', '[{"categories": "order"}]'),
	('categories is empty', '[{"categories": []}]'),
	('categories holds an empty string', '[{"categories": [""]}]'),
	('categories holds true', '[{"categories": [true]}]'),
	('tags is a string', '[{"tags": "t"}]'),
	('tags is empty beside types', '[{"types": ["Placed"], "tags": []}]'),
	('tags holds an empty string', '[{"tags": [""]}]'),
	('tags holds null', '[{"tags": [null]}]');

\x on
SELECT wrong, refusal.* FROM queries, pg_temp.refusal(format('SELECT es_read_all(query => %L)', query)) AS refusal ORDER BY n;
\x off

-- The others that take a query say the same.
SELECT wrong AS different
FROM queries, pg_temp.refusal(format('SELECT es_read_all(query => %L)', query)) AS a, pg_temp.refusal(format('SELECT es_query_condition(%L)', query)) AS b,
	 pg_temp.refusal(format('SELECT es_create_subscription(%L, %L)', n, query)) AS c
WHERE (a IS DISTINCT FROM b OR a IS DISTINCT FROM c) ORDER BY n;
SELECT count(*) FROM t_feed_bad_queries.es_subscriptions;

-- It is refused even if there is nothing to read.
SELECT refusal.* FROM pg_temp.refusal($$ SELECT es_read_all(1, query => '[]') $$) AS refusal;
SELECT refusal.* FROM pg_temp.refusal($$ SELECT es_read_all(max_count => 0, query => '[]') $$) AS refusal;

DROP TABLE queries;
SELECT es_drop_store('t_feed_bad_queries');
RESET ROLE;
DROP SCHEMA t_feed_bad_queries;
DROP ROLE regress_es_feed_bad_queries;
