-- The partitions of a subscription share its events: every aggregate belongs to one, in the order of its versions.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_partitions;
CREATE SCHEMA t_subscription_partitions AUTHORIZATION regress_es_subscription_partitions;

SET ROLE regress_es_subscription_partitions;
SELECT es_create_store('t_subscription_partitions');
SET eventstore.store = 't_subscription_partitions';
SELECT es_create_subscription('s', partitions => 4);
SELECT count(es_append('order-' || n % 40, jsonb_build_array(jsonb_build_object('type', 'T' || n % 3), '{"type": "T0"}'::jsonb), NULL, true)) FROM generate_series(1, 400) AS n;

-- Advanced in turns, the one that is furthest behind first.
CREATE TEMPORARY TABLE seen (n serial, partition integer, position bigint, key text, version bigint);
CREATE TEMPORARY TABLE fetches (n serial, partition integer, from_position bigint, to_position bigint);
DO $$
DECLARE
	event record;
BEGIN
	LOOP
		FOR event IN SELECT * FROM es_fetch('s', 37) LOOP
			INSERT INTO seen (partition, position, key, version) SELECT event.partition, event.position, event.key, event.version WHERE event.position IS NOT NULL;
		END LOOP;
		PERFORM es_advance('s', event.partition, event.from_position, event.to_position);
		INSERT INTO fetches (partition, from_position, to_position) VALUES (event.partition, event.from_position, event.to_position);
		COMMIT;
		EXIT WHEN event.from_position = event.to_position;
	END LOOP;
END
$$;

-- Exactly once, each aggregate in one partition, in order.
SELECT count(*), count(DISTINCT position), min(position), max(position) FROM seen;
SELECT count(*) AS missed FROM t_subscription_partitions.es_events AS e LEFT JOIN seen USING (position) WHERE seen.position IS NULL;
SELECT count(*) AS misplaced FROM seen WHERE partition <> es_partition(key, 4);
SELECT count(*) AS in_two FROM (SELECT key FROM seen GROUP BY key HAVING count(DISTINCT partition) > 1) AS k;
SELECT count(*) AS out_of_order FROM (SELECT version, lag(version, 1, 0::bigint) OVER (PARTITION BY key ORDER BY n) AS before FROM seen) AS s WHERE version <> before + 1;
SELECT partition, count(*) FROM seen GROUP BY partition ORDER BY partition;
-- Each partition's cursor goes on where it stopped.
SELECT count(*) AS broken FROM (SELECT from_position, lag(to_position, 1, 0::bigint) OVER (PARTITION BY partition ORDER BY n) AS before FROM fetches) AS f WHERE from_position <> before;
SELECT partition, position, lag FROM es_subscription_status;

-- The same with a query.
SELECT es_create_subscription('filtered', '[{"types": ["T1", "T2"]}]', 3);
TRUNCATE seen;
DO $$
DECLARE
	event record;
BEGIN
	LOOP
		FOR event IN SELECT * FROM es_fetch('filtered', 10) LOOP
			INSERT INTO seen (partition, position, key, version) SELECT event.partition, event.position, event.key, event.version WHERE event.position IS NOT NULL;
		END LOOP;
		PERFORM es_advance('filtered', event.partition, event.from_position, event.to_position);
		COMMIT;
		EXIT WHEN event.from_position = event.to_position;
	END LOOP;
END
$$;
SELECT count(*), count(DISTINCT position) FROM seen;
SELECT count(*) AS wrong FROM (SELECT position FROM seen EXCEPT SELECT position FROM t_subscription_partitions.es_events WHERE type IN ('T1', 'T2')) AS w;
SELECT count(*) AS missed FROM (SELECT position FROM t_subscription_partitions.es_events WHERE type IN ('T1', 'T2') EXCEPT SELECT position FROM seen) AS m;

-- More partitions than aggregates: some of them have nothing to give, and move on.
SELECT es_create_subscription('many', '[{"categories": ["alone"]}]', 5);
SELECT es_append('alone-1', '[{"type": "T"}]', 0);
DO $$
DECLARE
	event record;
BEGIN
	FOR i IN 1..5 LOOP
		FOR event IN SELECT * FROM es_fetch('many') LOOP
			RAISE WARNING 'partition % %', event.partition, event.key;
		END LOOP;
		PERFORM es_advance('many', event.partition, event.from_position, event.to_position);
	END LOOP;
END
$$;
SELECT partition, lag FROM es_subscription_status WHERE subscription = 'many';
DROP TABLE seen, fetches;

SELECT es_drop_store('t_subscription_partitions');
RESET ROLE;
DROP SCHEMA t_subscription_partitions;
DROP ROLE regress_es_subscription_partitions;
