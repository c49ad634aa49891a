-- Malformed writes of es_append_many and es_append_each are refused: the error names the entry and the field.
SET client_min_messages = warning;
CREATE ROLE regress_es_bad_writes;
CREATE SCHEMA t_bad_writes AUTHORIZATION regress_es_bad_writes;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;

SET ROLE regress_es_bad_writes;
SELECT es_create_store('t_bad_writes');
SET eventstore.store = 't_bad_writes';
SELECT es_append('k-1', '[{"type": "T"}]', 0);

CREATE TEMPORARY TABLE bad_writes (n serial, label text, writes jsonb);
INSERT INTO bad_writes (label, writes) VALUES
	('writes: an object', '{"key": "k-1", "events": [{"type": "T"}]}'),
	('writes: a string', '"k-1"'),
	('writes: a number', '1'),
	('writes: a boolean', 'false'),
	('writes: JSON null', 'null'),
	('writes: an empty array', '[]'),
	('entry: an array', '[["k-1"]]'),
	('entry: a string', '["k-1"]'),
	('entry: null', '[null]'),
	('entry: the second is a number', '[{"key": "k-1", "events": [{"type": "T"}]}, 2]'),
	('entry: an empty object', '[{}]'),
	('key: missing', '[{"events": [{"type": "T"}]}]'),
	('key: missing in the second', '[{"key": "k-1", "events": [{"type": "T"}]}, {"events": [{"type": "T"}]}]'),
	('key: null', '[{"key": null, "events": [{"type": "T"}]}]'),
	('key: a number', '[{"key": 1, "events": [{"type": "T"}]}]'),
	('key: an array', '[{"key": ["k-1"], "events": [{"type": "T"}]}]'),
	('key: an object', '[{"key": {}, "events": [{"type": "T"}]}]'),
	('key: empty', '[{"key": "", "events": [{"type": "T"}]}]'),
	('events: null', '[{"key": "k-1", "events": null}]'),
	('events: empty', '[{"key": "k-1", "events": []}]'),
	('events: an object', '[{"key": "k-1", "events": {"type": "T"}}]'),
	('expected_version: null', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": null}]'),
	('expected_version: a string', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": "1"}]'),
	('expected_version: a boolean', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": true}]'),
	('expected_version: an array', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": [1]}]'),
	('expected_version: a fraction', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": 1.5}]'),
	('expected_version: negative', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": -1}]'),
	('expected_version: above bigint', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": 9223372036854775808}]'),
	('expected_version: far above bigint', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": 1e400}]'),
	('expected_version: below bigint', '[{"key": "k-1", "events": [{"type": "T"}], "expected_version": -9223372036854775809}]'),
	('allow_create: null', '[{"key": "k-1", "events": [{"type": "T"}], "allow_create": null}]'),
	('allow_create: a string', '[{"key": "k-1", "events": [{"type": "T"}], "allow_create": "true"}]'),
	('allow_create: a number', '[{"key": "k-1", "events": [{"type": "T"}], "allow_create": 1}]'),
	('field: mistyped', '[{"key": "k-1", "events": [{"type": "T"}], "expected": 1}]'),
	('field: in other case', '[{"Key": "k-1", "events": [{"type": "T"}]}]'),
	('field: one of an event', '[{"key": "k-1", "type": "T"}]'),
	('field: empty name', '[{"key": "k-1", "events": [{"type": "T"}], "": 1}]'),
	('field: mistyped in the second', '[{"key": "k-1", "events": [{"type": "T"}]}, {"key": "k-1", "event": [{"type": "T"}]}]'),
	('two faults: the first entry counts', '[{"key": "", "events": [{"type": "T"}]}, {"key": "k-1", "events": []}]');
INSERT INTO bad_writes (label, writes) VALUES
	('key: 513 bytes', jsonb_build_array(jsonb_build_object('key', repeat('k', 513), 'events', '[{"type": "T"}]'::jsonb)));

\pset format unaligned
SELECT label, pg_temp.refusal(format('SELECT * FROM es_append_many(%L)', writes)) AS refusal
FROM bad_writes ORDER BY n;

-- es_try_append_many and es_append_each refuse in the same words, and never with a row.
SELECT label, pg_temp.refusal(format('SELECT * FROM es_append_each(%L)', writes)) AS "refusal of es_append_each"
FROM bad_writes
WHERE pg_temp.refusal(format('SELECT * FROM es_append_each(%L)', writes)) <>
	  pg_temp.refusal(format('SELECT * FROM es_append_many(%L)', writes))
ORDER BY n;
SELECT label
FROM bad_writes
WHERE pg_temp.refusal(format('SELECT * FROM es_try_append_many(%L)', writes)) <>
	  pg_temp.refusal(format('SELECT * FROM es_append_many(%L)', writes))
ORDER BY n;

-- A guard must not allow a creation.
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "k-1", "allow_create": true}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "k-1", "expected_version": 1, "allow_create": false}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "k-1", "expected_version": -1}]') $$);

-- A request id of an entry is for es_append_each only.
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"key": "k-1", "events": [{"type": "T"}], "request_id": "r-1"}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_try_append_many('[{"key": "k-1", "events": [{"type": "T"}], "request_id": "r-1"}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_each('[{"key": "k-1", "events": [{"type": "T"}], "request_id": null}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_each('[{"key": "k-1", "events": [{"type": "T"}], "request_id": 1}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_each('[{"key": "k-1", "events": [{"type": "T"}], "request_id": ""}]') $$);
SELECT pg_temp.refusal(format('SELECT * FROM es_append_each(%L)', jsonb_build_array(jsonb_build_object(
	'key', 'k-1', 'events', '[{"type": "T"}]'::jsonb, 'request_id', repeat('r', 256)))));
SELECT pg_temp.refusal($$ SELECT * FROM es_append_each('[{"key": "k-1"}]') $$);

-- Nothing was written.
\pset format aligned
SELECT key, version FROM t_bad_writes.es_aggregates ORDER BY key;
SELECT key, version FROM t_bad_writes.es_events ORDER BY key, version;

DROP TABLE bad_writes;
SELECT es_drop_store('t_bad_writes');
RESET ROLE;
DROP SCHEMA t_bad_writes;
DROP ROLE regress_es_bad_writes;
