-- The category of a key is the part before its first dash, or all of it; it may be indexed.
SET client_encoding = 'UTF8';
SELECT key, es_category(key)
FROM (VALUES ('order-42'), ('order'), ('order-42-line-7'), ('-42'), ('-'), ('order-'), ('Order-42'), ('order_42'), (' order -42'), (E'or\nder-42'),
			 ('tenant/order-42'), (U&'order\201342'), ('')) AS keys (key)
ORDER BY key COLLATE "C";
SELECT es_category(NULL) IS NULL AS null_for_null;
SELECT es_category(repeat('k', 600)) = repeat('k', 600) AS any_length;
SELECT es_category(U&'\8BA2\5355-1') = U&'\8BA2\5355' AS unicode;

SET client_min_messages = warning;
CREATE ROLE regress_es_category;
CREATE SCHEMA t_category AUTHORIZATION regress_es_category;
SET ROLE regress_es_category;
SELECT es_create_store('t_category');
SET eventstore.store = 't_category';
SELECT count(es_append(c || '-' || n, '[{"type": "T"}]', 0)) FROM unnest(ARRAY['order', 'customer', 'orders', 'ord']) AS c, generate_series(1, 50) AS n;

CREATE INDEX by_category ON t_category.es_events (es_category(key), position);
SELECT es_append('order-51', '[{"type": "T"}]', 0);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t_category.es_events WHERE es_category(key) = 'order';
SELECT count(*) FROM t_category.es_events WHERE es_category(key) = 'order';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(*) FROM t_category.es_events WHERE es_category(key) = 'order';
-- In a generated column.
ALTER TABLE t_category.es_aggregates ADD COLUMN category text GENERATED ALWAYS AS (es_category(key)) STORED;
SELECT es_append('basket-1', '[{"type": "T"}]', 0);
SELECT category, count(*) FROM t_category.es_aggregates GROUP BY category ORDER BY category COLLATE "C";

SELECT es_drop_store('t_category');
RESET ROLE;
DROP SCHEMA t_category;
DROP ROLE regress_es_category;
