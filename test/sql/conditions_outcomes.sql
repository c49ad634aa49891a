-- A condition refuses a write if an event after its position matches one of its items: types, categories and all of the tags.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_outcomes;
CREATE SCHEMA t_conditions_outcomes AUTHORIZATION regress_es_conditions_outcomes;
-- What stands in the way, by the detail of the error.
CREATE FUNCTION pg_temp.obstacle(conditions jsonb, OUT outcome text, OUT condition integer, OUT after bigint, OUT "position" bigint, OUT type text)
LANGUAGE plpgsql
AS $$
DECLARE
	detail text;
BEGIN
	SELECT status INTO STRICT outcome FROM es_append_many(jsonb_build_array(jsonb_build_object('conditions', conditions)));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	SELECT SQLSTATE, c.condition, c.after, c.position, c.type INTO outcome, condition, after, "position", type
	FROM jsonb_to_recordset(detail::jsonb->'conflicts') AS c (condition integer, after bigint, position bigint, type text);
END
$$;

SET ROLE regress_es_conditions_outcomes;
SELECT es_create_store('t_conditions_outcomes');
SET eventstore.store = 't_conditions_outcomes';

SELECT es_append('course-1', '[{"type": "Defined", "tags": ["course:1"]}]', 0);
SELECT es_append('enrolment-1', '[{"type": "Subscribed", "tags": ["student:1", "course:1"]}]', 0);
SELECT es_append('enrolment-2', '[{"type": "Subscribed", "tags": ["course:1", "student:2", "course:1"]}]', 0);
SELECT es_append('note-1', '[{"type": "Noted"}, {"type": "Noted", "tags": []}, {"type": "Noted", "tags": ["student:1"]}]', 0);
SELECT es_append('enrolment-3', '[{"type": "Left", "tags": ["student:1", "course:1"]}]', 0);
SELECT position, key, type, tags FROM t_conditions_outcomes.es_events ORDER BY position;

SELECT conditions, o.* FROM (VALUES
	-- Events after the position count, the one at the position does not; without a position all count.
	(1, '[{"query": [{"tags": ["course:1"]}]}]'),
	(2, '[{"query": [{"tags": ["course:1"]}], "after": 0}]'),
	(3, '[{"query": [{"tags": ["course:1"]}], "after": 1}]'),
	(4, '[{"query": [{"tags": ["course:1"]}], "after": 2}]'),
	(5, '[{"query": [{"tags": ["course:1"]}], "after": 3}]'),
	(6, '[{"query": [{"tags": ["course:1"]}], "after": 6}]'),
	(7, '[{"query": [{"tags": ["course:1"]}], "after": 7}]'),
	(8, '[{"after": 6.0, "query": [{"tags": ["course:1"]}]}]'),
	-- All of an item's tags, in any order, and each at least once.
	(10, '[{"query": [{"tags": ["student:1"]}], "after": 2}]'),
	(11, '[{"query": [{"tags": ["student:1", "course:1"]}], "after": 2}]'),
	(12, '[{"query": [{"tags": ["course:1", "student:1"]}], "after": 2}]'),
	(13, '[{"query": [{"tags": ["course:1", "course:1", "student:2"]}]}]'),
	(14, '[{"query": [{"tags": ["student:1", "student:2"]}]}]'),
	(15, '[{"query": [{"tags": ["course:1", "nobody"]}]}]'),
	(16, '[{"query": [{"tags": ["nobody", "course:1"]}]}]'),
	(17, '[{"query": [{"tags": ["nobody"]}]}]'),
	(18, '[{"query": [{"tags": ["Course:1"]}]}]'),
	(19, '[{"query": [{"tags": ["course"]}]}]'),
	-- One of the types, one of the categories.
	(20, '[{"query": [{"tags": ["course:1"], "types": ["Subscribed"]}]}]'),
	(21, '[{"query": [{"tags": ["course:1"], "types": ["Subscribed"]}], "after": 3}]'),
	(22, '[{"query": [{"tags": ["course:1"], "types": ["Left", "Subscribed"]}], "after": 3}]'),
	(23, '[{"query": [{"tags": ["course:1"], "types": ["Moved", "left"]}]}]'),
	(24, '[{"query": [{"tags": ["student:1"], "categories": ["note"]}]}]'),
	(25, '[{"query": [{"tags": ["student:1"], "categories": ["course", "note"]}]}]'),
	(26, '[{"query": [{"tags": ["student:1"], "categories": ["course"]}]}]'),
	(27, '[{"query": [{"tags": ["student:1"], "categories": ["note-1"]}]}]'),
	(28, '[{"query": [{"tags": ["student:1"], "types": ["Noted"], "categories": ["enrolment"]}]}]'),
	(29, '[{"query": [{"tags": ["student:1"], "types": ["Noted", "Left"], "categories": ["enrolment"]}]}]'),
	-- Several items: any of them, and the first event that matches any is named.
	(30, '[{"query": [{"tags": ["nobody"]}, {"tags": ["student:2"]}]}]'),
	(31, '[{"query": [{"tags": ["student:1"], "types": ["Left"]}, {"tags": ["student:2"]}, {"tags": ["student:1"], "types": ["Noted"]}]}]'),
	(32, '[{"query": [{"tags": ["student:1"], "types": ["Left"]}, {"tags": ["student:1"], "types": ["Noted"]}], "after": 6}]'),
	(33, '[{"query": [{"tags": ["nobody"]}, {"tags": ["student:2", "student:1"]}]}]'),
	-- Several conditions: all of them, and the first that fails is named, though another event came before.
	(40, '[{"query": [{"tags": ["student:2"]}], "after": 3}, {"query": [{"tags": ["student:1"]}], "after": 7}]'),
	(41, '[{"query": [{"tags": ["student:2"]}], "after": 3}, {"query": [{"tags": ["student:1"]}], "after": 2}]'),
	(42, '[{"query": [{"tags": ["student:1"]}], "after": 6}, {"query": [{"tags": ["student:2"]}]}]')
) AS c (n, c), LATERAL (SELECT c::jsonb) AS j (conditions), LATERAL pg_temp.obstacle(conditions) AS o
ORDER BY n;

