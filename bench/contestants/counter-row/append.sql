WITH moved AS (
	UPDATE aggregates SET version = version + 1 WHERE key = :key AND version = :version
	RETURNING version
), counted AS (
	UPDATE counter SET position = position + 1 WHERE EXISTS (SELECT FROM moved)
	RETURNING position
)
INSERT INTO events (position, key, version, type, data)
SELECT counted.position, :key, moved.version, :type, :data FROM moved, counted
RETURNING position;
