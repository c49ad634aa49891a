-- A repeat of an append under its request id changes nothing and returns the first result.
SET client_min_messages = warning;
CREATE ROLE regress_es_request_ids;
CREATE SCHEMA t_request_ids AUTHORIZATION regress_es_request_ids;
SET ROLE regress_es_request_ids;
SELECT es_create_store('t_request_ids');
SET eventstore.store = 't_request_ids';

-- The creation, and its repeat: also without any permission to create, and with another expected version.
SELECT es_append('order-1', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}}]', 0, request_id => 'r-1');
SELECT es_append('order-1', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}}]', 0, request_id => 'r-1');
SELECT es_append('order-1', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}}]', request_id => 'r-1');
SELECT es_append('order-1', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}}]', 7, true, 'r-1');

-- An append of several events; the aggregate moves on; the repeat still returns what the first call did.
CREATE TEMPORARY TABLE first AS
	SELECT * FROM es_try_append('order-1', '[{"type": "LineAdded", "data": 1}, {"type": "LineAdded", "data": 2}]', 1, request_id => 'r-2');
SELECT es_append('order-1', '[{"type": "Paid"}]', 3);
SELECT es_append('order-1', '[{"type": "Shipped"}]', 4, request_id => 'r-3');
CREATE TEMPORARY TABLE again AS
	SELECT * FROM es_try_append('order-1', '[{"type": "LineAdded", "data": 1}, {"type": "LineAdded", "data": 2}]', 1, request_id => 'r-2');
SELECT entry, key, status, version FROM first;
SELECT entry, key, status, version FROM again;
SELECT first_position, last_position, recorded_at FROM first EXCEPT SELECT first_position, last_position, recorded_at FROM again;

-- The same events: data compare as jsonb, and id, metadata and tags may differ.
SELECT label, status, version
FROM (VALUES (1, 'as before', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}}]'::jsonb),
			 (2, 'data written otherwise', '[{"data": {"currency": "EUR",  "total": 10}, "type": "Placed"}]'),
			 (3, 'number written otherwise', '[{"data": {"currency": "EUR",  "total": 10.0}, "type": "Placed"}]'),
			 (4, 'with an id', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}, "id": "00000000-0000-0000-0000-000000000001"}]'),
			 (5, 'with metadata', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}, "metadata": {"attempt": 2}}]'),
			 (6, 'with tags', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}, "tags": ["attempt:2"]}]'),
			 (7, 'other data', '[{"type": "Placed", "data": {"total": 11, "currency": "EUR"}}]'),
			 (8, 'no data', '[{"type": "Placed"}]'),
			 (9, 'data null', '[{"type": "Placed", "data": null}]'),
			 (10, 'other type', '[{"type": "Planned", "data": {"total": 10, "currency": "EUR"}}]'),
			 (11, 'type in other case', '[{"type": "placed", "data": {"total": 10, "currency": "EUR"}}]'),
			 (12, 'more events', '[{"type": "Placed", "data": {"total": 10, "currency": "EUR"}}, {"type": "Paid"}]')
	 ) AS cases (n, label, events),
	 LATERAL es_try_append('order-1', events, 0, request_id => 'r-1')
ORDER BY n;
SELECT label, status, version
FROM (VALUES (1, 'fewer events', '[{"type": "LineAdded", "data": 1}]'::jsonb),
			 (2, 'other order', '[{"type": "LineAdded", "data": 2}, {"type": "LineAdded", "data": 1}]'),
			 (3, 'last one differs', '[{"type": "LineAdded", "data": 1}, {"type": "LineAdded", "data": 3}]'),
			 (4, 'more events, all stored after it', '[{"type": "LineAdded", "data": 1}, {"type": "LineAdded", "data": 2}, {"type": "Paid"}]')
	 ) AS cases (n, label, events),
	 LATERAL es_try_append('order-1', events, request_id => 'r-2')
ORDER BY n;

