-- Row-level security by a prefix of the key holds for the functions: what a policy hides cannot be written or locked.
SET client_min_messages = warning;
CREATE ROLE regress_es_row_security;
CREATE ROLE regress_es_row_security_a;
CREATE ROLE regress_es_row_security_b;
GRANT regress_es_row_security_a, regress_es_row_security_b TO regress_es_row_security;
CREATE SCHEMA t_row_security AUTHORIZATION regress_es_row_security;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE command;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN format('%s rows', n);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

SET ROLE regress_es_row_security;
SELECT es_create_store('t_row_security');
SET eventstore.store = 't_row_security';
SELECT es_grant('regress_es_row_security_a', 'writer'), es_grant('regress_es_row_security_b', 'writer');
ALTER TABLE t_row_security.es_aggregates ENABLE ROW LEVEL SECURITY;
ALTER TABLE t_row_security.es_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON t_row_security.es_aggregates USING (starts_with(key, right(current_user, 1) || '/'));
CREATE POLICY tenant ON t_row_security.es_events USING (starts_with(key, right(current_user, 1) || '/'));

-- Each tenant works on its own keys as if there were no policy.
SET ROLE regress_es_row_security_a;
SELECT es_append('a/order-1', '[{"type": "Placed", "tags": ["t"]}]', 0);
SELECT es_append('a/order-1', '[{"type": "Paid"}]', 1);
SELECT es_append('a/order-1', '[{"type": "Shipped"}]');
SELECT key, status, version FROM es_append_many('[
	{"key": "a/order-1", "expected_version": 3},
	{"key": "a/order-2", "events": [{"type": "Placed"}], "allow_create": true},
	{"key": "a/order-3", "expected_version": 0}]', 'r-1');
SELECT key, status, version FROM es_append_each('[
	{"key": "a/order-2", "events": [{"type": "Paid"}], "expected_version": 1},
	{"key": "a/order-2", "events": [{"type": "Paid"}], "expected_version": 1}]');
SELECT key, status, version FROM es_try_append('a/order-2', '[{"type": "Placed"}]', 0, request_id => 'r-1');
SELECT status, version FROM es_find_request('a/order-2', 'r-1');
SELECT * FROM es_lock(ARRAY['a/order-1', 'a/order-9']);
SET ROLE regress_es_row_security_b;
SELECT es_append('b/order-1', '[{"type": "Placed"}]', 0);

-- Reading: what is hidden is not there.
SELECT es_version('b/order-1'), es_version('a/order-1');
SELECT key, version, type FROM es_read('b/order-1');
SELECT key, version, type FROM es_read('a/order-1');
SELECT status FROM es_find_request('a/order-2', 'r-1');

-- Writing and locking: whatever the caller expects, a hidden aggregate is an error and never looks missing, and so is a key that may not be created.
SELECT call,
	   pg_temp.refusal(format(call, 'b/order-1')) AS visible,
	   pg_temp.refusal(format(call, 'a/order-1')) AS hidden,
	   pg_temp.refusal(format(call, 'a/order-8')) AS forbidden
FROM (VALUES
	(1, $$SELECT es_append('%s', '[{"type": "T"}]', 0)$$),
	(2, $$SELECT es_append('%s', '[{"type": "T"}]', 0, true)$$),
	(3, $$SELECT es_append('%s', '[{"type": "T"}]', 1)$$),
	(4, $$SELECT es_append('%s', '[{"type": "T"}]', 2)$$),
	(5, $$SELECT es_append('%s', '[{"type": "T"}]', 3, true)$$),
	(6, $$SELECT es_append('%s', '[{"type": "T"}]')$$),
	(7, $$SELECT es_append('%s', '[{"type": "T"}]', allow_create => true)$$),
	(8, $$SELECT es_append('%s', '[{"type": "T"}]', 5, request_id => 'r-9')$$),
	(9, $$SELECT es_try_append('%s', '[{"type": "T"}]', 0)$$),
	(10, $$SELECT es_try_append('%s', '[{"type": "T"}]')$$),
	(11, $$SELECT es_append_many('[{"key": "%s", "events": [{"type": "T"}], "expected_version": 0}]')$$),
	(12, $$SELECT es_append_many('[{"key": "%s", "events": [{"type": "T"}]}, {"key": "b/order-7", "events": [{"type": "T"}], "expected_version": 0}]')$$),
	(13, $$SELECT es_try_append_many('[{"key": "%s", "events": [{"type": "T"}], "expected_version": 0}]')$$),
	(14, $$SELECT es_append_each('[{"key": "%s", "events": [{"type": "T"}], "allow_create": true}]')$$),
	(15, $$SELECT es_append_each('[{"key": "%s", "events": [{"type": "T"}], "request_id": "r-9"}]')$$)
) AS calls (n, call)
ORDER BY n;

-- Guards that need an aggregate to be there, and locks.
SELECT pg_temp.refusal($$SELECT es_append_many('[{"key": "a/order-1"}]')$$) AS exists,
	   pg_temp.refusal($$SELECT es_append_many('[{"key": "a/order-1", "expected_version": 3}]')$$) AS version,
	   pg_temp.refusal($$SELECT es_lock(ARRAY['a/order-1'])$$) AS lock,
	   pg_temp.refusal($$SELECT es_lock(ARRAY['b/order-1', 'a/order-1'])$$) AS locks;

-- What psql shows.
\set SHOW_CONTEXT never
SELECT es_append('a/order-1', '[{"type": "T"}]', 3);

