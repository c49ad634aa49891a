-- One statement, from the same array of events that es_append() takes.
WITH moved AS (
	UPDATE aggregates SET version = version + jsonb_array_length(:events::jsonb)
	WHERE key = :key AND version = :version AND closed_at IS NULL
	RETURNING version
)
INSERT INTO events (version, key, type, data, metadata)
SELECT :version + e.number, :key, e.value ->> 'type', e.value -> 'data', e.value -> 'metadata'
FROM moved, jsonb_array_elements(:events::jsonb) WITH ORDINALITY AS e (value, number)
RETURNING position;
