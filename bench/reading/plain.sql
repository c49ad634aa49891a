\set after random(0, :events - :page)
SELECT position, key, version, type, data, metadata, tags, id, recorded_at
FROM es_events WHERE position > :after ORDER BY position LIMIT :page;
