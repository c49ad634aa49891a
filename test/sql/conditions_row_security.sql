-- An event that a policy hides must not look missing to a condition: 42501.  es_query returns what the caller may see.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_row_security;
CREATE ROLE regress_es_conditions_row_security_a;
CREATE ROLE regress_es_conditions_row_security_b;
GRANT regress_es_conditions_row_security_a, regress_es_conditions_row_security_b TO regress_es_conditions_row_security;
CREATE SCHEMA t_conditions_row_security AUTHORIZATION regress_es_conditions_row_security;

CREATE FUNCTION pg_temp.outcome(conditions jsonb)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	detail text;
BEGIN
	RETURN (SELECT status FROM es_append_many(jsonb_build_array(jsonb_build_object('conditions', conditions))));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, CASE WHEN SQLSTATE = '42501' THEN detail END);
END
$$;

SET ROLE regress_es_conditions_row_security;
SELECT es_create_store('t_conditions_row_security');
SET eventstore.store = 't_conditions_row_security';
SELECT es_grant('regress_es_conditions_row_security_a', 'writer'), es_grant('regress_es_conditions_row_security_b', 'writer');
SELECT es_append('a/order-1', '[{"type": "Placed", "tags": ["t", "a"]}]', 0);
SELECT es_append('b/order-1', '[{"type": "Placed", "tags": ["t", "b"]}]', 0);
SELECT es_append('a/order-1', '[{"type": "Paid", "tags": ["t", "a"]}]', 1);
SELECT es_append('b/order-1', '[{"type": "Paid", "tags": ["t", "b"]}]', 1);

CREATE TABLE t_conditions_row_security.cases (n serial, conditions jsonb);
GRANT SELECT ON t_conditions_row_security.cases TO PUBLIC;
INSERT INTO t_conditions_row_security.cases (conditions) VALUES
	('[{"query": [{"tags": ["t"]}]}]'),
	('[{"query": [{"tags": ["t"]}], "after": 1}]'),
	('[{"query": [{"tags": ["t"]}], "after": 3}]'),
	('[{"query": [{"tags": ["t"]}], "after": 4}]'),
	('[{"query": [{"tags": ["a"]}], "after": 3}]'),
	('[{"query": [{"tags": ["b"]}], "after": 3}]'),
	('[{"query": [{"tags": ["b", "t"]}]}]'),
	('[{"query": [{"tags": ["t"], "types": ["Paid"]}], "after": 3}]'),
	('[{"query": [{"tags": ["t"], "types": ["Placed"]}], "after": 3}]'),
	('[{"query": [{"tags": ["b"], "types": ["Shipped"]}]}]'),
	('[{"query": [{"tags": ["a"]}, {"tags": ["b"]}]}]'),
	('[{"query": [{"tags": ["nothing"]}, {"tags": ["b"]}]}]'),
	('[{"query": [{"tags": ["nothing"]}]}]');

-- Hidden on es_events.
ALTER TABLE t_conditions_row_security.es_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON t_conditions_row_security.es_events USING (starts_with(key, right(current_user, 1) || '/'));
SET ROLE regress_es_conditions_row_security_a;
SELECT position, key, type FROM es_query('[{"tags": ["t"]}]');
SELECT position, key, type FROM es_query('[{"tags": ["b"]}]');
\pset format unaligned
SELECT conditions, pg_temp.outcome(conditions) FROM t_conditions_row_security.cases ORDER BY n;

-- Hidden on es_tags alone, and on both: the same outcomes.
SET ROLE regress_es_conditions_row_security;
CREATE POLICY tenant ON t_conditions_row_security.es_tags USING (starts_with(key, right(current_user, 1) || '/'));
CREATE TABLE t_conditions_row_security.outcomes (n integer, hidden text, outcome text);
GRANT INSERT, SELECT ON t_conditions_row_security.outcomes TO PUBLIC;
SET ROLE regress_es_conditions_row_security_a;
INSERT INTO t_conditions_row_security.outcomes SELECT n, 'events', pg_temp.outcome(conditions) FROM t_conditions_row_security.cases;
SET ROLE regress_es_conditions_row_security;
ALTER TABLE t_conditions_row_security.es_tags ENABLE ROW LEVEL SECURITY;
SET ROLE regress_es_conditions_row_security_a;
INSERT INTO t_conditions_row_security.outcomes SELECT n, 'both', pg_temp.outcome(conditions) FROM t_conditions_row_security.cases;
SET ROLE regress_es_conditions_row_security;
ALTER TABLE t_conditions_row_security.es_events DISABLE ROW LEVEL SECURITY;
SET ROLE regress_es_conditions_row_security_a;
INSERT INTO t_conditions_row_security.outcomes SELECT n, 'tags', pg_temp.outcome(conditions) FROM t_conditions_row_security.cases;
SELECT position, key, type FROM es_query('[{"tags": ["t"]}]');
SELECT n FROM t_conditions_row_security.outcomes GROUP BY n HAVING count(DISTINCT outcome) > 1 ORDER BY n;

