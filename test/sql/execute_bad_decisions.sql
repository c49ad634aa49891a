-- What a deciding function returns is checked as the argument of es_append and es_append_many is:
-- the same refusal, at once, and nothing of the attempt is left.
SET client_min_messages = warning;
CREATE ROLE regress_es_execute_bad_decisions;
CREATE SCHEMA t_execute_bad_decisions AUTHORIZATION regress_es_execute_bad_decisions;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;

SET ROLE regress_es_execute_bad_decisions;
SELECT es_create_store('t_execute_bad_decisions');
SET eventstore.store = 't_execute_bad_decisions';
SET search_path = t_execute_bad_decisions, public;
SELECT es_append('k-1', '[{"type": "T"}]', 0);

-- Deciding functions that obey, and leave a trace: a row, and a count that nothing undoes.
CREATE TABLE traces (n bigint);
CREATE SEQUENCE calls;
CREATE FUNCTION obey(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql
AS 'INSERT INTO traces VALUES (nextval(''calls'')); SELECT command';
CREATE FUNCTION obey_many(command jsonb) RETURNS jsonb LANGUAGE sql
AS 'INSERT INTO traces VALUES (nextval(''calls'')); SELECT command';

CREATE TEMPORARY TABLE bad_events (n serial, events jsonb);
INSERT INTO bad_events (events) VALUES
	('{"type": "T"}'),
	('{}'),
	('"T"'),
	('1'),
	('true'),
	('null'),
	('[["T"]]'),
	('["T"]'),
	('[1]'),
	('[null]'),
	('[[]]'),
	('[{"type": "T"}, null]'),
	('[{}]'),
	('[{"data": 1}]'),
	('[{"type": "T"}, {"type": "T"}, {"data": 1}]'),
	('[{"type": null}]'),
	('[{"type": ""}]'),
	('[{"type": 1}]'),
	('[{"type": "T", "metadata": null}]'),
	('[{"type": "T", "metadata": []}]'),
	('[{"type": "T", "id": null}]'),
	('[{"type": "T", "id": "order-1"}]'),
	('[{"type": "T", "tags": null}]'),
	('[{"type": "T", "tags": "t"}]'),
	('[{"type": "T", "tags": ["t", ""]}]'),
	('[{"type": "T", "tags": [1]}]'),
	('[{"type": "T", "dat": 1}]'),
	('[{"type": "T", "key": "k-1"}]'),
	('[{"type": "T", "request_id": "r-1"}]'),
	('[{"key": "k-1", "events": [{"type": "T"}]}]'),
	(jsonb_build_array(jsonb_build_object('type', repeat('T', 513)))),
	(jsonb_build_array(jsonb_build_object('type', 'T', 'tags', ARRAY[repeat('t', 513)])));

SELECT left(events::text, 50) AS events, refusals[1] AS refusal, refusals[1] = refusals[2] AS of_es_append,
	   refusals[1] = refusals[3] AS of_a_missing_one, refusals[1] = refusals[4] AS of_a_request
FROM (SELECT n, events,
			 ARRAY[pg_temp.refusal(format('SELECT es_execute(%L, %L, %L)', 'k-1', 'obey', events)),
				   pg_temp.refusal(format('SELECT es_append(%L, %L, 1)', 'k-1', events)),
				   pg_temp.refusal(format('SELECT es_execute(%L, %L, %L)', 'k-2', 'obey', events)),
				   pg_temp.refusal(format('SELECT es_execute(%L, %L, %L, request_id => %L)', 'k-2', 'obey', events, 'r-1'))] AS refusals
	  FROM bad_events) AS r
ORDER BY n;

-- Each was asked once, and nothing is left of it.
SELECT last_value = 3 * (SELECT count(*) FROM bad_events) AS asked_once FROM calls;
SELECT count(*) AS traces FROM traces;
SELECT key, version FROM es_aggregates;

CREATE TEMPORARY TABLE bad_writes (n serial, writes jsonb);
INSERT INTO bad_writes (writes) VALUES
	('{"key": "k-1", "events": [{"type": "T"}]}'),
	('"k-1"'),
	('null'),
	('{}'),
	('[null]'),
	('[{}]'),
	('[{"type": "T"}]'),
	('[{"key": "k-1", "events": [{"type": "T"}]}, 2]'),
	('[{"events": [{"type": "T"}]}]'),
	('[{"key": "", "events": [{"type": "T"}]}]'),
	('[{"key": "k-1", "events": []}]'),
	('[{"key": "k-1", "events": null}]'),
	('[{"key": "k-1", "events": [{"type": "T"}, {"data": 1}]}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "expected_version": null}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "expected_version": -1}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "expected_version": 1.5}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "allow_create": 1}]'),
	('[{"key": "k-1", "allow_create": true}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "request_id": "r-1"}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "version": 1}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "conditions": []}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "conditions": [{"after": 0}]}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "conditions": [{"query": [{"types": ["T"]}]}]}]'),
	('[{"key": "k-1", "events": [{"type": "T"}], "conditions": [{"query": [{"tags": ["t"]}], "after": -1}]}]'),
	('[{"conditions": [{"query": [], "after": 0}]}]'),
	('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1000000}]}]');
SELECT setval('calls', 1, false);
SELECT left(writes::text, 50) AS writes, refusals[1] AS refusal, refusals[1] = refusals[2] AS of_es_append_many,
	   refusals[1] = refusals[3] AS of_a_request
FROM (SELECT n, writes,
			 ARRAY[pg_temp.refusal(format('SELECT es_execute_many(%L, %L, %L)', '{k-1}', 'obey_many', writes)),
				   pg_temp.refusal(format('SELECT es_append_many(%L)', writes)),
				   pg_temp.refusal(format('SELECT es_execute_many(%L, %L, %L, request_id => %L)', '{k-1}', 'obey_many', writes, 'r-1'))] AS refusals
	  FROM bad_writes) AS r
ORDER BY n;
SELECT last_value = 2 * (SELECT count(*) FROM bad_writes) AS asked_once FROM calls;
SELECT count(*) AS traces FROM traces;
SELECT key, version FROM es_aggregates;

-- A good decision leaves its one trace.
SELECT status, version FROM es_execute('k-1', 'obey', '[{"type": "T"}]');
SELECT key, status, version FROM es_execute_many('{k-1}', 'obey_many', '[{"key": "k-1", "events": [{"type": "T"}]}]');
SELECT count(*) AS traces FROM traces;

RESET search_path;
DROP TABLE bad_events, bad_writes;
SELECT es_drop_store('t_execute_bad_decisions');
RESET ROLE;
DROP SCHEMA t_execute_bad_decisions CASCADE;
DROP ROLE regress_es_execute_bad_decisions;
