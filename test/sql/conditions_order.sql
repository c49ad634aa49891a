-- Entries of one call count as if they came one after the other: what an earlier one appends is in the way of a later one.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_order;
CREATE SCHEMA t_conditions_order AUTHORIZATION regress_es_conditions_order;

-- Status of each entry, and for those whose condition fails: by the event of which entry, or at which position.  Nothing stays.
CREATE FUNCTION pg_temp.outcome(writes jsonb)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	result text;
	detail text;
BEGIN
	SELECT string_agg(status, ', ' ORDER BY entry) INTO result FROM es_append_many(writes);
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN result;
	WHEN SQLSTATE 'VE004' THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN (SELECT string_agg(concat_ws(' ', 'entry', c->>'entry', 'condition', c->>'condition', 'type', c->>'type', coalesce('of entry ' || (c->>'earlier_entry'), 'at ' || (c->>'position'))), ', ' ORDER BY ordinality)
				FROM jsonb_array_elements(detail::jsonb->'conflicts') WITH ORDINALITY AS j (c));
END
$$;

SET ROLE regress_es_conditions_order;
SELECT es_create_store('t_conditions_order');
SET eventstore.store = 't_conditions_order';
SELECT es_append('old-1', '[{"type": "Old", "tags": ["o"]}]', 0);

SELECT n, w.label, pg_temp.outcome(w.writes::jsonb) FROM (VALUES
	(1, 'condition before the event', '[{"conditions": [{"query": [{"tags": ["t"]}]}]}, {"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}]'),
	(2, 'condition beside the event', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(3, 'condition after the event', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(4, 'on a write after the event', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"key": "b-1", "events": [{"type": "B"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(5, 'the third by the second', '[{"key": "a-1", "events": [{"type": "A"}], "expected_version": 0}, {"key": "b-1", "events": [{"type": "B", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(6, 'the second of two events', '[{"key": "a-1", "events": [{"type": "A"}, {"type": "B", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(7, 'the second condition', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["x"]}]}, {"query": [{"tags": ["t"]}]}]}]'),
	(8, 'the second item', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["x"]}, {"tags": ["t"]}]}]}]'),
	(9, 'all of the tags', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t", "u"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["u", "t"]}]}]}]'),
	(10, 'not all of the tags', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t", "u"]}]}]}]'),
	(11, 'the tags on two events', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}, {"type": "A", "tags": ["u"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t", "u"]}]}]}]'),
	(12, 'the type', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"], "types": ["B", "A"]}]}]}]'),
	(13, 'another type', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"], "types": ["B", "a"]}]}]}]'),
	(14, 'the category', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"], "categories": ["a"]}]}]}]'),
	(15, 'another category', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"], "categories": ["a-1", "A"]}]}]}]'),
	(16, 'a stored event counts before', '[{"key": "a-1", "events": [{"type": "A", "tags": ["o"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["o"]}]}]}]'),
	(17, 'two entries in the way: the first', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"key": "b-1", "events": [{"type": "B", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(18, 'whatever the position', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]'),
	(19, 'the same condition on both', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}, {"key": "b-1", "events": [{"type": "B", "tags": ["t"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]'),
	(20, 'a tag twice', '[{"key": "a-1", "events": [{"type": "A", "tags": ["t", "t"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}]}]}]'),
	(21, 'no tags', '[{"key": "a-1", "events": [{"type": "A"}, {"type": "A", "tags": []}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["t"]}]}]}]')
) AS w (n, label, writes) ORDER BY n;

-- The same calls one by one agree with the one call, but for rollbacks.
SELECT entry, status FROM es_append_each('[
	{"key": "a-1", "events": [{"type": "A", "tags": ["e"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["e"]}]}]},
	{"key": "a-2", "events": [{"type": "A", "tags": ["e"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["e"], "categories": ["b"]}]}]},
	{"key": "b-3", "events": [{"type": "B", "tags": ["e"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["e"], "categories": ["b"]}]}]},
	{"key": "b-4", "events": [{"type": "B", "tags": ["e"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["e"], "categories": ["b"]}]}]}]');
SELECT status FROM es_try_append_many('[{"key": "c-1", "events": [{"type": "A", "tags": ["f"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["f"]}]}]}]');
SELECT status FROM es_try_append_many('[{"key": "c-2", "events": [{"type": "A", "tags": ["f"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["f"], "categories": ["d"]}]}]}]');
SELECT status FROM es_try_append_many('[{"key": "d-3", "events": [{"type": "B", "tags": ["f"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["f"], "categories": ["d"]}]}]}]');
SELECT status FROM es_try_append_many('[{"key": "d-4", "events": [{"type": "B", "tags": ["f"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["f"], "categories": ["d"]}]}]}]');

SELECT es_drop_store('t_conditions_order');
RESET ROLE;
DROP SCHEMA t_conditions_order;
DROP ROLE regress_es_conditions_order;
