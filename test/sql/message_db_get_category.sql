-- eventstore_message_db: reading a category from a global position on, in batches, by correlation and by consumer group.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT message_store.es_create_message_store();
\set SHOW_CONTEXT never
SET ROLE message_store;
SELECT count(write_message(gen_random_uuid()::varchar,
		CASE n % 5 WHEN 0 THEN 'other-' || n WHEN 1 THEN 'account' WHEN 2 THEN 'account-' || n % 7 || '+' || n ELSE 'account-' || n % 7 END,
		'T', jsonb_build_object('n', n),
		CASE n % 4 WHEN 0 THEN jsonb_build_object('correlationStreamName', 'some-' || n) WHEN 1 THEN '{"correlationStreamName": "some"}' WHEN 2 THEN '{"correlationStreamName": "another-1"}' END))
FROM generate_series(1, 2500) AS n;

SELECT stream_name, position, global_position, data FROM get_category_messages('account', batch_size => 5);
SELECT global_position FROM get_category_messages('account', 5, 3);
SELECT count(*), min(global_position), max(global_position) FROM get_category_messages('account');
SELECT count(*), min(global_position), max(global_position) FROM get_category_messages('account', NULL, NULL, NULL, NULL, NULL, NULL);
SELECT count(*), min(global_position), max(global_position) FROM get_category_messages('account', 1, -1);
SELECT count(*) FROM get_category_messages('account', 2499, -1);
SELECT count(*) FROM get_category_messages('account', 2501);
SELECT count(*) FROM get_category_messages('account', 9223372036854775807);
SELECT count(*) FROM get_category_messages('account', -1, 0);
SELECT count(*) FROM get_category_messages('acc');
SELECT count(*) FROM get_category_messages(NULL);

-- Page by page it is the same as in one go, in order, each once.
DO $$
DECLARE
	next bigint := 1;
	page bigint[];
	seen bigint[] := '{}';
BEGIN
	LOOP
		page := ARRAY(SELECT global_position FROM get_category_messages('account', next, 70));
		EXIT WHEN page = '{}';
		seen := seen || page;
		next := page[cardinality(page)] + 1;
	END LOOP;
	RAISE WARNING '%', seen = ARRAY(SELECT global_position FROM messages WHERE category(stream_name) = 'account' ORDER BY 1);
END
$$;

-- Correlation.
SELECT correlation, count(m.*), count(DISTINCT m.metadata) FROM unnest(ARRAY['some', 'another', 'none']) AS correlation
LEFT JOIN LATERAL get_category_messages('account', 1, -1, correlation) AS m ON true GROUP BY 1 ORDER BY 1;
SELECT stream_name, global_position, metadata FROM get_category_messages('account', 1, 2, 'some');

-- Consumer groups: every message of a stream with an id has one member, and a compound id follows its first part.
SELECT size, count(*), count(*) = count(DISTINCT m.id) AS once, count(DISTINCT member) AS members,
	   bool_and(member = abs(hash_64(cardinal_id(m.stream_name))) % size) AS right_one
FROM generate_series(1, 4) AS size, generate_series(0, size - 1) AS member,
	 LATERAL get_category_messages('account', 1, -1, consumer_group_member => member, consumer_group_size => size) AS m
GROUP BY size ORDER BY size;
SELECT count(*) FROM messages WHERE category(stream_name) = 'account' AND id(stream_name) IS NOT NULL;
SELECT count(*), count(DISTINCT stream_name) FROM get_category_messages('account', 1, -1, 'some', 1, 3);

-- Refused.
SELECT * FROM get_category_messages('account-1');
SELECT * FROM get_category_messages('account', correlation => 'some-1');
SELECT * FROM get_category_messages('account', consumer_group_member => 0);
SELECT * FROM get_category_messages('account', consumer_group_size => 1);
SELECT * FROM get_category_messages('account', consumer_group_member => 0, consumer_group_size => 0);
SELECT * FROM get_category_messages('account', consumer_group_member => -1, consumer_group_size => 2);
SELECT * FROM get_category_messages('account', consumer_group_member => 2, consumer_group_size => 2);
SELECT * FROM get_category_messages('account', consumer_group_member => 3, consumer_group_size => 2);
SELECT * FROM get_category_messages('account', batch_size => -2);

-- A transaction sees what it has written itself.
BEGIN;
SELECT write_message(gen_random_uuid()::varchar, 'account-new', 'T', '{}', NULL, -1);
SELECT stream_name FROM get_category_messages('account', 2500);
ROLLBACK;
SELECT stream_name FROM get_category_messages('account', 2501);
-- The position that was given up is not used again.
SELECT write_message(gen_random_uuid()::varchar, 'account-new', 'T', '{}', NULL, -1);
SELECT global_position FROM get_category_messages('account', 2501);

RESET ROLE;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store CASCADE;
