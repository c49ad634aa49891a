-- Malformed conditions are refused: the error names the entry, the condition, the item and the field.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_bad_input;
CREATE SCHEMA t_conditions_bad_input AUTHORIZATION regress_es_conditions_bad_input;

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

SET ROLE regress_es_conditions_bad_input;
SELECT es_create_store('t_conditions_bad_input');
SET eventstore.store = 't_conditions_bad_input';
SELECT es_append('k-1', '[{"type": "T", "tags": ["t"]}]', 0);

CREATE TEMPORARY TABLE bad_conditions (n serial, label text, conditions jsonb);
INSERT INTO bad_conditions (label, conditions) VALUES
	('conditions: null', 'null'),
	('conditions: an object', '{"query": [{"tags": ["t"]}]}'),
	('conditions: a string', '"t"'),
	('conditions: a number', '1'),
	('conditions: empty', '[]'),
	('condition: null', '[null]'),
	('condition: an array', '[[{"tags": ["t"]}]]'),
	('condition: a string', '["t"]'),
	('condition: the second is a number', '[{"query": [{"tags": ["t"]}], "after": 1}, 2]'),
	('condition: empty', '[{}]'),
	('query: missing', '[{"after": 1}]'),
	('query: missing in the second', '[{"query": [{"tags": ["t"]}], "after": 1}, {"after": 1}]'),
	('query: null', '[{"query": null}]'),
	('query: an object', '[{"query": {"tags": ["t"]}}]'),
	('query: a string', '[{"query": "t"}]'),
	('query: empty', '[{"query": []}]'),
	('item: null', '[{"query": [null]}]'),
	('item: an array', '[{"query": [["t"]]}]'),
	('item: empty', '[{"query": [{}]}]'),
	('item: without tags', '[{"query": [{"types": ["T"]}]}]'),
	('item: without tags, categories', '[{"query": [{"types": ["T"], "categories": ["k"]}]}]'),
	('item: the second without tags', '[{"query": [{"tags": ["t"]}, {"types": ["T"]}]}]'),
	('item: mistyped field', '[{"query": [{"tag": ["t"]}]}]'),
	('item: mistyped field beside tags', '[{"query": [{"tags": ["t"], "type": ["T"]}]}]'),
	('tags: null', '[{"query": [{"tags": null}]}]'),
	('tags: empty', '[{"query": [{"tags": []}]}]'),
	('tags: a string', '[{"query": [{"tags": "t"}]}]'),
	('tags: an empty string', '[{"query": [{"tags": ["t", ""]}]}]'),
	('tags: a number', '[{"query": [{"tags": [1]}]}]'),
	('tags: nested', '[{"query": [{"tags": [["t"]]}]}]'),
	('types: empty', '[{"query": [{"tags": ["t"], "types": []}]}]'),
	('categories: null', '[{"query": [{"tags": ["t"], "categories": null}]}]'),
	('after: null', '[{"query": [{"tags": ["t"]}], "after": null}]'),
	('after: a string', '[{"query": [{"tags": ["t"]}], "after": "1"}]'),
	('after: a boolean', '[{"query": [{"tags": ["t"]}], "after": true}]'),
	('after: an array', '[{"query": [{"tags": ["t"]}], "after": [1]}]'),
	('after: negative', '[{"query": [{"tags": ["t"]}], "after": -1}]'),
	('after: a fraction', '[{"query": [{"tags": ["t"]}], "after": 0.5}]'),
	('after: above bigint', '[{"query": [{"tags": ["t"]}], "after": 9223372036854775808}]'),
	('after: far above bigint', '[{"query": [{"tags": ["t"]}], "after": 1e400}]'),
	('field: mistyped', '[{"query": [{"tags": ["t"]}], "afters": 1}]'),
	('field: in other case', '[{"Query": [{"tags": ["t"]}], "after": 1}]'),
	('field: empty name', '[{"query": [{"tags": ["t"]}], "": 1}]');

\pset format unaligned
SELECT label, pg_temp.refusal(format('SELECT * FROM es_append_many(%L)',
									 jsonb_build_array(jsonb_build_object('key', 'k-1'), jsonb_build_object('conditions', conditions)))) AS refusal
FROM bad_conditions ORDER BY n;

-- On an entry with events, and in the other functions, they are refused in the same words, and never with a row.
SELECT label
FROM bad_conditions,
	 LATERAL (SELECT jsonb_build_array('{"key": "k-1", "events": [{"type": "T"}]}'::jsonb, jsonb_build_object('key', 'k-1', 'events', '[{"type": "T"}]'::jsonb, 'conditions', conditions))) AS w (writes),
	 LATERAL (SELECT pg_temp.refusal(format('SELECT * FROM es_append_many(%L)', jsonb_build_array('{"key": "k-1"}'::jsonb, jsonb_build_object('conditions', conditions))))) AS r (refusal)
WHERE pg_temp.refusal(format('SELECT * FROM es_append_many(%L)', writes)) <> refusal
   OR pg_temp.refusal(format('SELECT * FROM es_try_append_many(%L)', writes)) <> refusal
   OR pg_temp.refusal(format('SELECT * FROM es_append_each(%L)', writes)) <> refusal
ORDER BY n;

-- A guard without a key is for conditions alone, and es_append_each has no guards.
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"expected_version": 1, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"allow_create": true, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"events": [{"type": "T"}], "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_each('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_each('[{"key": "k-1", "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]') $$);
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1, "request_id": "r"}]}]') $$);

-- Bad input comes before a refusal, and before the isolation level.
SELECT pg_temp.refusal($$ SELECT * FROM es_try_append_many('[{"key": "k-1", "events": [{"type": "T"}], "expected_version": 7}, {"conditions": [{"query": []}]}]') $$);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.refusal($$ SELECT * FROM es_append_many('[{"conditions": [{"query": []}]}]') $$);
COMMIT;

-- Nothing was written.
\pset format aligned
SELECT key, version FROM t_conditions_bad_input.es_aggregates ORDER BY key;

DROP TABLE bad_conditions;
SELECT es_drop_store('t_conditions_bad_input');
RESET ROLE;
DROP SCHEMA t_conditions_bad_input;
DROP ROLE regress_es_conditions_bad_input;
