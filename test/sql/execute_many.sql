-- es_execute_many: writes, guards and conditions as es_append_many takes them, decided by a function.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_many;
CREATE SCHEMA t_execute_many AUTHORIZATION regress_es_execute_many;
SET ROLE regress_es_execute_many;
SELECT es_create_store('t_execute_many');
SET eventstore.store = 't_execute_many';
SET search_path = t_execute_many, public;
SELECT es_append('account-1', '[{"type": "Opened", "data": 100}]', 0), es_append('account-2', '[{"type": "Opened", "data": 10}]', 0), es_append('policy', '[{"type": "Set", "data": 50}]', 0);

CREATE FUNCTION write(key text, type text, data numeric, expected bigint DEFAULT NULL, conditions jsonb DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql
AS $$ SELECT jsonb_strip_nulls(jsonb_build_object('key', key, 'expected_version', expected, 'conditions', conditions,
	'events', jsonb_build_array(jsonb_build_object('type', type, 'data', data, 'tags', tags)))) $$;
CREATE FUNCTION balance(key text, OUT version bigint, OUT amount numeric)
LANGUAGE sql
AS $$ SELECT coalesce(max(e.version), 0), coalesce(sum(e.data::numeric), 0) FROM es_read(key) AS e $$;

-- A transfer: two writes, and a guard on the policy that it is decided by.
CREATE FUNCTION transfer(command jsonb)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	source record := balance(command->>'from');
	target record := balance(command->>'to');
	policy record;
	amount numeric := (command->>'amount')::numeric;
BEGIN
	SELECT e.version, e.data::numeric AS highest INTO policy FROM es_read('policy', max_count => 1, backwards => true) AS e;
	IF source.amount < amount THEN
		RAISE 'balance too low: %', source.amount USING ERRCODE = 'BK001';
	ELSIF amount > policy.highest THEN
		RETURN '[]';
	END IF;
	RETURN jsonb_build_array(write(command->>'from', 'Withdrawn', -amount, source.version),
							 write(command->>'to', 'Deposited', amount, target.version),
							 jsonb_build_object('key', 'policy', 'expected_version', policy.version));
END
$$;
SELECT entry, key, status, version, first_position = last_position AS one_position, recorded_at IS NOT NULL AS recorded
FROM es_execute_many('{account-1,account-2}', 'transfer', '{"from": "account-1", "to": "account-2", "amount": 30}');
SELECT entry, key, status, version FROM es_execute_many('{account-2,account-3}', 'transfer', '{"from": "account-2", "to": "account-3", "amount": 5}');
-- Nothing to append: no rows.
SELECT * FROM es_execute_many('{account-1,account-2}', 'transfer', '{"from": "account-1", "to": "account-2", "amount": 60}');
\set VERBOSITY sqlstate
SELECT * FROM es_execute_many('{account-1,account-2}', 'transfer', '{"from": "account-1", "to": "account-2", "amount": 71}');
\set VERBOSITY default
SELECT n, b.* FROM generate_series(1, 3) AS n, balance('account-' || n) AS b ORDER BY n;

-- A decision is obeyed as es_append_many obeys: the same rows, or the same error.
CREATE FUNCTION outcome(call text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	result text; detail text;
BEGIN
	EXECUTE format('SELECT string_agg(concat_ws('' '', entry, key, status, version), '', '' ORDER BY entry) FROM %s', call) INTO result;
	RAISE SQLSTATE 'UNDO0' USING MESSAGE = coalesce(result, 'nothing');
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN SQLERRM;
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN concat_ws(' / ', SQLSTATE, SQLERRM, detail);
END
$$;
CREATE FUNCTION obey(command jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT command';
SELECT es_append('tagged-1', '[{"type": "T", "tags": ["t:1"]}]', 0);
SELECT max(position) AS cursor FROM es_query('[{"tags": ["t:1"]}]') \gset
SELECT label, outcome(format('es_execute_many(%L, %L, %L, max_retries => 0)', '{account-1}', 'obey', writes)) AS outcome,
	   outcome(format('es_execute_many(%L, %L, %L, max_retries => 0)', '{account-1}', 'obey', writes)) = outcome(format('es_append_many(%L)', writes)) AS of_es_append_many,
	   outcome(format('es_execute_many(%L, %L, %L)', '{}', 'obey', writes)) = outcome(format('es_append_many(%L)', writes)) AS without_keys_after_retries
FROM (VALUES
	(1, 'unconditional', jsonb_build_array(write('account-1', 'Noted', 0))),
	(2, 'two of one aggregate', jsonb_build_array(write('account-1', 'Noted', 0, 2), write('account-1', 'Noted', 0, 3))),
	(3, 'two, the second by the first one''s old version', jsonb_build_array(write('account-1', 'Noted', 0, 2), write('account-1', 'Noted', 0, 2))),
	(4, 'not of the keys', jsonb_build_array(write('account-2', 'Noted', 0), write('account-9', 'Noted', 0, 0))),
	(5, 'missing', jsonb_build_array(write('account-9', 'Noted', 0))),
	(6, 'missing, may be created', jsonb_build_array(write('account-9', 'Noted', 0) || '{"allow_create": true}')),
	(7, 'a guard alone', '[{"key": "account-1", "expected_version": 2}]'),
	(8, 'a guard that fails', '[{"key": "account-1", "expected_version": 1}]'),
	(9, 'a guard for absence', jsonb_build_array(write('account-1', 'Noted', 0), '{"key": "account-9", "expected_version": 0}'::jsonb)),
	(10, 'a condition that holds', jsonb_build_array(write('account-1', 'Noted', 0, 2, format('[{"query": [{"tags": ["t:1"]}], "after": %s}]', :cursor)::jsonb))),
	(11, 'a condition that fails', jsonb_build_array(write('account-1', 'Noted', 0, 2, '[{"query": [{"tags": ["t:1"]}], "after": 0}]'))),
	(12, 'a condition in a guard', jsonb_build_array(format('{"conditions": [{"query": [{"tags": ["t:1"]}], "after": %s}]}', :cursor)::jsonb, write('tagged-2', 'T', 0, 0, NULL, '{t:1}'))),
	(13, 'a condition that an earlier entry fails', jsonb_build_array(write('tagged-2', 'T', 0, 0, NULL, '{t:2}'), write('tagged-3', 'T', 0, 0, '[{"query": [{"tags": ["t:2"]}]}]'))),
	(14, 'several refusals', jsonb_build_array(write('account-1', 'Noted', 0, 1), write('account-9', 'Noted', 0), write('account-2', 'Noted', 0, 3)))
) AS c (n, label, writes)
ORDER BY n;

-- eventstore.require_expected_version holds for what the function returns.
BEGIN;
SET LOCAL eventstore.require_expected_version = on;
\set SHOW_CONTEXT never
SELECT key, status FROM es_execute_many('{account-1}', 'obey', jsonb_build_array(write('account-1', 'Noted', 0)));
\set SHOW_CONTEXT errors
ROLLBACK;

-- Many keys, of which the function uses one; more than the lock table has room for.
SELECT key, status, version FROM es_execute_many((SELECT array_agg('k-' || n) FROM generate_series(1, 10000) AS n), 'obey', jsonb_build_array(write('k-77', 'Noted', 0, 0)));
SELECT key, status, version FROM es_execute_many((SELECT array_agg('k-' || n) FROM generate_series(1, 10000) AS n), 'obey', jsonb_build_array(write('k-78', 'Noted', 0, 0)), request_id => 'r-1');
SELECT key, status, version FROM es_execute_many((SELECT array_agg('k-' || n) FROM generate_series(1, 10000) AS n), 'obey', jsonb_build_array(write('k-79', 'Noted', 0, 0)), request_id => 'r-1');
SELECT count(*), min(status), max(status) FROM es_execute_many('{}', 'obey', (SELECT jsonb_agg(write('l-' || n, 'Noted', n, 0)) FROM generate_series(1, 1000) AS n));

SELECT key, version FROM es_aggregates WHERE key NOT LIKE 'l-%' ORDER BY key;
RESET search_path;
SELECT * FROM es_check_store('t_execute_many');
SELECT es_drop_store('t_execute_many');
RESET ROLE;
DROP SCHEMA t_execute_many CASCADE;
DROP ROLE regress_es_execute_many;
