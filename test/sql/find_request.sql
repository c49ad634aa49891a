-- es_find_request tells what an append under a request id did, if it landed.
SET client_min_messages = warning;
CREATE ROLE regress_es_find_request;
CREATE SCHEMA t_find_request AUTHORIZATION regress_es_find_request;
SET ROLE regress_es_find_request;
SELECT es_create_store('t_find_request');
SET eventstore.store = 't_find_request';

CREATE TEMPORARY TABLE first AS
	SELECT * FROM es_try_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0, request_id => 'r-1');
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT f.entry, f.key, f.status, f.version,
	   f.first_position = t.first_position AND f.last_position = t.last_position AND f.recorded_at = t.recorded_at AS as_first_reported
FROM es_find_request('order-1', 'r-1') AS f, first AS t;

-- No row for what is not known: another id, another aggregate, no aggregate, an append without an id.
SELECT * FROM es_find_request('order-1', 'r-2');
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT * FROM es_find_request('order-2', 'r-1');
SELECT * FROM es_find_request('order-3', 'r-1');

-- A handler looks before it decides.
SELECT es_append('order-2', '[{"type": "Paid"}]', es_version('order-2'), request_id => 'pay-1')
WHERE NOT EXISTS (SELECT FROM es_find_request('order-2', 'pay-1'));
SELECT es_append('order-2', '[{"type": "Paid"}]', es_version('order-2'), request_id => 'pay-1')
WHERE NOT EXISTS (SELECT FROM es_find_request('order-2', 'pay-1'));
SELECT es_version('order-2');

-- A call over several aggregates is found under each of them; under its last version where a key came twice.
SELECT count(*) FROM es_append_many('[
	{"key": "order-4", "events": [{"type": "Placed"}], "expected_version": 0},
	{"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0},
	{"key": "order-4", "events": [{"type": "Paid"}]}]', 'r-1');
SELECT entry, key, status, version FROM es_find_request('order-4', 'r-1');
SELECT entry, key, status, version FROM es_find_request('order-5', 'r-1');

-- It sees its own transaction, and nothing that was rolled back.
BEGIN;
SELECT es_append('order-6', '[{"type": "Placed"}]', 0, request_id => 'r-1');
SELECT status, version FROM es_find_request('order-6', 'r-1');
ROLLBACK;
SELECT status, version FROM es_find_request('order-6', 'r-1');

-- The arguments are checked as elsewhere.
\set SHOW_CONTEXT never
SELECT * FROM es_find_request(NULL, 'r-1');
SELECT * FROM es_find_request('order-1', NULL);
SELECT * FROM es_find_request('', 'r-1');
SELECT * FROM es_find_request(repeat('k', 513), 'r-1');
SELECT * FROM es_find_request('order-1', '');
SELECT * FROM es_find_request('order-1', repeat('r', 256));

DROP TABLE first;
SELECT es_drop_store('t_find_request');
RESET ROLE;
DROP SCHEMA t_find_request;
DROP ROLE regress_es_find_request;
