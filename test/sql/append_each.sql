-- es_append_each does independent appends in one call: each on its own merits, refusals as rows.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_each;
CREATE SCHEMA t_append_each AUTHORIZATION regress_es_append_each;
SET ROLE regress_es_append_each;
SELECT es_create_store('t_append_each');
SET eventstore.store = 't_append_each';

SELECT es_append('sensor-1', '[{"type": "Installed"}, {"type": "Read"}]', 0);

CREATE TEMPORARY TABLE result AS
	SELECT * FROM es_append_each('[
		{"key": "sensor-2", "events": [{"type": "Installed"}], "expected_version": 0},
		{"key": "sensor-1", "events": [{"type": "Read"}], "expected_version": 1},
		{"key": "sensor-3", "events": [{"type": "Read"}]},
		{"key": "sensor-1", "events": [{"type": "Read"}, {"type": "Read"}], "expected_version": 2},
		{"key": "sensor-4", "events": [{"type": "Installed"}], "allow_create": true},
		{"key": "sensor-5", "events": [{"type": "Installed"}], "expected_version": 3, "allow_create": true}]');
SELECT entry, key, status, version, last_position - first_position AS span, recorded_at IS NOT NULL AS recorded
FROM result ORDER BY entry;
SELECT r.entry, array_agg(e.version ORDER BY e.version) AS versions,
	   min(e.position) = r.first_position AND max(e.position) = r.last_position AS positions_are_stored,
	   bool_and(e.recorded_at = r.recorded_at) AS recorded_at_is_stored
FROM result AS r JOIN t_append_each.es_events AS e
	ON e.key = r.key AND e.position BETWEEN r.first_position AND r.last_position
GROUP BY r.entry, r.first_position, r.last_position, r.recorded_at ORDER BY r.entry;

-- The same key twice: an entry sees what the ones before it did, and nothing of the refused.
SELECT entry, key, status, version FROM es_append_each('[
	{"key": "sensor-6", "events": [{"type": "Read"}]},
	{"key": "sensor-6", "events": [{"type": "Installed"}], "expected_version": 0},
	{"key": "sensor-6", "events": [{"type": "Installed"}], "expected_version": 0},
	{"key": "sensor-6", "events": [{"type": "Read"}], "expected_version": 1},
	{"key": "sensor-6", "events": [{"type": "Read"}], "expected_version": 1},
	{"key": "sensor-6", "events": [{"type": "Read"}]}]');

-- Request ids are the entries' own: a repeat in the same call, in a later call, and one with other events.
SELECT entry, key, status, version FROM es_append_each('[
	{"key": "sensor-6", "events": [{"type": "Read", "data": 1}], "request_id": "r-1"},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 1}], "request_id": "r-1"},
	{"key": "sensor-2", "events": [{"type": "Read", "data": 1}], "request_id": "r-1", "expected_version": 1},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 2}], "request_id": "r-1"},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 2}], "request_id": "r-2"},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 1}], "request_id": "r-1", "expected_version": 0},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 1}, {"type": "Read", "data": 1}], "request_id": "r-1"}]');
SELECT entry, key, status, version FROM es_append_each('[
	{"key": "sensor-2", "events": [{"type": "Read", "data": 1}], "request_id": "r-1", "expected_version": 1},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 3}], "request_id": "r-3"},
	{"key": "sensor-6", "events": [{"type": "Read", "data": 2}], "request_id": "r-2"}]');

-- Nothing but what was reported as appended is there.
SELECT key, version, type, request_id FROM t_append_each.es_events ORDER BY key, version;
SELECT key, version FROM t_append_each.es_aggregates ORDER BY key;

-- Bad input is an error, and nothing of the call is written.
\set SHOW_CONTEXT never
SELECT * FROM es_append_each('[{"key": "sensor-1", "events": [{"type": "Read"}]}, {"key": "sensor-2", "events": [{"type": 1}]}]');
-- So is a guard: it makes no sense without an append that depends on it.
SELECT * FROM es_append_each('[{"key": "sensor-1", "events": [{"type": "Read"}]}, {"key": "sensor-2", "expected_version": 0}]');
SELECT es_version('sensor-1'), es_version('sensor-2');

-- Hundreds of writes in one call, some of them refused.
SELECT status, count(*), sum(version), min(entry), max(entry)
FROM es_append_each((SELECT jsonb_agg(jsonb_build_object('key', 'meter-' || n % 100, 'events', '[{"type": "Read"}]'::jsonb,
														 'expected_version', n / 150) ORDER BY n)
					 FROM generate_series(0, 499) AS n))
GROUP BY status ORDER BY status;
SELECT sum(a.version) AS versions, (SELECT count(*) FROM t_append_each.es_events WHERE key LIKE 'meter-%') AS events
FROM t_append_each.es_aggregates AS a WHERE key LIKE 'meter-%';

DROP TABLE result;
SELECT es_drop_store('t_append_each');
RESET ROLE;
DROP SCHEMA t_append_each;
DROP ROLE regress_es_append_each;
