-- eventstore_message_db: the parts of a stream's name, and the hash that groups and locks go by.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SET search_path = message_store;
SELECT n AS name, category(n), is_category(n), id(n), cardinal_id(n)
FROM unnest(ARRAY['account-123', 'account', 'account-123+456', 'account-1-2-3', 'account-', '-', '-1', '', 'account:command-1+2+3', 'account-+1', 'größe-ß+1', NULL]) AS n;

-- The first 64 bits of MD5, signed.
SELECT v AS value, hash_64(v), to_hex(hash_64(v)) = left(md5(v), 16) AS same FROM unnest(ARRAY['aaaa', 'some value', '', 'ß', NULL]) AS v;
-- Both signs occur.
SELECT count(DISTINCT sign(hash_64(n::varchar))) FROM generate_series(1, 20) AS n;
SELECT message_store_version();

RESET search_path;
DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store;
