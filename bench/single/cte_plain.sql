-- $1 and $2 repeat a parameter that pgbench has numbered already.
\set n :n + 1
\set key 7000000000000000 + :client_id + :clients * permute(:n % :slice, :slice)
\set expected :start + (:n / :slice) * :batch
WITH moved AS (
	UPDATE es_aggregates SET version = version + 1
	WHERE key = :key AND version = :expected AND closed_at IS NULL
	RETURNING version
)
INSERT INTO es_events (position, version, recorded_at, id, key, type, data)
SELECT nextval('es_position_seq'), moved.version, clock_timestamp(), gen_random_uuid(), $1, :type, :data
FROM moved
RETURNING version;
