-- What the set-ups share: the schema, the keys and the events that are there before.

\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION pg_prewarm;
CREATE SCHEMA bench;

-- The same as make_key() of the client.
CREATE FUNCTION bench_key(number bigint, length integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT 'cart' || lpad((number % 100)::text, 2, '0') || '-' || lpad(number::text, length - 7, '0')
$$;

-- Round by round, so that the events of an aggregate lie apart as they do in a grown log; the
-- second series depends on the first, or the planner might turn them round.
CREATE FUNCTION bench_events(aggregates integer, events integer, key_length integer) RETURNS TABLE (key text, version bigint)
LANGUAGE sql STABLE ROWS 1000000
AS $$
	SELECT bench_key(place * 7919::bigint % aggregates, key_length), version
	FROM generate_series(1, events) AS version, generate_series(0, aggregates - 1 + 0 * version) AS place
$$;
