-- es_query and conditions read by index, and by the tag that has the fewest events: as few rows as there are for that one.
SET client_min_messages = warning;
CREATE ROLE regress_es_query_index;
CREATE SCHEMA t_query_index AUTHORIZATION regress_es_query_index;
SET ROLE regress_es_query_index;
SELECT es_create_store('t_query_index');
SET eventstore.store = 't_query_index';

-- The plans are made while the tables are empty, and kept.
SELECT count(*) FROM es_query('[{"tags": ["all", "one"], "types": ["T1"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["all", "one"], "types": ["T1"]}]}]}]');

-- 100,000 events with the tag "all", 10,000 of them with "some", 100 with "hundred", 100 with one of the tags "few:n", and one with "one".
SELECT count(es_append('bulk-' || n, (SELECT jsonb_agg(jsonb_build_object('type', 'T' || m % 10, 'tags',
		ARRAY['all'] || CASE WHEN m % 10 = 3 THEN ARRAY['some'] WHEN m = 8 THEN ARRAY['hundred'] WHEN m % 1000 = 7 THEN ARRAY['few:' || n] WHEN n = 50 AND m = 500 THEN ARRAY['one'] ELSE '{}' END) ORDER BY m)
	FROM generate_series(1, 1000) AS m WHERE n > 0), 0))
FROM generate_series(1, 100) AS n;

-- What this transaction has read so far: rows found in any way, and sequential scans.
CREATE FUNCTION pg_temp.rows_read(command text, OUT matches bigint, OUT rows bigint, OUT sequential bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	before bigint[];
	after bigint[];
BEGIN
	SELECT ARRAY[sum(idx_tup_fetch + seq_tup_read), sum(seq_scan)] INTO before FROM pg_stat_xact_user_tables WHERE schemaname = 't_query_index' AND relname IN ('es_events', 'es_tags');
	EXECUTE command;
	GET DIAGNOSTICS matches = ROW_COUNT;
	SELECT ARRAY[sum(idx_tup_fetch + seq_tup_read), sum(seq_scan)] INTO after FROM pg_stat_xact_user_tables WHERE schemaname = 't_query_index' AND relname IN ('es_events', 'es_tags');
	rows = after[1] - before[1];
	sequential = after[2] - before[2];
END
$$;

-- Whichever comes first, at most the rows of the rarer tag, those that tell which it is (64 of each at first, then 512 and so on), and as many events.
SELECT label, r.matches, r.rows <= most AS few, r.sequential FROM (VALUES
	(1, 'two tags and a type, none', 300, $$SELECT * FROM es_query('[{"tags": ["all", "one"], "types": ["T1"]}]')$$),
	(2, 'two tags and a type', 300, $$SELECT * FROM es_query('[{"tags": ["all", "one"], "types": ["T0"]}]')$$),
	(3, 'the other way round', 300, $$SELECT * FROM es_query('[{"tags": ["one", "all"], "types": ["T0"]}]')$$),
	(4, 'one tag', 300, $$SELECT * FROM es_query('[{"tags": ["few:7"]}]')$$),
	(5, 'two rare tags', 300, $$SELECT * FROM es_query('[{"tags": ["few:7", "one", "all"]}]')$$),
	(6, 'several items', 900, $$SELECT * FROM es_query('[{"tags": ["all", "few:7"]}, {"tags": ["few:8", "all"], "types": ["T7"]}, {"tags": ["all", "one"], "categories": ["bulk"]}]')$$),
	(7, 'a tag that nothing has', 300, $$SELECT * FROM es_query('[{"tags": ["all", "nothing"]}]')$$),
	(13, 'a hundred of very many', 2000, $$SELECT * FROM es_query('[{"tags": ["all", "hundred"]}]')$$),
	(14, 'the other way round', 2000, $$SELECT * FROM es_query('[{"tags": ["hundred", "all"], "types": ["T8"]}]')$$),
	(15, 'many of very many', 80000, $$SELECT * FROM es_query('[{"tags": ["all", "some"], "types": ["T4"]}]')$$),
	(8, 'the end of a frequent tag', 300, $$SELECT * FROM es_query('[{"tags": ["all"]}]', 99990)$$),
	(9, 'with a type', 300, $$SELECT * FROM es_query('[{"tags": ["all"], "types": ["T3"]}]', 99990)$$),
	(10, 'a condition that fails at once', 300, $$SELECT * FROM es_try_append_many('[{"conditions": [{"query": [{"tags": ["all"]}]}]}]')$$),
	(11, 'a condition on the rare one', 300, $$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["all", "one"], "types": ["T1"]}]}]}]')$$),
	(12, 'a condition on the end', 300, $$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["all"]}], "after": 100000}]}]')$$)
) AS c (n, label, most, command), LATERAL pg_temp.rows_read(command) AS r
ORDER BY n;

-- It would not be so without the choice of the tag: to compare, all rows of the frequent one.
SELECT r.matches, r.rows >= 10000 AS many, r.sequential FROM pg_temp.rows_read($$SELECT * FROM es_query('[{"tags": ["all"], "types": ["T3"]}]')$$) AS r;

-- Nor after an analyze, which replans.
ANALYZE t_query_index.es_events, t_query_index.es_tags;
SELECT r.matches, r.rows <= 300 AS few, r.sequential FROM pg_temp.rows_read($$SELECT * FROM es_query('[{"tags": ["all", "one"], "types": ["T0"]}]')$$) AS r;

DROP FUNCTION pg_temp.rows_read;
SELECT es_drop_store('t_query_index');
RESET ROLE;
DROP SCHEMA t_query_index;
DROP ROLE regress_es_query_index;
