-- Conditions and es_query need the right to read the events and their tags, and no more than that.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_rights;
CREATE ROLE regress_es_conditions_rights_none;
CREATE ROLE regress_es_conditions_rights_reader;
CREATE ROLE regress_es_conditions_rights_writer;
CREATE ROLE regress_es_conditions_rights_consumer;
CREATE ROLE regress_es_conditions_rights_blind;
GRANT regress_es_conditions_rights_none, regress_es_conditions_rights_reader, regress_es_conditions_rights_writer, regress_es_conditions_rights_consumer, regress_es_conditions_rights_blind
	TO regress_es_conditions_rights;
CREATE SCHEMA t_conditions_rights AUTHORIZATION regress_es_conditions_rights;

CREATE FUNCTION pg_temp.outcome(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	RAISE EXCEPTION 'undo it' USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN 'ok';
	WHEN OTHERS THEN
		RETURN SQLSTATE;
END
$$;

SET ROLE regress_es_conditions_rights;
SELECT es_create_store('t_conditions_rights');
SET eventstore.store = 't_conditions_rights';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t", "u"]}]', 0);
SELECT es_grant('regress_es_conditions_rights_reader', 'reader');
SELECT es_grant('regress_es_conditions_rights_writer', 'writer');
SELECT es_grant('regress_es_conditions_rights_consumer', 'consumer');

-- One who may append, but not read the events.
SELECT es_grant('regress_es_conditions_rights_blind', 'writer');
REVOKE SELECT ON t_conditions_rights.es_events, t_conditions_rights.es_tags FROM regress_es_conditions_rights_blind;

CREATE TEMPORARY TABLE attempts (n serial, command text);
INSERT INTO attempts (command) VALUES
	($$SELECT * FROM es_query('[{"tags": ["t"]}]')$$),
	($$SELECT * FROM es_query('[{"tags": ["nothing"]}]')$$),
	($$SELECT * FROM es_query('[{"tags": ["t", "u"], "types": ["Placed"]}]', 1)$$),
	($$SELECT es_append('order-1', '[{"type": "Paid"}]', 1)$$),
	($$SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1)$$),
	($$SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "Paid", "tags": ["t"]}], "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$),
	($$SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "Paid", "tags": ["t"]}], "conditions": [{"query": [{"tags": ["t"]}]}]}]')$$),
	($$SELECT * FROM es_append_each('[{"key": "order-1", "events": [{"type": "Paid"}], "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$),
	($$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$),
	($$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["nothing"]}]}]}]')$$),
	($$SELECT * FROM es_append_many('[{"key": "order-1", "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$);
GRANT SELECT ON attempts TO PUBLIC;
CREATE TEMPORARY TABLE outcomes (n integer, role name, outcome text);
GRANT INSERT ON outcomes TO PUBLIC;
SET ROLE regress_es_conditions_rights_none;
INSERT INTO outcomes SELECT n, 'none', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_conditions_rights_reader;
INSERT INTO outcomes SELECT n, 'reader', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_conditions_rights_writer;
INSERT INTO outcomes SELECT n, 'writer', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_conditions_rights_consumer;
INSERT INTO outcomes SELECT n, 'consumer', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_conditions_rights_blind;
INSERT INTO outcomes SELECT n, 'blind', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_conditions_rights;
SELECT command,
	   max(outcome) FILTER (WHERE role = 'none') AS none, max(outcome) FILTER (WHERE role = 'reader') AS reader,
	   max(outcome) FILTER (WHERE role = 'writer') AS writer, max(outcome) FILTER (WHERE role = 'consumer') AS consumer,
	   max(outcome) FILTER (WHERE role = 'blind') AS blind
FROM attempts JOIN outcomes USING (n) GROUP BY n, command ORDER BY n;

-- Each of the two tables is needed.
GRANT SELECT ON t_conditions_rights.es_events TO regress_es_conditions_rights_blind;
SET ROLE regress_es_conditions_rights_blind;
\set SHOW_CONTEXT never
SELECT count(*) FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');
SET ROLE regress_es_conditions_rights;
REVOKE SELECT ON t_conditions_rights.es_events FROM regress_es_conditions_rights_blind;
GRANT SELECT ON t_conditions_rights.es_tags TO regress_es_conditions_rights_blind;
SET ROLE regress_es_conditions_rights_blind;
SELECT count(*) FROM es_query('[{"tags": ["t"]}]');
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');

-- In a read-only transaction one can read to decide, but neither write nor hold still.
SET ROLE regress_es_conditions_rights_writer;
BEGIN READ ONLY;
SELECT position, key FROM es_query('[{"tags": ["t"]}]');
SAVEPOINT s;
SELECT es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');
ROLLBACK TO s;
SELECT es_append_each('[{"key": "order-1", "events": [{"type": "Paid"}], "conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]');
ROLLBACK;

SET ROLE regress_es_conditions_rights;
DROP TABLE attempts, outcomes;
SELECT key, version FROM t_conditions_rights.es_aggregates ORDER BY key;
SELECT es_drop_store('t_conditions_rights');
RESET ROLE;
DROP SCHEMA t_conditions_rights;
DROP ROLE regress_es_conditions_rights, regress_es_conditions_rights_none, regress_es_conditions_rights_reader, regress_es_conditions_rights_writer,
	regress_es_conditions_rights_consumer, regress_es_conditions_rights_blind;