-- Absent data is not JSON null, here as in what is stored.
SELECT es_append('order-2', '[{"type": "Placed"}]', 0, request_id => 'r-1');
SELECT status, version FROM es_try_append('order-2', '[{"type": "Placed", "data": null}]', 0, request_id => 'r-1');
SELECT status, version FROM es_try_append('order-2', '[{"type": "Placed"}]', 0, request_id => 'r-1');

-- Bad events are bad input, also under a known request id.
\set VERBOSITY sqlstate
SELECT es_append('order-2', '[{"type": "Placed", "dat": 1}]', 0, request_id => 'r-1');
SELECT es_append('order-2', '[]', 0, request_id => 'r-1');
SELECT es_append('order-2', '[{"type": "Placed"}]', -1, request_id => 'r-1');
\set VERBOSITY default

-- A request id belongs to its aggregate: another one knows nothing of it.
SELECT key, status, version FROM es_try_append('order-3', '[{"type": "Placed"}]', 0, request_id => 'r-1');

-- A refused append leaves no trace: the id is free, and the corrected call goes through.
SELECT status, version FROM es_try_append('order-3', '[{"type": "Paid"}]', 5, request_id => 'r-9');
SELECT status, version FROM es_try_append('order-3', '[{"type": "Refunded"}]', 1, request_id => 'r-9');
BEGIN;
SELECT es_append('order-3', '[{"type": "Paid"}]', 2, request_id => 'r-10');
ROLLBACK;
SELECT status, version FROM es_try_append('order-3', '[{"type": "Refunded"}]', 2, request_id => 'r-10');

-- A repeat within the same transaction.
BEGIN;
SELECT status, version FROM es_try_append('order-4', '[{"type": "Placed"}]', 0, request_id => 'r-1');
SELECT status, version FROM es_try_append('order-4', '[{"type": "Paid"}]', 1);
SELECT status, version FROM es_try_append('order-4', '[{"type": "Placed"}]', 0, request_id => 'r-1');
COMMIT;

-- An id has 1 to 255 bytes, and is compared byte by byte.
SELECT es_append('order-5', '[{"type": "Placed"}]', 0, request_id => repeat('r', 255));
SELECT es_append('order-5', '[{"type": "Placed"}]', 0, request_id => repeat('r', 255));
SELECT es_append('order-5', '[{"type": "Placed"}]', 1, request_id => 'R');
SELECT es_append('order-5', '[{"type": "Placed"}]', 2, request_id => 'r');
SELECT es_append('order-5', '[{"type": "Placed"}]', 3, request_id => ' r');
SELECT es_append('order-5', '[{"type": "Placed"}]', 3, request_id => E'r\n"''\\%');
SELECT es_append('order-5', '[{"type": "Placed"}]', 4, request_id => E'r\n"''\\%');
\set SHOW_CONTEXT never
SELECT es_append('order-5', '[{"type": "Placed"}]', 5, request_id => '');
SELECT es_append('order-5', '[{"type": "Placed"}]', 5, request_id => repeat('r', 256));

-- With eventstore.require_expected_version, a repeat of a creation is no unconditional append.
BEGIN;
SET LOCAL eventstore.require_expected_version = on;
SELECT es_append('order-6', '[{"type": "Placed"}]', allow_create => true, request_id => 'r-1');
SELECT es_append('order-6', '[{"type": "Placed"}]', allow_create => true, request_id => 'r-1');
COMMIT;

-- Each landed once.
SELECT key, version, type, CASE WHEN length(request_id) > 20 THEN 'long' ELSE request_id END AS request_id
FROM t_request_ids.es_events ORDER BY key, version;
SELECT key, version FROM t_request_ids.es_aggregates ORDER BY key;

DROP TABLE first, again;
SELECT es_drop_store('t_request_ids');
RESET ROLE;
DROP SCHEMA t_request_ids;
DROP ROLE regress_es_request_ids;
