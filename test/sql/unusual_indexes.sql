-- Appends, locks and guards with other indexes on the tables than the store made.
SET client_min_messages = warning;
CREATE SCHEMA t_unusual_indexes;
SELECT es_create_store('t_unusual_indexes');
SET eventstore.store = 't_unusual_indexes';
SET search_path = t_unusual_indexes, public;

-- What a few calls give, then what is stored.
CREATE FUNCTION pg_temp.outcomes() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
	RETURN NEXT es_append('order-1', '[{"type": "Paid"}, {"type": "Shipped", "tags": ["t", "u"]}]', 1);
	RETURN NEXT (es_try_append('order-1', '[{"type": "Paid"}]', 1)).status;
	RETURN NEXT (es_try_append('order-1', '[{"type": "Placed"}]', 0)).status;
	RETURN NEXT (SELECT string_agg(key || ' ' || status, ', ' ORDER BY entry) FROM es_append_many(
		'[{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}, {"key": "order-1", "expected_version": 3}, {"key": "order-3", "expected_version": 0}]'));
	RETURN NEXT (SELECT string_agg(key || ' ' || version, ', ' ORDER BY key) FROM es_lock(ARRAY['order-2', 'order-3']));
	RETURN QUERY SELECT 'aggregate ' || key || ' ' || version FROM es_aggregates ORDER BY key;
	RETURN QUERY SELECT 'event ' || key || ' ' || version || ' ' || type FROM es_events ORDER BY position;
	RETURN QUERY SELECT 'tag ' || tag || ' ' || key || ' ' || version FROM es_tags ORDER BY tag, position;
END
$$;

\t on
\pset format unaligned
\echo as made
BEGIN;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
\echo the primary key of the aggregates is not that of their keys
BEGIN;
ALTER TABLE es_aggregates DROP CONSTRAINT es_aggregates_pkey, ADD UNIQUE (key), ADD PRIMARY KEY (version, key);
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
\echo no index on the tags
BEGIN;
ALTER TABLE es_tags DROP CONSTRAINT es_tags_pkey;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
\echo more indexes: partial, on an expression, covering
BEGIN;
CREATE INDEX ON es_aggregates (version) WHERE version > 1;
CREATE INDEX ON es_events (es_category(key), position) INCLUDE (type);
CREATE UNIQUE INDEX ON es_events (id);
CREATE INDEX ON es_tags (key, version);
SELECT * FROM pg_temp.outcomes();
SET LOCAL enable_seqscan = off;
SELECT key, version FROM es_aggregates WHERE version > 1;
SELECT count(*) FROM es_events WHERE es_category(key) = 'order';
ROLLBACK;

RESET search_path;
SELECT es_drop_store('t_unusual_indexes');
DROP SCHEMA t_unusual_indexes;
