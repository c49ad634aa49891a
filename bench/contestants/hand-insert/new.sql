INSERT INTO events (key, version, type, data) VALUES (:new_key, 1, :type, :data);
