-- Which store a call uses: the one named by eventstore.store, else the first on the search path; never another.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_choice;
CREATE SCHEMA t_store_choice_a AUTHORIZATION regress_es_store_choice;
CREATE SCHEMA t_store_choice_b AUTHORIZATION regress_es_store_choice;
CREATE SCHEMA t_store_choice_none AUTHORIZATION regress_es_store_choice;
SET ROLE regress_es_store_choice;
\set SHOW_CONTEXT never

-- None at all.
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SELECT es_version('order-1');
SELECT * FROM es_read('order-1');
SHOW eventstore.store;

SELECT es_create_store('t_store_choice_a'), es_create_store('t_store_choice_b');
-- Neither is on the search path.
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

-- By setting, in turn, in one session.
SET eventstore.store = 't_store_choice_a';
SELECT es_append('order-1', '[{"type": "PlacedInA"}]', 0);
SET eventstore.store = 't_store_choice_b';
SELECT es_version('order-1');
SELECT es_append('order-1', '[{"type": "PlacedInB"}, {"type": "PaidInB"}]', 0);
SET eventstore.store = 't_store_choice_a';
SELECT es_append('order-1', '[{"type": "PaidInA"}]', 1);
SELECT version, type FROM es_read('order-1') ORDER BY version;
SET eventstore.store = 't_store_choice_b';
SELECT version, type FROM es_read('order-1') ORDER BY version;

-- By setting, within a transaction, with savepoints, and by a function's own setting.
BEGIN;
SET LOCAL eventstore.store = 't_store_choice_a';
SELECT es_append('order-2', '[{"type": "PlacedInA"}]', 0);
SAVEPOINT a;
SET LOCAL eventstore.store = 't_store_choice_b';
SELECT es_append('order-2', '[{"type": "PlacedInB"}]', 0);
ROLLBACK TO a;
SELECT es_version('order-2');
COMMIT;
SELECT es_version('order-2');
CREATE FUNCTION t_store_choice_none.in_a() RETURNS bigint LANGUAGE sql SET eventstore.store = t_store_choice_a
	AS $$ SELECT es_append('order-3', '[{"type": "PlacedInA"}]', 0) $$;
SELECT t_store_choice_none.in_a(), es_version('order-3');

-- By search path, also one that has schemas without a store, or that do not exist, before it.
RESET eventstore.store;
SET search_path = t_store_choice_a, public;
SELECT es_append('order-4', '[{"type": "PlacedInA"}]', 0);
SET search_path = t_store_choice_b, public;
SELECT es_append('order-4', '[{"type": "PlacedInB"}]', 0);
SET search_path = t_store_choice_none, t_store_choice_missing, public, t_store_choice_b, t_store_choice_a;
SELECT type FROM es_read('order-4');
SET search_path = public, t_store_choice_a, t_store_choice_b;
SELECT type FROM es_read('order-4');

-- The setting beats the search path, and falls back to nothing.
SET eventstore.store = 't_store_choice_b';
SELECT type FROM es_read('order-4');
SET eventstore.store = 't_store_choice_none';
SELECT type FROM es_read('order-4');
SELECT es_append('order-5', '[{"type": "Placed"}]', 0);
SELECT es_try_append('order-5', '[{"type": "Placed"}]', 0);
SELECT es_append_many('[{"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0}]');
SELECT es_append_each('[{"key": "order-5", "events": [{"type": "Placed"}], "expected_version": 0}]');
SELECT es_lock(ARRAY['order-5']);
SELECT es_find_request('order-5', 'r-1');
SELECT es_grant('regress_es_store_choice', 'reader');
SET eventstore.store = 't_store_choice_missing';
SELECT es_append('order-5', '[{"type": "Placed"}]', 0);
SELECT es_version('order-5');
SET eventstore.store = 'T_STORE_CHOICE_A';
SELECT es_version('order-4');
SET eventstore.store = '"t_store_choice_a"';
SELECT es_version('order-4');
SET eventstore.store = 't_store_choice_a, t_store_choice_b';
SELECT es_version('order-4');
SET eventstore.store = 't_store_choice_a.es_events';
SELECT es_version('order-4');
SET eventstore.store = '';
SELECT es_version('order-4');

-- A tenant whose store was dropped is not served by another's, with plans warm from before.
SET search_path = t_store_choice_a, public;
SELECT es_append('order-6', '[{"type": "PlacedInA"}]', 0);
SELECT es_drop_store('t_store_choice_a');
SELECT es_append('order-6', '[{"type": "PlacedInA"}]', 1);
SELECT es_version('order-4');
SET search_path = t_store_choice_none, public;
SELECT es_append('order-6', '[{"type": "PlacedInA"}]', 1);
RESET search_path;

-- A transaction over two stores.
SELECT es_create_store('t_store_choice_a');
BEGIN;
SET LOCAL eventstore.store = 't_store_choice_a';
SELECT es_append('outbox-1', '[{"type": "Sent"}]', 0);
SET LOCAL eventstore.store = 't_store_choice_b';
SELECT es_append('inbox-1', '[{"type": "Received"}]', 0);
ROLLBACK;
SELECT count(*) FROM t_store_choice_a.es_events;
SELECT count(*) FROM t_store_choice_b.es_events WHERE key = 'inbox-1';

-- Dropping or checking one store leaves the other alone.
SELECT es_drop_store('t_store_choice_a');
SELECT * FROM es_check_store('t_store_choice_b');
SELECT key, version FROM t_store_choice_b.es_aggregates ORDER BY key;
SELECT es_drop_store('t_store_choice_b');
DROP FUNCTION t_store_choice_none.in_a;
RESET ROLE;
DROP SCHEMA t_store_choice_a, t_store_choice_b, t_store_choice_none;
DROP ROLE regress_es_store_choice;
