-- $1 to $3 repeat a parameter that pgbench has numbered already.
\set n :n + 1
\set key 7000000000000000 + :client_id + :clients * permute(:n % :slice, :slice)
\set expected :start + (:n / :slice) * :batch
WITH moved AS (
	UPDATE es_aggregates SET version = version + jsonb_array_length(:events::jsonb)
	WHERE key = :key AND version = :expected AND closed_at IS NULL
	RETURNING version
)
INSERT INTO es_events (position, version, recorded_at, id, key, type, data, metadata)
SELECT nextval('es_position_seq'), $3 + e.number, clock_timestamp(), gen_random_uuid(),
	$2, e.value ->> 'type', e.value -> 'data', e.value -> 'metadata'
FROM moved, jsonb_array_elements($1) WITH ORDINALITY AS e (value, number)
RETURNING version;
