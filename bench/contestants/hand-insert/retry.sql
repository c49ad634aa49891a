SELECT max(version) AS version FROM events WHERE key = :key;
INSERT INTO events (key, version, type, data) VALUES (:key, :next_version, :type, :data);
