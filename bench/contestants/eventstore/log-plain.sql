-- Misses events of transactions that commit out of order.
SELECT position, key, version, type, data, metadata, tags, id, recorded_at
FROM es_events WHERE position > :random ORDER BY position LIMIT :count;
