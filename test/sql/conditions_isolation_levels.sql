-- Conditions and es_query need READ COMMITTED: above, the transaction does not see what others have committed meanwhile.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_isolation_levels;
CREATE SCHEMA t_conditions_isolation_levels AUTHORIZATION regress_es_conditions_isolation_levels;

CREATE FUNCTION pg_temp.outcome(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM);
END
$$;

SET ROLE regress_es_conditions_isolation_levels;
SELECT es_create_store('t_conditions_isolation_levels');
SET eventstore.store = 't_conditions_isolation_levels';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);

CREATE TEMPORARY TABLE commands (n serial, command text);
INSERT INTO commands (command) VALUES
	($$SELECT count(*) FROM es_query('[{"tags": ["t"]}]')$$),
	($$SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$),
	($$SELECT status FROM es_append_many('[{"key": "order-1", "expected_version": 1, "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$),
	($$SELECT status FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Paid"}], "expected_version": 1, "conditions": [{"query": [{"tags": ["t"]}]}]}]')$$),
	($$SELECT status FROM es_append_each('[{"key": "order-1", "events": [{"type": "Paid"}], "expected_version": 1, "conditions": [{"query": [{"tags": ["t"]}]}]}]')$$),
	-- Tags alone, and entries beside, are not concerned.
	($$SELECT status FROM es_append_many('[{"key": "order-1", "expected_version": 1}]')$$),
	($$SELECT es_append('order-2', '[{"type": "Placed", "tags": ["t"]}]', 0)$$);

\pset format unaligned
\pset tuples_only on
BEGIN ISOLATION LEVEL READ UNCOMMITTED;
SELECT n, pg_temp.outcome(command) FROM commands ORDER BY n;
ROLLBACK;
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT n, pg_temp.outcome(command) FROM commands ORDER BY n;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT n, pg_temp.outcome(command) FROM commands ORDER BY n;
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT n, pg_temp.outcome(command) FROM commands ORDER BY n;
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT n, pg_temp.outcome(command) FROM commands WHERE n = 1;
ROLLBACK;
\pset tuples_only off
\pset format aligned

-- What psql shows; also of a transaction whose level comes from the session's default.
\set SHOW_CONTEXT never
SET default_transaction_isolation = 'repeatable read';
SELECT * FROM es_query('[{"tags": ["t"]}]');
SELECT es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');
RESET default_transaction_isolation;

-- Within one statement, es_query sees what was appended before it, and what a query sees is not moved.
SELECT (SELECT count(*) FROM es_query('[{"tags": ["t"]}]')) AS before, es_append('order-3', '[{"type": "Placed", "tags": ["t"]}]', 0) AS version,
	   (SELECT count(*) FROM t_conditions_isolation_levels.es_events) AS by_snapshot;
CREATE FUNCTION t_conditions_isolation_levels.append_and_query() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_append('order-4', '[{"type": "Placed", "tags": ["t"]}]', 0);
	RETURN (SELECT count(*) FROM es_query('[{"tags": ["t"]}]'));
END
$$;
SELECT t_conditions_isolation_levels.append_and_query();

DROP TABLE commands;
DROP FUNCTION t_conditions_isolation_levels.append_and_query;
SELECT es_drop_store('t_conditions_isolation_levels');
RESET ROLE;
DROP SCHEMA t_conditions_isolation_levels;
DROP ROLE regress_es_conditions_isolation_levels;
