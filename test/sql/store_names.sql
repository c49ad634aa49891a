-- A schema's name may need quoting.
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE ROLE "regress_es_store names ""A""";
CREATE SCHEMA "Tenant ""A"" é" AUTHORIZATION "regress_es_store names ""A""";
SET ROLE "regress_es_store names ""A""";
\set SHOW_CONTEXT never

SELECT es_create_store('Tenant "A" é');
SET eventstore.store = 'Tenant "A" é';
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0, request_id => 'r-1');
SELECT es_append('order-1', '[{"type": "Placed", "tags": ["t"]}]', 0, request_id => 'r-1');
SELECT count(*) FROM es_append_many('[{"key": "order-1", "events": [{"type": "Paid"}], "expected_version": 1}, {"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}]');
SELECT count(*) FROM es_append_each('[{"key": "order-1", "events": [{"type": "Shipped"}], "expected_version": 2}]');
SELECT version, type FROM es_read('order-1') ORDER BY version;
SELECT * FROM es_lock(ARRAY['order-1', 'order-3']);
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
SELECT es_upgrade_store('Tenant "A" é');
SELECT * FROM es_check_store('Tenant "A" é');
DELETE FROM "Tenant ""A"" é".es_events;
RESET ROLE;
CREATE ROLE "regress_es_store names ""B""";
SET ROLE "regress_es_store names ""A""";
SELECT es_grant('"regress_es_store names ""B"""', 'writer');

-- By search path.
RESET eventstore.store;
SET search_path = "Tenant ""A"" é", public;
SELECT es_version('order-1');
RESET search_path;

-- Names that look like something else.
RESET ROLE;
SELECT es_create_store('t''; DROP SCHEMA public; --'), es_create_store('%s $1 {}'), es_create_store('SELECT'), es_create_store(E'back\\slash\nnewline');
SELECT s, set_config('eventstore.store', s, false) = s AS set, es_append('order-1', '[{"type": "Placed"}]', 0), es_append('order-1', '[{"type": "Paid"}]', 1)
FROM unnest(ARRAY['t''; DROP SCHEMA public; --', '%s $1 {}', 'SELECT', E'back\\slash\nnewline']) AS s;
-- As long as a name can be.
SELECT es_create_store(repeat('é', 31)::name);
SET eventstore.store = 'ééééééééééééééééééééééééééééééé';
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SELECT es_version('order-1');
SELECT count(*) FROM pg_namespace WHERE nspname = repeat('é', 31);
SELECT es_drop_store(s) FROM unnest(ARRAY['t''; DROP SCHEMA public; --', '%s $1 {}', 'SELECT', E'back\\slash\nnewline', repeat('é', 31)]::name[]) AS s;
SELECT nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE relname = 'es_store' AND nspname !~ '^t_' ORDER BY nspname COLLATE "C";
DROP SCHEMA "t'; DROP SCHEMA public; --", "%s $1 {}", "SELECT", U&"back\\slash\000Anewline", "ééééééééééééééééééééééééééééééé";

RESET eventstore.store;
SET ROLE "regress_es_store names ""A""";
SELECT es_drop_store('Tenant "A" é');
RESET ROLE;
DROP SCHEMA "Tenant ""A"" é";
DROP ROLE "regress_es_store names ""A""", "regress_es_store names ""B""";