-- What landed is not judged again: a repeat is one, though an event that its condition would mind has come and is hidden.
SET ROLE regress_es_conditions_row_security_a;
SELECT status FROM es_append_many('[{"key": "a/order-2", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["late"]}]}]}]', 'r-1');
SET ROLE regress_es_conditions_row_security_b;
SELECT es_append('b/order-2', '[{"type": "Placed", "tags": ["late"]}]', 0);
SET ROLE regress_es_conditions_row_security_a;
SELECT status FROM es_append_many('[{"key": "a/order-2", "events": [{"type": "Placed"}], "expected_version": 0, "conditions": [{"query": [{"tags": ["late"]}]}]}]', 'r-1');

-- The owner is not concerned, unless the policy is forced on him; nor is who may bypass it.
SET ROLE regress_es_conditions_row_security;
ALTER TABLE t_conditions_row_security.es_events ENABLE ROW LEVEL SECURITY;
SELECT n, pg_temp.outcome(conditions) FROM t_conditions_row_security.cases WHERE n <= 4 ORDER BY n;
ALTER TABLE t_conditions_row_security.es_events FORCE ROW LEVEL SECURITY;
ALTER TABLE t_conditions_row_security.es_tags FORCE ROW LEVEL SECURITY;
SELECT n, pg_temp.outcome(conditions) FROM t_conditions_row_security.cases WHERE n <= 4 ORDER BY n;
ALTER TABLE t_conditions_row_security.es_events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE t_conditions_row_security.es_tags NO FORCE ROW LEVEL SECURITY;
RESET ROLE;
ALTER ROLE regress_es_conditions_row_security_b BYPASSRLS;
SET ROLE regress_es_conditions_row_security_b;
SELECT n, pg_temp.outcome(conditions) FROM t_conditions_row_security.cases WHERE n <= 4 ORDER BY n;
RESET ROLE;
ALTER ROLE regress_es_conditions_row_security_b NOBYPASSRLS;

-- A plan made for one tenant does not serve another.
SET ROLE regress_es_conditions_row_security_a;
SELECT n, pg_temp.outcome(conditions) FROM t_conditions_row_security.cases WHERE n <= 3 ORDER BY n;
SELECT position FROM es_query('[{"tags": ["t"]}]');
SET ROLE regress_es_conditions_row_security_b;
SELECT n, pg_temp.outcome(conditions) FROM t_conditions_row_security.cases WHERE n <= 3 ORDER BY n;
SELECT position FROM es_query('[{"tags": ["t"]}]');

-- A write that its condition would let pass is refused as well, also as a row; the user is who he was.
SET ROLE regress_es_conditions_row_security_a;
\set SHOW_CONTEXT never
SELECT * FROM es_try_append_many('[{"key": "a/order-1", "events": [{"type": "Shipped"}], "expected_version": 2, "conditions": [{"query": [{"tags": ["t"]}], "after": 3}]}]');
SELECT * FROM es_append_each('[{"key": "a/order-1", "events": [{"type": "Shipped"}], "expected_version": 2, "conditions": [{"query": [{"tags": ["t"]}], "after": 3}]}]');
SELECT current_user;
SELECT count(*) FROM t_conditions_row_security.es_events;
\pset format aligned

SET ROLE regress_es_conditions_row_security;
SELECT key, version FROM t_conditions_row_security.es_aggregates ORDER BY key;
DROP TABLE t_conditions_row_security.cases, t_conditions_row_security.outcomes;
SELECT es_drop_store('t_conditions_row_security');
RESET ROLE;
DROP SCHEMA t_conditions_row_security;
DROP ROLE regress_es_conditions_row_security, regress_es_conditions_row_security_a, regress_es_conditions_row_security_b;