-- A policy that shows a row but does not let it be changed.
SET ROLE regress_es_row_security;
DROP POLICY tenant ON t_row_security.es_aggregates;
CREATE POLICY all_read ON t_row_security.es_aggregates FOR SELECT USING (true);
CREATE POLICY tenant_insert ON t_row_security.es_aggregates FOR INSERT WITH CHECK (starts_with(key, right(current_user, 1) || '/'));
CREATE POLICY tenant_update ON t_row_security.es_aggregates FOR UPDATE USING (starts_with(key, right(current_user, 1) || '/'));
SET ROLE regress_es_row_security_b;
SELECT es_version('a/order-1');
SELECT pg_temp.refusal($$SELECT es_append('a/order-1', '[{"type": "T"}]', 3)$$) AS current,
	   pg_temp.refusal($$SELECT es_append('a/order-1', '[{"type": "T"}]')$$) AS unconditional,
	   pg_temp.refusal($$SELECT es_append_many('[{"key": "a/order-1", "events": [{"type": "T"}], "expected_version": 3}]')$$) AS many,
	   pg_temp.refusal($$SELECT es_lock(ARRAY['a/order-1'])$$) AS lock;

-- A policy on the events alone stops the append as well.
SET ROLE regress_es_row_security;
DROP POLICY all_read ON t_row_security.es_aggregates;
DROP POLICY tenant_insert ON t_row_security.es_aggregates;
DROP POLICY tenant_update ON t_row_security.es_aggregates;
CREATE POLICY everyone ON t_row_security.es_aggregates USING (true);
SET ROLE regress_es_row_security_b;
SELECT pg_temp.refusal($$SELECT es_append('a/order-1', '[{"type": "T"}]', 3)$$) AS existing,
	   pg_temp.refusal($$SELECT es_append('a/order-8', '[{"type": "T"}]', 0)$$) AS missing;

-- A policy that hides an event from the one who wrote it must not make a repeat look new.
SET ROLE regress_es_row_security;
DROP POLICY tenant ON t_row_security.es_events;
CREATE POLICY no_secrets ON t_row_security.es_events FOR SELECT USING (type <> 'Secret');
CREATE POLICY any_event ON t_row_security.es_events FOR INSERT WITH CHECK (true);
SET ROLE regress_es_row_security_b;
SELECT es_append('b/order-2', '[{"type": "Secret"}]', 0, request_id => 'r-1');
SELECT pg_temp.refusal($$SELECT es_append('b/order-2', '[{"type": "Secret"}]', 0, request_id => 'r-1')$$) AS stale,
	   pg_temp.refusal($$SELECT es_append('b/order-2', '[{"type": "Secret"}]', request_id => 'r-1')$$) AS unconditional,
	   pg_temp.refusal($$SELECT es_append_many('[{"key": "b/order-2", "events": [{"type": "Secret"}]}]', 'r-1')$$) AS many;
SELECT es_version('b/order-2');
SET ROLE regress_es_row_security;
DROP POLICY no_secrets ON t_row_security.es_events;
DROP POLICY any_event ON t_row_security.es_events;
CREATE POLICY tenant ON t_row_security.es_events USING (starts_with(key, right(current_user, 1) || '/'));

-- The owner is above the policies, until they are forced on him.
SET ROLE regress_es_row_security;
SELECT es_append('a/order-1', '[{"type": "Returned"}]', 3);
ALTER TABLE t_row_security.es_aggregates FORCE ROW LEVEL SECURITY;
ALTER TABLE t_row_security.es_events FORCE ROW LEVEL SECURITY;
DROP POLICY everyone ON t_row_security.es_aggregates;
CREATE POLICY tenant ON t_row_security.es_aggregates USING (starts_with(key, right(current_user, 1) || '/'));
SELECT es_version('a/order-1'), pg_temp.refusal($$SELECT es_read('a/order-1')$$) AS read,
	   pg_temp.refusal($$SELECT es_append('a/order-1', '[{"type": "T"}]', 4)$$) AS existing,
	   pg_temp.refusal($$SELECT es_append('a/order-8', '[{"type": "T"}]', 0)$$) AS missing,
	   pg_temp.refusal($$SELECT es_append('y/order-1', '[{"type": "T"}]', 0)$$) AS own;
ALTER TABLE t_row_security.es_aggregates NO FORCE ROW LEVEL SECURITY;
ALTER TABLE t_row_security.es_events NO FORCE ROW LEVEL SECURITY;

-- A plan made for one tenant does not serve another.
SET ROLE regress_es_row_security_a;
SELECT es_append('a/order-1', '[{"type": "T"}]', 4);
SET ROLE regress_es_row_security_b;
SELECT pg_temp.refusal($$SELECT es_append('a/order-1', '[{"type": "T"}]', 5)$$);
SET ROLE regress_es_row_security_a;
SELECT es_append('a/order-1', '[{"type": "T"}]', 5);

-- Nothing was written but what was reported.
SET ROLE regress_es_row_security;
SELECT key, version FROM t_row_security.es_aggregates ORDER BY key;
SELECT key, count(*), max(version) FROM t_row_security.es_events GROUP BY key ORDER BY key;

DROP POLICY tenant ON t_row_security.es_aggregates;
DROP POLICY tenant ON t_row_security.es_events;
SELECT es_drop_store('t_row_security');
RESET ROLE;
DROP SCHEMA t_row_security;
DROP ROLE regress_es_row_security, regress_es_row_security_a, regress_es_row_security_b;
