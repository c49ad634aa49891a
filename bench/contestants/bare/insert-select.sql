-- Neither the aggregate nor its version.
INSERT INTO es_events (position, version, recorded_at, id, key, type, data, metadata)
SELECT nextval('es_position_seq'), :version + e.number, clock_timestamp(), gen_random_uuid(),
	:key, e.value ->> 'type', e.value -> 'data', e.value -> 'metadata'
FROM jsonb_array_elements(:events::jsonb) WITH ORDINALITY AS e (value, number);
