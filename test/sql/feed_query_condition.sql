-- es_query_condition shows what a query means, as a condition over the columns of es_events.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_query_condition;
CREATE SCHEMA t_feed_query_condition AUTHORIZATION regress_es_feed_query_condition;

SET ROLE regress_es_feed_query_condition;
SELECT es_create_store('t_feed_query_condition');
SET eventstore.store = 't_feed_query_condition';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["customer:1"]}, {"type": "Paid", "tags": ["customer:1", "payment:7"]}]', 0);
SELECT es_append('invoice-1', '[{"type": "Sent"}, {"type": "Paid", "tags": ["payment:7"]}]', 0);

CREATE TEMPORARY TABLE queries (n serial, query jsonb);
INSERT INTO queries (query) VALUES
	('[{"types": ["Paid"]}]'), ('[{"types": ["Paid", "Sent"]}]'), ('[{"categories": ["order"]}]'), ('[{"tags": ["payment:7", "customer:1"]}]'),
	('[{"types": ["Paid"], "tags": ["payment:7"], "categories": ["invoice", "order"]}]'), ('[{"types": ["Placed"]}, {"categories": ["invoice"]}]'),
	('[{"types": ["it''s", "back\\slash", "a\"b"]}]'), (NULL);

-- Put into a statement, it selects what es_read_all does.
DO $$
DECLARE
	query jsonb;
	by_condition bigint[];
	by_query bigint[];
BEGIN
	FOR query IN SELECT q.query FROM pg_temp.queries AS q ORDER BY n LOOP
		EXECUTE format('SELECT array_agg(position ORDER BY position) FROM t_feed_query_condition.es_events WHERE %s', es_query_condition(query)) INTO by_condition;
		SELECT array_agg(position ORDER BY position) INTO by_query FROM es_read_all(query => query);
		RAISE WARNING '% %', query, by_query;
		IF by_condition IS DISTINCT FROM by_query THEN
			RAISE EXCEPTION '% is not %', by_condition, by_query;
		END IF;
	END LOOP;
END
$$;

-- It needs no store.
RESET eventstore.store;
SELECT es_query_condition('[{"types": ["Paid"]}]') IS NOT NULL AS without_store, es_query_condition(NULL) AS without_query;
DROP TABLE queries;

SELECT es_drop_store('t_feed_query_condition');
RESET ROLE;
DROP SCHEMA t_feed_query_condition;
DROP ROLE regress_es_feed_query_condition;
