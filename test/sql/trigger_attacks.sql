-- A user's trigger that fires inside an append gains no right to change the log.
SET client_min_messages = warning;
CREATE ROLE regress_es_trigger_attacks;
CREATE SCHEMA t_trigger_attacks AUTHORIZATION regress_es_trigger_attacks;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

SET ROLE regress_es_trigger_attacks;
SELECT es_create_store('t_trigger_attacks');
SET eventstore.store = 't_trigger_attacks';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}, {"type": "Paid", "tags": ["t"]}]', 0);

-- The trigger does what its argument says, once.
CREATE FUNCTION t_trigger_attacks.attack()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		EXECUTE TG_ARGV[0];
	END IF;
	RETURN NEW;
END
$$;

-- Append while the attack is installed; report the outcome, and the log if it has changed.
CREATE FUNCTION t_trigger_attacks.append_under(firing text, attack text, append text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	outcome text;
	log text;
BEGIN
	EXECUTE format('CREATE TRIGGER %s EXECUTE FUNCTION t_trigger_attacks.attack(%L)', firing, attack);
	outcome := pg_temp.refusal(append);
	EXECUTE format('DROP TRIGGER %s ON t_trigger_attacks.%s', split_part(firing, ' ', 1), substring(firing FROM 't_trigger_attacks\.(\w+)'));
	log := concat((SELECT string_agg(concat_ws(' ', key, version, type), ', ' ORDER BY key, version) FROM t_trigger_attacks.es_events),
				  '; ', (SELECT string_agg(concat_ws(' ', key, version), ', ' ORDER BY key) FROM t_trigger_attacks.es_aggregates),
				  '; ', (SELECT string_agg(concat_ws(' ', tag, key, version), ', ' ORDER BY tag, key, version) FROM t_trigger_attacks.es_tags));
	IF log <> 'order-1 1 Placed, order-1 2 Paid; order-1 2; t order-1 1, t order-1 2' THEN
		RETURN concat_ws(', log now ', outcome, log);
	END IF;
	RETURN outcome;
END
$$;

CREATE TEMPORARY TABLE firings (n serial, firing text);
INSERT INTO firings (firing) VALUES
	('before_row BEFORE INSERT ON t_trigger_attacks.es_events FOR EACH ROW'),
	('after_row AFTER INSERT ON t_trigger_attacks.es_events FOR EACH ROW'),
	('after_statement AFTER INSERT ON t_trigger_attacks.es_events FOR EACH STATEMENT'),
	('aaa_before_the_guard BEFORE INSERT ON t_trigger_attacks.es_events FOR EACH STATEMENT'),
	('zzz_after_the_guard BEFORE INSERT ON t_trigger_attacks.es_events FOR EACH STATEMENT'),
	('before_row BEFORE UPDATE ON t_trigger_attacks.es_aggregates FOR EACH ROW'),
	('after_row AFTER UPDATE ON t_trigger_attacks.es_aggregates FOR EACH ROW'),
	('after_statement AFTER UPDATE ON t_trigger_attacks.es_aggregates FOR EACH STATEMENT'),
	('aaa_before_the_guard BEFORE UPDATE ON t_trigger_attacks.es_aggregates FOR EACH STATEMENT'),
	('zzz_after_the_guard BEFORE UPDATE ON t_trigger_attacks.es_aggregates FOR EACH STATEMENT'),
	('before_row BEFORE INSERT ON t_trigger_attacks.es_tags FOR EACH ROW'),
	('aaa_before_the_guard BEFORE INSERT ON t_trigger_attacks.es_tags FOR EACH STATEMENT');
CREATE TEMPORARY TABLE attacks (n serial, attack text);
INSERT INTO attacks (attack) VALUES
	('DELETE FROM t_trigger_attacks.es_events'),
	('UPDATE t_trigger_attacks.es_events SET type = ''Forged'''),
	('INSERT INTO t_trigger_attacks.es_events SELECT position + 1000000, version + 1000, recorded_at, id, key, type FROM t_trigger_attacks.es_events WHERE version = 1'),
	('UPDATE t_trigger_attacks.es_aggregates SET version = 1000'),
	('DELETE FROM t_trigger_attacks.es_aggregates'),
	('INSERT INTO t_trigger_attacks.es_aggregates (key, version) VALUES (''forged-1'', 7)'),
	('INSERT INTO t_trigger_attacks.es_tags VALUES (''forged'', 1, ''order-1'', 1)'),
	('DELETE FROM t_trigger_attacks.es_tags');
CREATE TEMPORARY TABLE appends (n serial, append text);
INSERT INTO appends (append) VALUES
	($$SELECT es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2)$$),
	($$SELECT es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}, {"type": "Delivered"}]')$$),
	($$SELECT es_try_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2, request_id => 'r-1')$$),
	($$SELECT es_append_many('[{"key": "order-1", "events": [{"type": "Shipped", "tags": ["t"]}], "expected_version": 2},
							   {"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]')$$),
	($$SELECT es_append_each('[{"key": "order-1", "events": [{"type": "Shipped", "tags": ["t"]}], "expected_version": 2},
							   {"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]')$$);

-- Each attack, from each kind of trigger, in each form of append: always 42501, and the log as before.
SELECT f.firing, a.attack, string_agg(DISTINCT outcome, ' | ') AS outcomes
FROM firings AS f, attacks AS a, appends AS p,
	 LATERAL (SELECT t_trigger_attacks.append_under(f.firing, a.attack, p.append) AS outcome OFFSET 0) AS o
GROUP BY f.n, f.firing, a.n, a.attack
HAVING count(*) FILTER (WHERE outcome <> '42501') > 0
ORDER BY f.n, a.n;
SELECT count(*) AS tried FROM firings, attacks, appends;

-- The same from an append inside an append.
CREATE OR REPLACE FUNCTION t_trigger_attacks.attack()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		PERFORM es_append('nested-1', '[{"type": "Nested", "tags": ["t"]}]', allow_create => true);
	ELSIF pg_trigger_depth() = 2 THEN
		EXECUTE TG_ARGV[0];
	END IF;
	RETURN NEW;
END
$$;
SELECT f.firing, a.attack, string_agg(DISTINCT outcome, ' | ') AS outcomes
FROM firings AS f, attacks AS a, appends AS p,
	 LATERAL (SELECT t_trigger_attacks.append_under(f.firing, a.attack, p.append) AS outcome OFFSET 0) AS o
WHERE f.firing LIKE '%es\_events%'
GROUP BY f.n, f.firing, a.n, a.attack
HAVING count(*) FILTER (WHERE outcome <> '42501') > 0
ORDER BY f.n, a.n;

-- When the trigger hides its failure, the append goes through, and the log holds what was appended.
CREATE OR REPLACE FUNCTION t_trigger_attacks.attack()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		BEGIN
			EXECUTE TG_ARGV[0];
			RAISE EXCEPTION 'the attack succeeded';
		EXCEPTION WHEN insufficient_privilege THEN
			NULL;
		END;
	END IF;
	RETURN NEW;
END
$$;
BEGIN;
CREATE TRIGGER quiet BEFORE INSERT ON t_trigger_attacks.es_events FOR EACH ROW EXECUTE FUNCTION t_trigger_attacks.attack('DELETE FROM t_trigger_attacks.es_events');
CREATE TRIGGER quiet AFTER UPDATE ON t_trigger_attacks.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_trigger_attacks.attack('UPDATE t_trigger_attacks.es_aggregates SET version = 1000');
CREATE TRIGGER quiet AFTER INSERT ON t_trigger_attacks.es_tags FOR EACH STATEMENT EXECUTE FUNCTION t_trigger_attacks.attack('DELETE FROM t_trigger_attacks.es_tags');
SELECT es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}, {"type": "Delivered"}]', 2);
SELECT key, version, type FROM t_trigger_attacks.es_events ORDER BY key, version;
SELECT key, version FROM t_trigger_attacks.es_aggregates;
SELECT tag, version FROM t_trigger_attacks.es_tags ORDER BY version;
ROLLBACK;

-- Nor does a policy that is checked inside an append or while reading.
CREATE FUNCTION t_trigger_attacks.attack_from_policy()
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
	attack constant text := current_setting('regress_es.attack');
BEGIN
	-- Once: the attack is checked by the policy too.
	PERFORM set_config('regress_es.attack', 'SELECT 1', true);
	EXECUTE attack;
	RETURN true;
END
$$;
ALTER TABLE t_trigger_attacks.es_aggregates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE t_trigger_attacks.es_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY attack ON t_trigger_attacks.es_aggregates USING (t_trigger_attacks.attack_from_policy());
CREATE POLICY attack ON t_trigger_attacks.es_events USING (t_trigger_attacks.attack_from_policy());
CREATE FUNCTION t_trigger_attacks.call_under(attack text, call text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM set_config('regress_es.attack', attack, true);
	RETURN pg_temp.refusal(call);
END
$$;
SELECT call, attack, outcome
FROM (SELECT append AS call, n FROM appends UNION ALL VALUES ('SELECT es_version(''order-1'')', 6), ('SELECT es_read(''order-1'')', 7)) AS calls, attacks AS a,
	 LATERAL (SELECT t_trigger_attacks.call_under(attack, call) AS outcome OFFSET 0) AS o
WHERE outcome <> '42501'
ORDER BY calls.n, a.n;
ALTER TABLE t_trigger_attacks.es_aggregates DISABLE ROW LEVEL SECURITY;
ALTER TABLE t_trigger_attacks.es_events DISABLE ROW LEVEL SECURITY;
SELECT key, version, type FROM t_trigger_attacks.es_events ORDER BY key, version;
SELECT key, version FROM t_trigger_attacks.es_aggregates;
SELECT tag, version FROM t_trigger_attacks.es_tags ORDER BY version;
DROP POLICY attack ON t_trigger_attacks.es_aggregates;
DROP POLICY attack ON t_trigger_attacks.es_events;

DROP TABLE firings, attacks, appends;
DROP FUNCTION t_trigger_attacks.append_under, t_trigger_attacks.attack,
	t_trigger_attacks.attack_from_policy, t_trigger_attacks.call_under;
SELECT es_drop_store('t_trigger_attacks');
RESET ROLE;
DROP SCHEMA t_trigger_attacks;
DROP ROLE regress_es_trigger_attacks;
