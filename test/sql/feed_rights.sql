-- Who may do what with the log and the subscriptions: nobody without a grant, and what es_grant gives to each.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_rights;
CREATE ROLE regress_es_feed_rights_none;
CREATE ROLE regress_es_feed_rights_reader;
CREATE ROLE regress_es_feed_rights_writer;
CREATE ROLE regress_es_feed_rights_consumer;
CREATE ROLE regress_es_feed_rights_admin;
GRANT regress_es_feed_rights_none, regress_es_feed_rights_reader, regress_es_feed_rights_writer, regress_es_feed_rights_consumer, regress_es_feed_rights_admin
	TO regress_es_feed_rights;
CREATE SCHEMA t_feed_rights AUTHORIZATION regress_es_feed_rights;

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

SET ROLE regress_es_feed_rights;
SELECT es_create_store('t_feed_rights');
SET eventstore.store = 't_feed_rights';
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_create_subscription('s'), es_create_subscription('p');
SELECT es_park('p', 1, 'why not');
SELECT es_grant('regress_es_feed_rights_reader', 'reader');
SELECT es_grant('regress_es_feed_rights_writer', 'writer');
SELECT es_grant('regress_es_feed_rights_consumer', 'consumer');
SELECT es_grant('regress_es_feed_rights_admin', 'admin');

-- What each of them may do; all of it is undone.
CREATE TEMPORARY TABLE attempts (n serial, command text);
INSERT INTO attempts (command) VALUES
	($$SELECT * FROM es_read_all()$$),
	($$SELECT * FROM es_read_all(query => '[{"types": ["Paid"]}]')$$),
	($$SELECT es_horizon()$$),
	($$CALL es_wait(0, '0')$$),
	($$SELECT * FROM es_in_flight$$),
	($$SELECT es_partition('order-1', 8)$$),
	($$SELECT es_query_condition('[{"types": ["Paid"]}]')$$),
	($$SELECT es_append('order-1', '[{"type": "Shipped"}]', 2)$$),
	($$SELECT * FROM es_subscription_status$$),
	($$CALL es_wait_for('s', 0, '0')$$),
	($$SELECT * FROM t_feed_rights.es_parked_events$$),
	($$SELECT * FROM t_feed_rights.es_watermark$$),
	($$SELECT es_create_subscription('mine')$$),
	($$SELECT * FROM es_fetch('s')$$),
	($$SELECT * FROM es_fetch('s', 10, '1 minute')$$),
	($$SELECT es_advance('s', 0, 0, 1)$$),
	($$SELECT es_park('s', 2, 'bad')$$),
	($$SELECT es_unpark('p', 1)$$),
	($$SELECT es_reset_subscription('s')$$),
	($$SELECT es_drop_subscription('s')$$),
	($$SELECT es_sync_position()$$),
	($$SELECT es_check_store('t_feed_rights')$$),
	($$UPDATE t_feed_rights.es_subscriptions SET position = 2$$),
	($$DELETE FROM t_feed_rights.es_parked_events$$),
	($$INSERT INTO t_feed_rights.es_watermark (position) VALUES (2)$$),
	($$DELETE FROM t_feed_rights.es_events$$),
	($$SELECT nextval('t_feed_rights.es_position_seq')$$);
GRANT SELECT ON attempts TO PUBLIC;
CREATE TEMPORARY TABLE outcomes (n integer, role name, outcome text);
GRANT INSERT ON outcomes TO PUBLIC;
SET client_min_messages = error;
SET ROLE regress_es_feed_rights_none;
INSERT INTO outcomes SELECT n, 'none', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_feed_rights_reader;
INSERT INTO outcomes SELECT n, 'reader', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_feed_rights_writer;
INSERT INTO outcomes SELECT n, 'writer', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_feed_rights_consumer;
INSERT INTO outcomes SELECT n, 'consumer', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_feed_rights_admin;
INSERT INTO outcomes SELECT n, 'admin', pg_temp.outcome(command) FROM attempts ORDER BY n;
SET ROLE regress_es_feed_rights;
SET client_min_messages = warning;
SELECT command,
	   max(outcome) FILTER (WHERE role = 'none') AS none, max(outcome) FILTER (WHERE role = 'reader') AS reader,
	   max(outcome) FILTER (WHERE role = 'writer') AS writer, max(outcome) FILTER (WHERE role = 'consumer') AS consumer,
	   max(outcome) FILTER (WHERE role = 'admin') AS admin
FROM attempts JOIN outcomes USING (n) GROUP BY n, command ORDER BY n;

-- The rights add up: a process manager consumes and appends.
SELECT es_grant('regress_es_feed_rights_consumer', 'writer');
SET ROLE regress_es_feed_rights_consumer;
BEGIN;
SELECT position, type FROM es_fetch('s', 1);
SELECT es_append('shipping-1', '[{"type": "Requested"}]', 0, request_id => 'shipping:1');
SELECT es_advance('s', 0, 0, 1);
ROLLBACK;

-- What psql shows to one without rights; rights taken away are gone at once.
SET ROLE regress_es_feed_rights_none;
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT * FROM es_read_all();
SELECT es_horizon();
SELECT * FROM es_fetch('s');
SET ROLE regress_es_feed_rights_reader;
SELECT * FROM es_fetch('s');
SELECT count(*) FROM es_read_all();
SET ROLE regress_es_feed_rights;
REVOKE SELECT ON t_feed_rights.es_events FROM regress_es_feed_rights_reader;
SET ROLE regress_es_feed_rights_reader;
SELECT count(*) FROM es_read_all();
SELECT es_horizon() > 0 AS horizon;
SET ROLE regress_es_feed_rights;
REVOKE ALL ON SEQUENCE t_feed_rights.es_position_seq FROM regress_es_feed_rights_reader;
SET ROLE regress_es_feed_rights_reader;
SELECT es_horizon();
\set VERBOSITY default

SET ROLE regress_es_feed_rights;
DROP TABLE attempts, outcomes;
SELECT es_drop_store('t_feed_rights');
RESET ROLE;
DROP SCHEMA t_feed_rights;
DROP ROLE regress_es_feed_rights, regress_es_feed_rights_none, regress_es_feed_rights_reader, regress_es_feed_rights_writer, regress_es_feed_rights_consumer,
	regress_es_feed_rights_admin;
