-- es_read tells the planner how many rows to expect.
SET client_min_messages = warning;
CREATE ROLE regress_es_read_estimate;
CREATE SCHEMA t_read_estimate AUTHORIZATION regress_es_read_estimate;

CREATE FUNCTION pg_temp.estimate(query text)
RETURNS numeric
LANGUAGE plpgsql
AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN plan #>> '{0,Plan,Plan Rows}';
END
$$;

SET ROLE regress_es_read_estimate;
SELECT es_create_store('t_read_estimate');
SET eventstore.store = 't_read_estimate';

-- On an empty store, and on one that has not been analyzed, it only has to be a number.
SELECT pg_temp.estimate($$SELECT * FROM es_read('order-1')$$) >= 1 AS empty;

-- 100 aggregates of 10 events each.
SELECT count(es_append('order-' || n, (SELECT jsonb_agg('{"type": "T"}'::jsonb) FROM generate_series(1, 10)), 0)) FROM generate_series(1, 100) AS n;
ANALYZE t_read_estimate.es_events, t_read_estimate.es_aggregates;
SELECT pg_temp.estimate($$SELECT * FROM es_read('order-1')$$) BETWEEN 5 AND 20 AS whole,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', 1, NULL, NULL, true)$$) BETWEEN 5 AND 20 AS backwards,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', 1, 3)$$) BETWEEN 1 AND 5 AS range,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', 5, 5)$$) BETWEEN 1 AND 3 AS one_version,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', max_count => 2)$$) BETWEEN 1 AND 2 AS limited,
	   pg_temp.estimate($$SELECT k, e.version FROM unnest(ARRAY['order-1', 'order-2']) AS k, LATERAL es_read(k) AS e$$) BETWEEN 10 AND 40 AS of_two;

-- An estimate is made without a store, and with bad arguments: the error is for the execution.
RESET eventstore.store;
SELECT pg_temp.estimate($$SELECT * FROM es_read('order-1')$$) >= 1 AS no_store;
SET eventstore.store = 't_read_estimate';
SELECT pg_temp.estimate($$SELECT * FROM es_read(NULL)$$) >= 0 AS null_key,
	   pg_temp.estimate($$SELECT * FROM es_read('')$$) >= 0 AS empty_key,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', 0, -1, -1)$$) >= 0 AS bad_range,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', 1, 9223372036854775807, 9223372036854775807)$$) BETWEEN 5 AND 20 AS widest_range,
	   pg_temp.estimate($$SELECT * FROM es_read('order-1', 9223372036854775807)$$) >= 1 AS last_version;
-- In prepared statements with generic plans.
SET plan_cache_mode = force_generic_plan;
PREPARE history (text) AS SELECT version FROM es_read($1);
SELECT pg_temp.estimate($$EXECUTE history('order-1')$$) BETWEEN 5 AND 20 AS generic;
SELECT es_append('order-1', '[{"type": "T"}]', 10);
CREATE TEMPORARY TABLE history AS EXECUTE history('order-1');
SELECT count(*) FROM history;
DEALLOCATE history;
DROP TABLE history;

SELECT es_drop_store('t_read_estimate');
RESET ROLE;
DROP SCHEMA t_read_estimate;
DROP ROLE regress_es_read_estimate;
