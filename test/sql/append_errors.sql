-- An error in the middle of an append leaves nothing behind: no event, no version, no way past the guard.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_errors;
CREATE ROLE regress_es_append_errors_guest;
CREATE SCHEMA t_append_errors AUTHORIZATION regress_es_append_errors;
GRANT regress_es_append_errors_guest TO regress_es_append_errors;
GRANT USAGE ON SCHEMA t_append_errors TO regress_es_append_errors_guest;
SET ROLE regress_es_append_errors;
SELECT es_create_store('t_append_errors');
SET eventstore.store = 't_append_errors';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

CREATE FUNCTION t_append_errors.fail()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF current_setting('regress_es.fail', true) = 'on' THEN
		RAISE EXCEPTION 'out of paper' USING ERRCODE = 'P7777';
	END IF;
	RETURN NEW;
END
$$;

-- What a caller does who gets past an error: every kind of direct write, which must be refused each time.
CREATE FUNCTION t_append_errors.refusals()
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	attempt text;
	codes text[];
BEGIN
	FOREACH attempt IN ARRAY ARRAY[
		'UPDATE t_append_errors.es_aggregates SET version = 1000',
		'INSERT INTO t_append_errors.es_aggregates (key, version) VALUES (''forged-1'', 7)',
		'INSERT INTO t_append_errors.es_events SELECT position + 1000000, version + 1000, recorded_at, id, key, type FROM t_append_errors.es_events',
		'INSERT INTO t_append_errors.es_tags VALUES (''forged'', 1, ''order-1'', 1)',
		'DELETE FROM t_append_errors.es_events',
		'DELETE FROM t_append_errors.es_aggregates']
	LOOP
		BEGIN
			EXECUTE attempt;
			codes := codes || attempt;
		EXCEPTION WHEN OTHERS THEN
			codes := codes || SQLSTATE::text;
		END;
	END LOOP;
	RETURN array_to_string(codes, ' ');
END
$$;

-- Append while a trigger fails, catch that, and try to write directly in the same transaction.
CREATE FUNCTION t_append_errors.append_and_attack(append text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM set_config('regress_es.fail', 'on', true);
	EXECUTE append;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	-- The setting is rolled back with everything else.
	RETURN concat_ws(' ', SQLSTATE || ',', t_append_errors.refusals());
END
$$;

CREATE TEMPORARY TABLE appends (n serial, append text);
INSERT INTO appends (append) VALUES
	($$SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1)$$),
	($$SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]')$$),
	($$SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1, request_id => 'r-1')$$),
	($$SELECT es_try_append('order-1', '[{"type": "Paid", "tags": ["t"]}]', 1)$$),
	($$SELECT es_append_many('[{"key": "order-1", "events": [{"type": "Paid", "tags": ["t"]}]}, {"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]')$$),
	($$SELECT es_append_each('[{"key": "order-1", "events": [{"type": "Paid", "tags": ["t"]}]}, {"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]')$$);

\t on
CREATE TRIGGER aaa_fail BEFORE UPDATE ON t_append_errors.es_aggregates FOR EACH STATEMENT EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER aaa_fail ON t_append_errors.es_aggregates;
CREATE TRIGGER zzz_fail BEFORE UPDATE ON t_append_errors.es_aggregates FOR EACH STATEMENT EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER zzz_fail ON t_append_errors.es_aggregates;
CREATE TRIGGER fail BEFORE UPDATE ON t_append_errors.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER fail ON t_append_errors.es_aggregates;
CREATE TRIGGER fail AFTER UPDATE ON t_append_errors.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER fail ON t_append_errors.es_aggregates;
CREATE TRIGGER aaa_fail BEFORE INSERT ON t_append_errors.es_events FOR EACH STATEMENT EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER aaa_fail ON t_append_errors.es_events;
CREATE TRIGGER fail BEFORE INSERT ON t_append_errors.es_events FOR EACH ROW EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER fail ON t_append_errors.es_events;
CREATE TRIGGER fail AFTER INSERT ON t_append_errors.es_events FOR EACH STATEMENT EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER fail ON t_append_errors.es_events;
CREATE TRIGGER aaa_fail BEFORE INSERT ON t_append_errors.es_tags FOR EACH STATEMENT EXECUTE FUNCTION t_append_errors.fail();
SELECT n, t_append_errors.append_and_attack(append) FROM appends ORDER BY n;
DROP TRIGGER aaa_fail ON t_append_errors.es_tags;
\t off

-- At top level, and in a savepoint.
CREATE TRIGGER aaa_fail BEFORE INSERT ON t_append_errors.es_events FOR EACH STATEMENT EXECUTE FUNCTION t_append_errors.fail();
\set VERBOSITY sqlstate
SET regress_es.fail = on;
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
RESET regress_es.fail;
SELECT t_append_errors.refusals();
BEGIN;
SAVEPOINT before;
SET LOCAL regress_es.fail = on;
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
ROLLBACK TO before;
SELECT t_append_errors.refusals();
INSERT INTO t_append_errors.es_events SELECT * FROM t_append_errors.es_events WHERE false;
ROLLBACK;
\set VERBOSITY default
DROP TRIGGER aaa_fail ON t_append_errors.es_events;

-- The caller lacks a right on a table, the error is caught, and an owner's direct write follows.
GRANT SELECT, UPDATE ON t_append_errors.es_aggregates TO regress_es_append_errors_guest;
GRANT SELECT ON t_append_errors.es_events, t_append_errors.es_store TO regress_es_append_errors_guest;
BEGIN;
SAVEPOINT before;
SET LOCAL ROLE regress_es_append_errors_guest;
\set VERBOSITY sqlstate
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
\set VERBOSITY default
ROLLBACK TO before;
SELECT t_append_errors.refusals();
ROLLBACK;

-- An event that cannot be stored: here, the table has a constraint of the user's.
ALTER TABLE t_append_errors.es_events ADD CONSTRAINT not_on_sundays CHECK (type <> 'Delivered');
SELECT t_append_errors.append_and_attack($$SELECT es_append('order-1', '[{"type": "Shipped"}, {"type": "Delivered"}]', 1)$$);
SELECT t_append_errors.append_and_attack($$SELECT es_append_each('[{"key": "order-1", "events": [{"type": "Shipped"}]}, {"key": "order-2", "events": [{"type": "Delivered"}], "expected_version": 0}]')$$);

-- The sequence is used up.
BEGIN;
SELECT setval('t_append_errors.es_position_seq', 9223372036854775807) > 0 AS set;
SELECT t_append_errors.append_and_attack($$SELECT es_append('order-1', '[{"type": "Shipped"}]', 1)$$);
ROLLBACK;

-- Nothing of all that was written, and the next append finds the aggregate as it was.
SELECT key, version, type FROM t_append_errors.es_events ORDER BY key, version;
SELECT key, version FROM t_append_errors.es_aggregates ORDER BY key;
SELECT count(*) FROM t_append_errors.es_tags;
SELECT setval('t_append_errors.es_position_seq', (SELECT max(position) FROM t_append_errors.es_events)) > 0 AS set;
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);

DROP TABLE appends;
DROP FUNCTION t_append_errors.append_and_attack, t_append_errors.refusals, t_append_errors.fail;
SELECT es_drop_store('t_append_errors');
RESET ROLE;
DROP SCHEMA t_append_errors;
DROP ROLE regress_es_append_errors, regress_es_append_errors_guest;
