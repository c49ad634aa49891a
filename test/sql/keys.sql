-- A key is any text of 1 to 512 bytes, compared byte by byte.
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE ROLE regress_es_keys;
CREATE SCHEMA t_keys AUTHORIZATION regress_es_keys;
SET ROLE regress_es_keys;
SELECT es_create_store('t_keys');
SET eventstore.store = 't_keys';

-- Every key makes the whole way: created, read, appended to, locked, in writes, in a conflict.
CREATE TEMPORARY TABLE keys (n serial, label text, k text);
INSERT INTO keys (label, k) VALUES
	('one byte', 'a'), ('other case', 'A'), ('a space', ' '), ('trailing space', 'a '), ('only a dash', '-'),
	('single quote', 'it''s-1'), ('double quotes', '"quoted"-1'), ('backslash', E'back\\slash-1'), ('newline', E'new\nline-1'),
	('carriage return and tab', E'\r\t-1'), ('control characters', E'\x01\x7f-1'), ('percent signs', '%s %n %1$s-1'), ('dollars', '$1 $$-1'),
	('semicolon and comment', 'x''; DROP TABLE es_events; --'), ('braces', '{"key": 1}'), ('a number', '0042'), ('a null by name', 'null'),
	('accents', U&'Zo\00EB-1'), ('the same, decomposed', U&'Zoe\0308-1'), ('Greek', U&'\03C0\03B1\03C1\03B1\03B3\03B3\03B5\03BB\03AF\03B1-1'),
	('Hebrew, right to left', U&'\05D4\05D6\05DE\05E0\05D4-1'), ('Chinese', U&'\8BA2\5355-1'), ('emoji beyond the BMP', U&'\+01F4E6-1'),
	('zero width space', U&'\200B'), ('non-character', U&'\FFFF-1'),
	('512 bytes', repeat('k', 512)), ('512 bytes in 256 characters', repeat(U&'\00E9', 256)), ('512 bytes in 128 characters', repeat(U&'\+01F4E6', 128));

SELECT label, octet_length(k) AS bytes, es_append(k, '[{"type": "T"}]', 0) AS created,
	   es_append(k, '[{"type": "T"}]', 1) AS appended
FROM keys ORDER BY n;
SELECT count(*) FROM keys, LATERAL (SELECT count(*) AS events, bool_and(key = k) AS same FROM es_read(k)) AS e WHERE events = 2 AND same;
SELECT count(*) FROM keys, LATERAL es_lock(ARRAY[k]) AS l WHERE l.key = k AND l.version = 2;
SELECT count(*) FROM keys, LATERAL es_append_many(jsonb_build_array(jsonb_build_object('key', k, 'events', '[{"type": "T"}]'::jsonb, 'expected_version', 2))) AS r
	WHERE r.key = k AND r.version = 3;
SELECT count(*) FROM keys, LATERAL es_append_each(jsonb_build_array(jsonb_build_object('key', k, 'events', '[{"type": "T"}]'::jsonb, 'expected_version', 2))) AS r
	WHERE r.key = k AND r.version = 3 AND r.status = 'version_conflict';
SELECT count(*) FROM keys WHERE es_version(k) = 3;
SELECT count(*), sum(version) FROM t_keys.es_aggregates;
SELECT count(*) FROM t_keys.es_aggregates AS a JOIN keys ON a.key = k COLLATE "C";

-- The message of a conflict shows the key as it is.
\set VERBOSITY terse
SELECT es_append('it''s-1', '[{"type": "T"}]', 1);
SELECT es_append('"quoted"-1', '[{"type": "T"}]', 1);
SELECT es_append(E'back\\slash-1', '[{"type": "T"}]', 1);
SELECT es_append(E'new\nline-1', '[{"type": "T"}]', 1);
SELECT es_append('%s %n %1$s-1', '[{"type": "T"}]', 1);
SELECT es_append(U&'\8BA2\5355-1', '[{"type": "T"}]', 1);

-- One byte too many.
SELECT es_append(repeat(U&'\00E9', 256) || '1', '[{"type": "T"}]', 0);
SELECT es_append(repeat(U&'\+01F4E6', 128) || '1', '[{"type": "T"}]', 0);
\set VERBOSITY default

-- Keys come in the order of their bytes, whatever the locale.
SELECT es_append(k, '[{"type": "T"}]', 0) FROM unnest(ARRAY['b', 'B', 'Z', '_', '1', '10', '2', 'a-']) WITH ORDINALITY AS u (k, n) ORDER BY n;
SELECT key, version FROM es_lock(ARRAY['b', 'B', 'Z', '_', '1', '10', '2', 'a-', 'a', 'A']);

-- Unicode in types, tags, data and metadata comes back as it went in.
SELECT es_append('unicode-1', jsonb_build_array(jsonb_build_object('type', U&'\8BA2\5355\5DF2\4E0B', 'tags', jsonb_build_array(U&'\+01F4E6', U&'Zo\00EB'),
	'data', jsonb_build_object(U&'na\00EFve', U&'\03C0 \+01F4E6 \200B'), 'metadata', jsonb_build_object(U&'\5355', U&'\05D4'))), 0);
SELECT type = U&'\8BA2\5355\5DF2\4E0B' AS type, tags = ARRAY[U&'\+01F4E6', U&'Zo\00EB'] AS tags,
	   data ->> U&'na\00EFve' = U&'\03C0 \+01F4E6 \200B' AS data, metadata ->> U&'\5355' = U&'\05D4' AS metadata
FROM es_read('unicode-1');
SELECT es_append('unicode-2', '[{"type": "\u8ba2\u5355", "data": "\ud83d\udce6", "tags": ["\u00e9"]}]', 0);
SELECT type, data, tags FROM es_read('unicode-2');

DROP TABLE keys;
SELECT es_drop_store('t_keys');
RESET ROLE;
DROP SCHEMA t_keys;
DROP ROLE regress_es_keys;
