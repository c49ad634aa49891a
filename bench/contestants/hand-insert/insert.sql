INSERT INTO events (key, version, type, data) VALUES (:key, :next_version, :type, :data);
