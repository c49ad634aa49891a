-- es_partition is CRC-32C of the key's bytes modulo the number of partitions, for ever: consumers rely on it.
SET client_encoding = 'UTF8';

-- The check value of CRC-32C, that of "123456789", is e3069283; modulo the largest number of partitions, 2^31 - 1.
SELECT es_partition('123456789', 2147483647) = x'e3069283'::bigint % 2147483647 AS crc32c;

SELECT key, es_partition(key, 1) AS of_1, es_partition(key, 2) AS of_2, es_partition(key, 3) AS of_3, es_partition(key, 8) AS of_8,
	   es_partition(key, 1000) AS of_1000, es_partition(key, 1024) AS of_1024, es_partition(key, 2147483647) AS of_all
FROM (VALUES (1, ''), (2, 'a'), (3, 'order'), (4, 'order-1'), (5, 'order-2'), (6, 'Order-1'), (7, 'order-1 '), (8, 'é-1'), (9, '日本-42'),
			 (10, 'customer-0190163d-8694-739b-aea5-966c26f8ad90')) AS keys (n, key)
ORDER BY n;
SELECT length(key), es_partition(key, 2147483647) FROM (VALUES (repeat('x', 512)), (repeat('ab-', 100))) AS keys (key) ORDER BY length(key);

-- By bytes: é of two bytes is not e with a combining accent.
SELECT es_partition('é', 1024) <> es_partition(U&'e\0301', 1024) AS differs;
-- Of a text that is stored compressed or out of line as well.
CREATE TEMPORARY TABLE keys (key text);
INSERT INTO keys VALUES (repeat('long', 100000));
SELECT es_partition(key, 2147483647) = es_partition(repeat('long', 100000), 2147483647) AS same FROM keys;
DROP TABLE keys;

-- Every partition gets its share.
SELECT es_partition('order-' || n, 8) AS partition, count(*) FROM generate_series(1, 8000) AS n GROUP BY partition ORDER BY partition;