-- A write with conditions, to a new and to an existing aggregate; unconditional, and with an expected version.
SELECT entry, key, status, version, first_position FROM es_append_many('[{"key": "enrolment-4", "events": [{"type": "Subscribed", "tags": ["student:4", "course:1"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["course:1"]}], "after": 7}, {"query": [{"tags": ["student:4"]}]}]}]');
SELECT entry, key, status, version, first_position FROM es_append_many('[{"key": "enrolment-4", "events": [{"type": "Left"}], "conditions": [{"query": [{"tags": ["student:4"]}], "after": 8}]}]');
SELECT entry, key, status, version, first_position FROM es_append_many('[{"key": "enrolment-4", "events": [{"type": "Left"}], "expected_version": 2, "conditions": [{"query": [{"tags": ["student:4"]}], "after": 8}]}]');
SELECT entry, key, status, version, first_position FROM es_try_append_many('[{"key": "enrolment-4", "events": [{"type": "Back"}], "conditions": [{"query": [{"tags": ["student:4"]}], "after": 7}]}]');
SELECT entry, key, status, version, first_position FROM es_try_append_many('[{"key": "enrolment-5", "events": [{"type": "Subscribed", "tags": ["student:5"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["course:1"]}], "after": 7}]}]');

-- The state of the aggregate comes before its conditions.
SELECT entry, key, status, version FROM es_try_append_many('[{"key": "enrolment-4", "events": [{"type": "Back"}], "expected_version": 1, "conditions": [{"query": [{"tags": ["student:4"]}]}]}]');
SELECT entry, key, status, version FROM es_try_append_many('[{"key": "enrolment-6", "events": [{"type": "Back"}], "conditions": [{"query": [{"tags": ["student:4"]}]}]}]');

-- The own events of an open transaction count as any others.
BEGIN;
SELECT es_append('enrolment-7', '[{"type": "Subscribed", "tags": ["student:7", "course:1"]}]', 0);
SELECT o.outcome, o.position > 8 AS own FROM pg_temp.obstacle('[{"query": [{"tags": ["student:7"]}]}]') AS o;
SELECT status FROM es_try_append_many(jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object(
	'query', '[{"tags": ["student:7"]}]'::jsonb, 'after', (SELECT max(position) FROM es_query('[{"tags": ["student:7"]}]')))))));
SAVEPOINT s;
SELECT es_append('enrolment-7', '[{"type": "Left", "tags": ["student:8"]}]', 1);
ROLLBACK TO s;
SELECT o.outcome FROM pg_temp.obstacle('[{"query": [{"tags": ["student:8"]}]}]') AS o;
ROLLBACK;
SELECT o.outcome FROM pg_temp.obstacle('[{"query": [{"tags": ["student:7"]}]}]') AS o;

-- Nothing was written but what was reported.
SELECT key, version, type FROM t_conditions_outcomes.es_events WHERE position > 7 ORDER BY position;
SELECT finding FROM es_check_store('t_conditions_outcomes');

SELECT es_drop_store('t_conditions_outcomes');
RESET ROLE;
DROP SCHEMA t_conditions_outcomes;
DROP ROLE regress_es_conditions_outcomes;
