INSERT INTO events (data) VALUES (:data);
