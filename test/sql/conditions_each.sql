-- Conditions of es_append_each: each entry on its own, in the order given.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_each;
CREATE SCHEMA t_conditions_each AUTHORIZATION regress_es_conditions_each;
SET ROLE regress_es_conditions_each;
SELECT es_create_store('t_conditions_each');
SET eventstore.store = 't_conditions_each';

SELECT es_append('seat-0', '[{"type": "Opened", "tags": ["show:1"]}]', 0);

-- One entry fails, the others do not mind; all columns.
SELECT entry, key, status, version, first_position, last_position, recorded_at IS NOT NULL AS recorded FROM es_append_each('[
	{"key": "seat-1", "events": [{"type": "Taken", "tags": ["seat:1"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["seat:1"]}]}]},
	{"key": "seat-2", "events": [{"type": "Taken", "tags": ["seat:2"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["show:1"]}]}]},
	{"key": "seat-3", "events": [{"type": "Taken", "tags": ["seat:3"]}, {"type": "Paid"}], "allow_create": true, "conditions": [{"query": [{"tags": ["show:1"]}], "after": 1}]},
	{"key": "seat-4", "events": [{"type": "Taken"}], "conditions": [{"query": [{"tags": ["show:1"]}]}]},
	{"key": "seat-0", "events": [{"type": "Taken"}], "expected_version": 7, "conditions": [{"query": [{"tags": ["show:1"]}]}]},
	{"key": "seat-0", "events": [{"type": "Closed", "tags": ["show:1"]}], "expected_version": 1, "conditions": [{"query": [{"tags": ["show:1"], "types": ["Closed"]}]}]}]');

-- An event of an accepted entry is in the way of a later one, that of a refused entry is not.
SELECT entry, key, status, version FROM es_append_each('[
	{"key": "seat-5", "events": [{"type": "Taken", "tags": ["seat:5"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["seat:5"]}]}]},
	{"key": "seat-5", "events": [{"type": "Taken", "tags": ["seat:5"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["seat:5"]}]}]},
	{"key": "seat-6", "events": [{"type": "Taken", "tags": ["seat:6"]}], "expected_version": 1},
	{"key": "seat-6", "events": [{"type": "Taken", "tags": ["seat:6"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["seat:6"]}]}]},
	{"key": "seat-7", "events": [{"type": "Taken", "tags": ["seat:7"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["show:1"]}], "after": 1}]},
	{"key": "seat-7", "events": [{"type": "Taken", "tags": ["seat:7"]}], "expected_version": 0, "conditions": [{"query": [{"tags": ["seat:7"]}]}]}]');

-- A hundred seats for sixty-four, by one call: the sixty-four are sold once each.
SELECT status, count(*) FROM es_append_each((
	SELECT jsonb_agg(jsonb_build_object('key', 'sale-' || n, 'events', jsonb_build_array(jsonb_build_object('type', 'Sold', 'tags', ARRAY['place:' || n % 64])), 'expected_version', 0,
										'conditions', jsonb_build_array(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', ARRAY['place:' || n % 64]))))) ORDER BY n)
	FROM generate_series(1, 100) AS n)) GROUP BY status ORDER BY status;
SELECT count(*), count(DISTINCT tag) FROM t_conditions_each.es_tags WHERE tag LIKE 'place:%';

SELECT key, version, type FROM t_conditions_each.es_events WHERE key LIKE 'seat-%' ORDER BY position;
SELECT finding FROM es_check_store('t_conditions_each');
SELECT es_drop_store('t_conditions_each');
RESET ROLE;
DROP SCHEMA t_conditions_each;
DROP ROLE regress_es_conditions_each;
