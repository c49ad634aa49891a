\set n :n + 1
\set key 7000000000000000 + :client_id + :clients * permute(:n % :slice, :slice)
\set expected :start + (:n / :slice) * :batch
INSERT INTO es_events (position, version, recorded_at, id, key, type, data)
SELECT nextval('es_position_seq'), :expected + number, clock_timestamp(), gen_random_uuid(),
	:key, :type, :data
FROM generate_series(1, :batch) AS number;
