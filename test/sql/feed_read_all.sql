-- es_read_all pages through the log of a store in the order of positions, from after one position up to another.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_read_all;
CREATE SCHEMA t_feed_read_all AUTHORIZATION regress_es_feed_read_all;

CREATE FUNCTION pg_temp.positions(after_position bigint, max_count integer DEFAULT 1000, to_position bigint DEFAULT NULL)
RETURNS bigint[]
LANGUAGE sql
AS $$ SELECT array_agg(position ORDER BY ordinality) FROM es_read_all(after_position, max_count, to_position => to_position) WITH ORDINALITY $$;

SET ROLE regress_es_feed_read_all;
SELECT es_create_store('t_feed_read_all');
SET eventstore.store = 't_feed_read_all';

-- An empty log.
SELECT * FROM es_read_all();
SELECT es_horizon();

SELECT es_append('order-1', '[{"type": "Placed", "data": {"n": 1}, "metadata": {"correlation_id": "c"}, "tags": ["t", "u"]}, {"type": "Paid"}]', 0);
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
-- Its position is drawn and never used.
BEGIN;
SELECT es_append('order-3', '[{"type": "Placed"}]', 0);
ROLLBACK;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT es_append('invoice-1', '[{"type": "Sent", "data": null}, {"type": "Paid", "data": [1, "2"]}]', 0);

SELECT position, key, version, type, data, metadata, tags FROM es_read_all();
SELECT e.* = (s.position, s.key, s.version, s.type, s.data, s.metadata, s.tags, s.id, s.recorded_at)::es_event AS as_stored, count(*)
FROM es_read_all() AS e JOIN t_feed_read_all.es_events AS s USING (position) GROUP BY 1;

-- Pages. The rows come in order without ORDER BY.
SELECT after_position, max_count, to_position, pg_temp.positions(after_position, max_count, to_position)
FROM (VALUES (1, 0, 1, NULL::bigint), (2, 0, 2, NULL), (3, 2, 2, NULL), (4, 3, 2, NULL), (5, 4, 2, NULL), (6, 6, 2, NULL), (7, 7, 2, NULL),
			 (8, 0, 0, NULL), (9, 7, 0, NULL), (10, 0, 2147483647, NULL),
			 (11, 0, 10, 0), (12, 0, 10, 1), (13, 0, 10, 4), (14, 0, 10, 5), (15, 2, 10, 6), (16, 2, 1, 6), (17, 0, 10, 7), (18, 0, 10, 8),
			 (19, 0, 10, 9223372036854775807), (20, 5, 10, 3), (21, 5, 10, 5), (22, 5, 0, 7)
	 ) AS pages (n, after_position, max_count, to_position)
ORDER BY n;

-- By name, and the usual questions.
SELECT position, type FROM es_read_all(after_position => 5);
SELECT position FROM es_read_all(max_count => 2);
SELECT position, key FROM es_read_all(to_position => 3) WHERE type = 'Placed';
SELECT a.position, b.type FROM es_read_all(to_position => 2) AS a JOIN es_read_all() AS b USING (position) ORDER BY position;
SELECT (es_read_all(6)).type;
SELECT max(position) = es_horizon() AS all_read FROM es_read_all();

-- A loop over pages sees every event once.
DO $$
DECLARE
	cursor_position bigint := 0;
	page bigint[];
	seen bigint[] := '{}';
BEGIN
	LOOP
		page := ARRAY(SELECT position FROM es_read_all(cursor_position, 2));
		EXIT WHEN page = '{}';
		seen := seen || page;
		cursor_position := page[cardinality(page)];
	END LOOP;
	RAISE WARNING '%', seen;
	IF seen <> ARRAY(SELECT e.position FROM t_feed_read_all.es_events AS e ORDER BY e.position) THEN
		RAISE EXCEPTION 'missed something';
	END IF;
END
$$;

-- Many events in one page, more than one fetch of the executor.
SELECT count(es_append('many-' || n % 10, '[{"type": "Counted"}, {"type": "Counted"}]', NULL, true)) FROM generate_series(1, 1000) AS n;
SELECT count(*), count(DISTINCT position), min(position), max(position) FROM es_read_all(7, 5000);
SELECT count(*), max(position) FROM es_read_all();
SELECT bool_and(position > before) AS ascending
FROM (SELECT position, lag(position, 1, 0::bigint) OVER (ORDER BY ordinality) AS before FROM es_read_all(0, 5000) WITH ORDINALITY) AS e;

-- A prepared statement, with generic plans too.
PREPARE page (bigint, integer) AS SELECT position, key FROM es_read_all($1, $2);
SET plan_cache_mode = force_generic_plan;
EXECUTE page (0, 1);
EXECUTE page (1, 2);
RESET plan_cache_mode;
DEALLOCATE page;

-- A cursor keeps what it has read.
BEGIN;
DECLARE page CURSOR FOR SELECT position FROM es_read_all(0, 3);
FETCH 1 FROM page;
SELECT es_append('order-2', '[{"type": "Paid"}]', 1);
FETCH ALL FROM page;
COMMIT;

SELECT es_drop_store('t_feed_read_all');
RESET ROLE;
DROP SCHEMA t_feed_read_all;
DROP ROLE regress_es_feed_read_all;
