SELECT position, key, version, type, data, metadata, tags, id, recorded_at
FROM es_events WHERE key = :key AND version <= :count ORDER BY version;
