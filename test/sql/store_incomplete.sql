-- A store that lacks a table, has something else in its place, or does not say its format,
-- is refused by every function that comes to it, not taken for none.
SET client_min_messages = warning;
CREATE SCHEMA t_store_incomplete;
SELECT es_create_store('t_store_incomplete');
SET eventstore.store = 't_store_incomplete';

CREATE FUNCTION pg_temp.refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE FUNCTION pg_temp.refusals() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT call || ': ' || pg_temp.refusal(call)
	FROM unnest(ARRAY['es_append(''order-1'', ''[{"type": "Placed"}]'', 0)', 'es_version(''order-1'')', 'es_read_all()']) WITH ORDINALITY AS c (call, n)
	ORDER BY n
$$;

\t on
\pset format unaligned
SELECT * FROM pg_temp.refusals();
BEGIN;
DROP TABLE t_store_incomplete.es_tags;
SELECT * FROM pg_temp.refusals();
ROLLBACK;
BEGIN;
ALTER TABLE t_store_incomplete.es_tags RENAME TO the_tags;
CREATE VIEW t_store_incomplete.es_tags AS TABLE t_store_incomplete.the_tags;
SELECT * FROM pg_temp.refusals();
ROLLBACK;
BEGIN;
ALTER SEQUENCE t_store_incomplete.es_position_seq RENAME TO the_positions;
CREATE TABLE t_store_incomplete.es_position_seq (last_value bigint);
SELECT * FROM pg_temp.refusals();
ROLLBACK;
BEGIN;
DELETE FROM t_store_incomplete.es_store;
SELECT * FROM pg_temp.refusals();
ROLLBACK;
BEGIN;
UPDATE t_store_incomplete.es_store SET format_version = 1000;
SELECT * FROM pg_temp.refusals();
ROLLBACK;
SELECT * FROM pg_temp.refusals();

-- Found also behind many schemas that are none.
RESET eventstore.store;
DO $$ BEGIN FOR n IN 1 .. 40 LOOP EXECUTE format('CREATE SCHEMA t_store_incomplete_%s', n); END LOOP; END $$;
SELECT string_agg(format('t_store_incomplete_%s', n), ', ') || ', t_store_incomplete, public' AS path FROM generate_series(1, 40) AS n \gset
SET search_path = :path;
SELECT es_version('order-1');
RESET search_path;
DO $$ BEGIN FOR n IN 1 .. 40 LOOP EXECUTE format('DROP SCHEMA t_store_incomplete_%s', n); END LOOP; END $$;

SELECT es_drop_store('t_store_incomplete');
DROP SCHEMA t_store_incomplete;
