-- The tags of an event are stored as given, and indexed once each in es_tags.
SET client_min_messages = warning;
CREATE ROLE regress_es_tags;
CREATE SCHEMA t_tags AUTHORIZATION regress_es_tags;
SET ROLE regress_es_tags;
SELECT es_create_store('t_tags');
SET eventstore.store = 't_tags';

SELECT es_append('course-1', '[
	{"type": "CourseDefined", "tags": ["course:1"]},
	{"type": "StudentEnrolled", "tags": ["student:2", "course:1"]},
	{"type": "CourseRenamed"},
	{"type": "NoteTaken", "tags": []},
	{"type": "StudentEnrolled", "tags": ["student:3", "course:1", "student:3"]}]', 0);
SELECT * FROM es_append_many('[
	{"key": "student-4", "events": [{"type": "StudentRegistered", "tags": ["student:4"]}], "expected_version": 0},
	{"key": "course-1", "events": [{"type": "StudentEnrolled", "tags": ["student:4", "course:1"]}], "expected_version": 5}]') \g /dev/null
SELECT key, status, version FROM es_append_each('[
	{"key": "student-5", "events": [{"type": "StudentRegistered", "tags": ["student:5"]}]},
	{"key": "student-6", "events": [{"type": "StudentRegistered", "tags": ["student:6"]}], "expected_version": 0}]');

SELECT version, type, tags FROM es_read('course-1') ORDER BY version;

-- Every tag leads to its events; there is nothing for events without tags, or that were refused.
SELECT tag, key, version FROM t_tags.es_tags ORDER BY tag, key, version;
SELECT count(*) AS tags, count(*) FILTER (WHERE e.position = t.position AND t.tag = ANY (e.tags)) AS matching
FROM t_tags.es_tags AS t LEFT JOIN t_tags.es_events AS e USING (key, version);

-- A repeat with other tags adds none.
SELECT es_append('student-6', '[{"type": "StudentLeft", "tags": ["student:6"]}]', 1, request_id => 'r-1');
SELECT es_append('student-6', '[{"type": "StudentLeft", "tags": ["other"]}]', 1, request_id => 'r-1');
SELECT tag, key, version FROM t_tags.es_tags WHERE key = 'student-6' ORDER BY tag, key, version;

SELECT es_drop_store('t_tags');
RESET ROLE;
DROP SCHEMA t_tags;
DROP ROLE regress_es_tags;
