\set n :n + 1
\set key 7000000000000000 + :client_id + :clients * permute(:n % :slice, :slice)
\set expected :start + (:n / :slice) * :batch
INSERT INTO es_events (position, version, recorded_at, id, key, type, data, metadata)
SELECT nextval('es_position_seq'), :expected + e.number, clock_timestamp(), gen_random_uuid(),
	:key, e.value ->> 'type', e.value -> 'data', e.value -> 'metadata'
FROM jsonb_array_elements(:events::jsonb) WITH ORDINALITY AS e (value, number);
