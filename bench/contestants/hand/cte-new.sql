WITH made AS (
	INSERT INTO aggregates (key, version) VALUES (:new_key, jsonb_array_length(:events::jsonb))
	ON CONFLICT DO NOTHING
	RETURNING version
)
INSERT INTO events (version, key, type, data, metadata)
SELECT e.number, :new_key, e.value ->> 'type', e.value -> 'data', e.value -> 'metadata'
FROM made, jsonb_array_elements(:events::jsonb) WITH ORDINALITY AS e (value, number)
RETURNING position;
