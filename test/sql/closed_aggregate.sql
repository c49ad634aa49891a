-- A closed aggregate takes no more events, says so before anything else but a repeat, and can be read.
SET client_min_messages = warning;
SELECT es_create_store('t_closed_aggregate');
SET eventstore.store = 't_closed_aggregate';
SELECT es_append('account-1', '[{"type": "Opened"}, {"type": "Emptied"}]', 0, request_id => 'r-1');
SELECT es_append('account-2', '[{"type": "Opened"}]', 0);

-- Nothing closes an aggregate yet, so the test does it by hand.
SET eventstore.allow_direct_writes = on;
UPDATE t_closed_aggregate.es_aggregates SET closed_at = '2001-01-01' WHERE key = 'account-1';
RESET eventstore.allow_direct_writes;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT detail text, OUT hint text,
								OUT "schema" text, OUT "table" text, OUT "constraint" text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "constraint" = CONSTRAINT_NAME;
END
$$;

\set SHOW_CONTEXT never
SELECT es_append('account-1', '[{"type": "Reopened"}]', 2);
\x on
SELECT * FROM pg_temp.refusal($$ SELECT es_append('account-1', '[{"type": "Reopened"}]') $$);
\x off

-- A stale or wrong expected version does not hide that it is closed.
SELECT expected, (es_try_append('account-1', '[{"type": "Reopened"}]', expected, true)).*
FROM (VALUES (NULL::bigint), (0), (1), (2), (3)) AS e (expected)
ORDER BY expected NULLS FIRST;

-- A repeat of what was written before it was closed is still a repeat, and other events under its id are VE005.
SELECT es_append('account-1', '[{"type": "Opened"}, {"type": "Emptied"}]', 0, request_id => 'r-1');
SELECT key, status, version FROM es_try_append('account-1', '[{"type": "Opened"}, {"type": "Emptied"}]', 0, request_id => 'r-1');
SELECT key, status, version FROM es_try_append('account-1', '[{"type": "Opened"}]', 0, request_id => 'r-1');
SELECT key, status, version FROM es_try_append('account-1', '[{"type": "Opened"}]', 0, request_id => 'r-2');

-- In a call with other writes it is one of the refusals.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-2", "events": [{"type": "Credited"}], "expected_version": 1},
	{"key": "account-1", "events": [{"type": "Debited"}], "expected_version": 2},
	{"key": "account-2", "events": [{"type": "Credited"}], "expected_version": 1}]');
SELECT entry, key, status, version FROM es_append_each('[
	{"key": "account-1", "events": [{"type": "Debited"}], "expected_version": 2},
	{"key": "account-2", "events": [{"type": "Credited"}], "expected_version": 1}]');

-- It reads as before.
SELECT es_version('account-1');
SELECT version, type FROM es_read('account-1') ORDER BY version;
SELECT * FROM es_lock(ARRAY['account-1']);

SELECT es_drop_store('t_closed_aggregate');
DROP SCHEMA t_closed_aggregate;
