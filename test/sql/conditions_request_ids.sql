-- A repeat comes before the conditions: what landed is not judged again.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_request_ids;
CREATE SCHEMA t_conditions_request_ids AUTHORIZATION regress_es_conditions_request_ids;
SET ROLE regress_es_conditions_request_ids;
SELECT es_create_store('t_conditions_request_ids');
SET eventstore.store = 't_conditions_request_ids';

-- The conditions held when it landed, and its own event fails them ever since.
SELECT entry, key, status, version, first_position FROM es_append_many('[{"key": "order-1", "events": [{"type": "Placed", "tags": ["t"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["t"]}]}]}]', 'r-1');
SELECT entry, key, status, version, first_position FROM es_append_many('[{"key": "order-1", "events": [{"type": "Placed", "tags": ["t"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["t"]}]}]}]', 'r-1');
SELECT entry, key, status, version, first_position FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Placed", "tags": ["t"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["t"]}]}]}]', 'r-1');
SELECT entry, key, status, version, first_position FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Placed", "tags": ["t"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["t"]}]}]}]', 'r-2');

-- With guards, with a key and without, that hold no more.
SELECT entry, key, status, version FROM es_append_many('[
	{"conditions": [{"query": [{"tags": ["u"]}]}]},
	{"key": "order-1", "conditions": [{"query": [{"tags": ["u"]}]}]},
	{"key": "order-2", "events": [{"type": "Placed", "tags": ["u"]}], "expected_version": 0}]', 'r-3');
SELECT entry, key, status, version FROM es_append_many('[
	{"conditions": [{"query": [{"tags": ["u"]}]}]},
	{"key": "order-1", "conditions": [{"query": [{"tags": ["u"]}]}]},
	{"key": "order-2", "events": [{"type": "Placed", "tags": ["u"]}], "expected_version": 0}]', 'r-3');

-- Other conditions are the same request; other events are not.
SELECT entry, key, status, version FROM es_append_many('[
	{"conditions": [{"query": [{"tags": ["t"]}]}]},
	{"key": "order-2", "events": [{"type": "Placed", "tags": ["u"]}], "expected_version": 0}]', 'r-3');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"conditions": [{"query": [{"tags": ["t"]}]}]},
	{"key": "order-2", "events": [{"type": "Paid", "tags": ["u"]}], "expected_version": 0}]', 'r-3');

-- A request id does not help a call that never landed.
SELECT entry, key, status, version FROM es_try_append_many('[{"key": "order-3", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}]}]}]', 'r-4');
SELECT entry, key, status, version FROM es_try_append_many('[{"key": "order-3", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]', 'r-4');

-- es_append_each: by entry, and twice in one call.
SELECT entry, key, status, version, first_position FROM es_append_each('[
	{"key": "order-1", "events": [{"type": "Placed", "tags": ["t"]}], "request_id": "r-1", "conditions": [{"query": [{"tags": ["t"]}]}]},
	{"key": "order-5", "events": [{"type": "Placed", "tags": ["v"]}], "request_id": "r-5", "expected_version": 0, "conditions": [{"query": [{"tags": ["v"]}]}]},
	{"key": "order-5", "events": [{"type": "Placed", "tags": ["v"]}], "request_id": "r-5", "expected_version": 0, "conditions": [{"query": [{"tags": ["v"]}]}]},
	{"key": "order-6", "events": [{"type": "Placed", "tags": ["v"]}], "request_id": "r-6", "expected_version": 0, "conditions": [{"query": [{"tags": ["v"]}]}]},
	{"key": "order-6", "events": [{"type": "Placed", "tags": ["v"]}], "request_id": "r-6", "expected_version": 0}]');

-- The event of a repeat is stored, so it counts for the entries after it by its position.
SELECT entry, key, status FROM es_append_each('[
	{"key": "order-1", "events": [{"type": "Placed", "tags": ["t"]}], "request_id": "r-1"},
	{"key": "order-7", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]},
	{"key": "order-8", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["t"]}]}]}]');

SELECT key, version, type, request_id FROM t_conditions_request_ids.es_events ORDER BY position;
SELECT es_drop_store('t_conditions_request_ids');
RESET ROLE;
DROP SCHEMA t_conditions_request_ids;
DROP ROLE regress_es_conditions_request_ids;
