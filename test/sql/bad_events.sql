-- Malformed events are refused: the error names the event and the field, and nothing is written.
SET client_min_messages = warning;
CREATE ROLE regress_es_bad_events;
CREATE SCHEMA t_bad_events AUTHORIZATION regress_es_bad_events;

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

SET ROLE regress_es_bad_events;
SELECT es_create_store('t_bad_events');
SET eventstore.store = 't_bad_events';

CREATE TEMPORARY TABLE bad_events (n serial, label text, events jsonb);
INSERT INTO bad_events (label, events) VALUES
	('events: an object', '{"type": "T"}'),
	('events: a string', '"T"'),
	('events: a number', '1'),
	('events: a boolean', 'true'),
	('events: JSON null', 'null'),
	('events: an empty array', '[]'),
	('event: an array', '[["T"]]'),
	('event: a string', '["T"]'),
	('event: a number', '[1]'),
	('event: null', '[null]'),
	('event: the second is null', '[{"type": "T"}, null]'),
	('event: an empty object', '[{}]'),
	('type: missing', '[{"data": 1}]'),
	('type: missing in the third', '[{"type": "T"}, {"type": "T"}, {"data": 1}]'),
	('type: null', '[{"type": null}]'),
	('type: empty', '[{"type": ""}]'),
	('type: a number', '[{"type": 1}]'),
	('type: a boolean', '[{"type": true}]'),
	('type: an object', '[{"type": {}}]'),
	('type: an array', '[{"type": ["T"]}]'),
	('metadata: null', '[{"type": "T", "metadata": null}]'),
	('metadata: an array', '[{"type": "T", "metadata": []}]'),
	('metadata: a string', '[{"type": "T", "metadata": "{}"}]'),
	('metadata: a number', '[{"type": "T", "metadata": 1}]'),
	('metadata: a boolean', '[{"type": "T", "metadata": false}]'),
	('id: null', '[{"type": "T", "id": null}]'),
	('id: empty', '[{"type": "T", "id": ""}]'),
	('id: no uuid', '[{"type": "T", "id": "order-1"}]'),
	('id: one digit too many', '[{"type": "T", "id": "00000000-0000-0000-0000-0000000000011"}]'),
	('id: one digit too few', '[{"type": "T", "id": "00000000-0000-0000-0000-00000000001"}]'),
	('id: a number', '[{"type": "T", "id": 1}]'),
	('id: an object', '[{"type": "T", "id": {}}]'),
	('tags: null', '[{"type": "T", "tags": null}]'),
	('tags: a string', '[{"type": "T", "tags": "t"}]'),
	('tags: an object', '[{"type": "T", "tags": {"t": 1}}]'),
	('tags: a number in them', '[{"type": "T", "tags": ["t", 1]}]'),
	('tags: null in them', '[{"type": "T", "tags": [null]}]'),
	('tags: an array in them', '[{"type": "T", "tags": [["t"]]}]'),
	('tags: an object in them', '[{"type": "T", "tags": [{"t": 1}]}]'),
	('tags: an empty one', '[{"type": "T", "tags": ["t", ""]}]'),
	('field: mistyped', '[{"type": "T"}, {"type": "T", "dat": {"total": 10}}]'),
	('field: in other case', '[{"type": "T", "Data": 1}]'),
	('field: one of the stored columns', '[{"type": "T", "version": 1}]'),
	('field: one of the writes', '[{"type": "T", "key": "bad-1"}]'),
	('field: empty name', '[{"type": "T", "": 1}]'),
	('field: with quotes and a newline', '[{"type": "T", "a\"b\nc": 1}]'),
	('two faults: the first event counts', '[{"type": "T", "tags": 1}, {"type": ""}]'),
	('a fault behind good ones', '[{"type": "T"}, {"type": "T"}, {"type": "T"}, {"type": "T", "id": "x"}]');
INSERT INTO bad_events (label, events) VALUES
	('type: 513 bytes', jsonb_build_array(jsonb_build_object('type', repeat('t', 513)))),
	('tags: one of 513 bytes', jsonb_build_array(jsonb_build_object('type', 'T', 'tags', jsonb_build_array('t', repeat('g', 513)))));

-- In es_append, and in the writes of the other forms, where the entry is named too.
\pset format unaligned
SELECT label, pg_temp.refusal(format('SELECT es_append(%L, %L, 0)', 'bad-1', events)) AS refusal
FROM bad_events ORDER BY n;
SELECT label, pg_temp.refusal(format('SELECT * FROM es_append_many(%L)', jsonb_build_array(
			'{"key": "good-1", "events": [{"type": "T"}], "expected_version": 0}'::jsonb,
			jsonb_build_object('key', 'bad-1', 'events', events, 'expected_version', 0)))) AS refusal
FROM bad_events ORDER BY n;

-- All forms refuse in the same words; a refusal of this kind is never a row.
\pset format aligned
SELECT form, count(*), count(*) FILTER (WHERE pg_temp.refusal(format(command, events)) =
		pg_temp.refusal(format(CASE WHEN command LIKE '%jsonb_build_array%'
			THEN 'SELECT * FROM es_append_many(jsonb_build_array(jsonb_build_object(''key'', ''bad-1'', ''events'', %L::jsonb)))'
			ELSE 'SELECT es_append(''bad-1'', %L)' END, events))) AS same
FROM bad_events,
	 (VALUES ('es_try_append', 'SELECT es_try_append(''bad-1'', %L, 0)'),
			 ('es_try_append_many', 'SELECT es_try_append_many(jsonb_build_array(jsonb_build_object(''key'', ''bad-1'', ''events'', %L::jsonb)))'),
			 ('es_append_each', 'SELECT es_append_each(jsonb_build_array(jsonb_build_object(''key'', ''bad-1'', ''events'', %L::jsonb)))')
	 ) AS forms (form, command)
GROUP BY form ORDER BY form;

-- Text that is no JSON, or that PostgreSQL's jsonb cannot hold, does not get as far as that.
\set VERBOSITY sqlstate
SELECT es_append('bad-1', '[{"type": "T"', 0);
SELECT es_append('bad-1', '', 0);
SELECT es_append('bad-1', '[{"type": "T", "data": "\u0000"}]', 0);
\set VERBOSITY default

-- The same field twice is for jsonb to decide: the last one wins.
SELECT es_append('good-1', '[{"type": "", "data": 1, "type": "T", "data": 2}]', 0);
SELECT type, data FROM es_read('good-1');

-- Nothing else was written.
SELECT key, version FROM t_bad_events.es_aggregates ORDER BY key;
SELECT key, version FROM t_bad_events.es_events ORDER BY key, version;
SELECT count(*) FROM t_bad_events.es_tags;

DROP TABLE bad_events;
SELECT es_drop_store('t_bad_events');
RESET ROLE;
DROP SCHEMA t_bad_events;
DROP ROLE regress_es_bad_events;
