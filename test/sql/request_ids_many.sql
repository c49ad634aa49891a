-- In es_append_many a request id identifies the whole call.
SET client_min_messages = warning;
CREATE ROLE regress_es_request_ids_many;
CREATE SCHEMA t_request_ids_many AUTHORIZATION regress_es_request_ids_many;
SET ROLE regress_es_request_ids_many;
SELECT es_create_store('t_request_ids_many');
SET eventstore.store = 't_request_ids_many';
SELECT es_append('account-1', '[{"type": "Opened"}]', 0);
SELECT es_append('account-2', '[{"type": "Opened"}]', 0);

CREATE TEMPORARY TABLE first AS
	SELECT * FROM es_append_many('[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}], "expected_version": 1},
		{"key": "account-1", "events": [{"type": "Debited", "data": 5}], "expected_version": 1}]', 't-1');
SELECT es_append('account-1', '[{"type": "Frozen"}]', 2);

-- The repeat returns the first result, though one aggregate has moved and the versions are stale.
CREATE TEMPORARY TABLE again AS
	SELECT * FROM es_append_many('[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}], "expected_version": 1},
		{"key": "account-1", "events": [{"type": "Debited", "data": 5}], "expected_version": 1}]', 't-1');
SELECT entry, key, status, version FROM first ORDER BY entry;
SELECT entry, key, status, version FROM again ORDER BY entry;
SELECT entry, first_position, last_position, recorded_at FROM first
EXCEPT SELECT entry, first_position, last_position, recorded_at FROM again;

-- As rows, and with the entries in another order.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-1", "events": [{"type": "Debited", "data": 5}], "expected_version": 1},
	{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}], "expected_version": 1}]', 't-1');

-- The id must be known for all keys or for none, with the same events.
CREATE FUNCTION pg_temp.is_reuse(writes jsonb)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
	statuses constant text[] := ARRAY(SELECT DISTINCT status FROM es_try_append_many(writes, 't-1'));
BEGIN
	PERFORM es_append_many(writes, 't-1');
	RETURN false;
EXCEPTION WHEN SQLSTATE 'VE005' THEN
	RETURN 'request_id_reused' = ANY (statuses) AND statuses <@ '{request_id_reused,not_written}';
END
$$;
SELECT label, pg_temp.is_reuse(writes)
FROM (VALUES
	(1, 'another key that does not know it', '[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}]},
		{"key": "account-3", "events": [{"type": "Debited", "data": 5}], "allow_create": true}]'::jsonb),
	(2, 'other data for one of the keys', '[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}]},
		{"key": "account-1", "events": [{"type": "Debited", "data": 6}]}]'),
	(3, 'fewer events for one of the keys', '[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}]},
		{"key": "account-1", "events": [{"type": "Debited", "data": 5}]}]'),
	(4, 'more events for one of the keys', '[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}, {"type": "Noted"}]},
		{"key": "account-1", "events": [{"type": "Debited", "data": 5}]}]'),
	(5, 'one of the keys once more', '[
		{"key": "account-2", "events": [{"type": "Credited", "data": 5}, {"type": "Noted"}]},
		{"key": "account-1", "events": [{"type": "Debited", "data": 5}]},
		{"key": "account-1", "events": [{"type": "Debited", "data": 5}]}]')
) AS cases (n, label, writes)
ORDER BY n;
\set SHOW_CONTEXT never
SELECT entry, key, status, version FROM es_append_many('[{"key": "account-2", "events": [{"type": "Credited", "data": 4}, {"type": "Noted"}]}]', 't-1');

-- An append of one of the keys under the same id is judged by that key alone, in every form.
SELECT key, status, version FROM es_try_append('account-1', '[{"type": "Debited", "data": 5}]', 0, request_id => 't-1');
SELECT key, status, version FROM es_try_append('account-1', '[{"type": "Debited", "data": 4}]', 0, request_id => 't-1');
SELECT key, status, version FROM es_append_each('[{"key": "account-1", "events": [{"type": "Debited", "data": 5}], "request_id": "t-1"}]');

-- The same key twice, in one call: each entry gets its own first result back.
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "account-4", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-5", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-4", "events": [{"type": "Credited"}, {"type": "Noted"}], "expected_version": 1}]', 't-2');
SELECT es_append('account-4', '[{"type": "Frozen"}]', 3);
SELECT entry, key, status, version, last_position - first_position AS span FROM es_append_many('[
	{"key": "account-4", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-5", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-4", "events": [{"type": "Credited"}, {"type": "Noted"}], "expected_version": 1}]', 't-2');

-- A repeat with a guard that no longer holds is still a repeat.
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "account-1", "expected_version": 3},
	{"key": "account-5", "events": [{"type": "Credited"}], "expected_version": 1}]', 't-3');
SELECT es_append('account-1', '[{"type": "Thawed"}]', 3);
SELECT entry, key, status FROM es_try_append_many('[
	{"key": "account-1", "expected_version": 3},
	{"key": "account-5", "events": [{"type": "Credited"}], "expected_version": 1}]', 't-3');

-- A refused call leaves no trace of the id.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-1", "events": [{"type": "Debited"}], "expected_version": 4},
	{"key": "account-2", "events": [{"type": "Credited"}], "expected_version": 4}]', 't-4');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-1", "events": [{"type": "Debited"}], "expected_version": 4},
	{"key": "account-2", "events": [{"type": "Credited"}], "expected_version": 3}]', 't-4');

-- Each landed once.
SELECT key, version, type, request_id FROM t_request_ids_many.es_events ORDER BY key, version;

DROP TABLE first, again;
DROP FUNCTION pg_temp.is_reuse;
SELECT es_drop_store('t_request_ids_many');
RESET ROLE;
DROP SCHEMA t_request_ids_many;
DROP ROLE regress_es_request_ids_many;
