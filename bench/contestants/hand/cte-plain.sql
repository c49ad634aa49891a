-- The same of one event, given as type and data.
WITH moved AS (
	UPDATE aggregates SET version = version + 1
	WHERE key = :key AND version = :version AND closed_at IS NULL
	RETURNING version
)
INSERT INTO events (version, key, type, data)
SELECT moved.version, :key, :type, :data FROM moved
RETURNING position;
