-- es_read returns a range of an aggregate's events, forwards or backwards; es_version its version.
SET client_min_messages = warning;
CREATE ROLE regress_es_read;
CREATE SCHEMA t_read AUTHORIZATION regress_es_read;
SET ROLE regress_es_read;
SELECT es_create_store('t_read');
SET eventstore.store = 't_read';
SELECT es_append('order-1', (SELECT jsonb_agg(jsonb_build_object('type', 'T' || n, 'data', n, 'metadata', jsonb_build_object('n', n), 'tags', ARRAY['t' || n]) ORDER BY n)
							 FROM generate_series(1, 10) AS n), 0);
SELECT es_append('order-10', '[{"type": "Other"}]', 0);
SELECT es_append('order', '[{"type": "Other"}]', 0);

-- The rows come in the order of the versions.
SELECT version, type, data, metadata, tags FROM es_read('order-1');
SELECT e.* = (s.position, s.key, s.version, s.type, s.data, s.metadata, s.tags, s.id, s.recorded_at)::es_event AS as_stored, count(*)
FROM es_read('order-1') AS e JOIN t_read.es_events AS s USING (key, version) GROUP BY 1;

-- Ranges. max_count counts from the end when reading backwards.
CREATE FUNCTION pg_temp.versions(from_version bigint DEFAULT 1, to_version bigint DEFAULT NULL, max_count bigint DEFAULT NULL, backwards boolean DEFAULT false)
RETURNS bigint[]
LANGUAGE sql
AS $$ SELECT array_agg(version ORDER BY ordinality) FROM es_read('order-1', from_version, to_version, max_count, backwards) WITH ORDINALITY $$;
SELECT from_version, to_version, max_count,
	   pg_temp.versions(from_version, to_version, max_count) AS forwards,
	   pg_temp.versions(from_version, to_version, max_count, true) AS backwards
FROM (VALUES (1, 1, NULL::bigint, NULL::bigint), (2, 4, NULL, NULL), (3, 10, NULL, NULL), (4, 11, NULL, NULL), (5, 9223372036854775807, NULL, NULL),
			 (6, 1, 3, NULL), (7, 4, 6, NULL), (8, 5, 5, NULL), (9, 6, 5, NULL), (10, 1, 0, NULL), (11, 8, 100, NULL), (12, 8, 9223372036854775807, NULL),
			 (13, 1, NULL, 3), (14, 1, NULL, 0), (15, 1, NULL, 100), (16, 4, NULL, 2), (17, 4, 6, 2), (18, 4, 6, 5), (19, 9, NULL, 9223372036854775807)
	 ) AS ranges (n, from_version, to_version, max_count)
ORDER BY n;

-- By name, and the usual questions.
SELECT version FROM es_read('order-1', max_count => 1, backwards => true);
SELECT version FROM es_read(key => 'order-1', from_version => 9);
SELECT version FROM es_read('order-1', backwards => true) WHERE type = 'T4';
SELECT count(*) FROM es_read('order-1') AS a CROSS JOIN es_read('order-10') AS b;
SELECT k, (SELECT count(*) FROM es_read(k)) AS events, es_version(k) FROM unnest(ARRAY['order', 'order-1', 'order-10', 'order-2']) AS k ORDER BY k;
SELECT (es_read('order-1', 10)).version;
SELECT e.version FROM unnest(ARRAY['order-10', 'order-1']) WITH ORDINALITY AS k (k, n), LATERAL es_read(k.k, 1, 2) AS e ORDER BY n, e.version;

-- Nothing of a missing aggregate.
SELECT * FROM es_read('order-2');
SELECT es_version('order-2');

-- Reading inside the transaction that writes, and through a cursor that is older than the append.
BEGIN;
DECLARE events CURSOR FOR SELECT version FROM es_read('order-10');
FETCH 1 FROM events;
SELECT es_append('order-10', '[{"type": "Other"}]', 1);
SELECT version FROM es_read('order-10');
FETCH ALL FROM events;
ROLLBACK;

-- A query sees the store as it was when the query began.
SELECT es_version('order-10') AS before, es_append('order-10', '[{"type": "Other"}]', 1) AS appended, es_version('order-10') AS same;
SELECT n, es_append('order-10', '[{"type": "Other"}]') AS appended, (SELECT count(*) FROM es_read('order-10', n)) AS events_from_n
FROM generate_series(1, 2) AS n ORDER BY n;
SELECT es_version('order-10');

-- As a fold.
SELECT sum(data::bigint) FROM es_read('order-1', 3, 5);
CREATE FUNCTION t_read.last_type(state text, event es_event) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT (event).type';
CREATE AGGREGATE t_read.last_type(es_event) (SFUNC = t_read.last_type, STYPE = text);
SELECT t_read.last_type(e ORDER BY e.version) FROM es_read('order-1') AS e;

DROP AGGREGATE t_read.last_type(es_event);
DROP FUNCTION t_read.last_type;
SELECT es_drop_store('t_read');
RESET ROLE;
DROP FUNCTION pg_temp.versions;
DROP SCHEMA t_read;
DROP ROLE regress_es_read;
