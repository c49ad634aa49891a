-- With eventstore.require_expected_version, an append to an existing aggregate must say which version it expects.
SET client_min_messages = warning;
CREATE ROLE regress_es_require_expected_version;
CREATE SCHEMA t_require_expected_version AUTHORIZATION regress_es_require_expected_version;
SET ROLE regress_es_require_expected_version;
SELECT es_create_store('t_require_expected_version');
SET eventstore.store = 't_require_expected_version';
SHOW eventstore.require_expected_version;
SELECT es_append('order-1', '[{"type": "Placed"}]', 0, request_id => 'r-1');

SET eventstore.require_expected_version = on;
\set SHOW_CONTEXT never
SELECT es_append('order-1', '[{"type": "Paid"}]');
SELECT es_append('order-1', '[{"type": "Paid"}]', allow_create => true);
SELECT es_try_append('order-1', '[{"type": "Paid"}]');
SELECT es_append_many('[{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}, {"key": "order-1", "events": [{"type": "Paid"}]}]');
SELECT es_try_append_many('[{"key": "order-1", "events": [{"type": "Paid"}]}]');
SELECT es_append_each('[{"key": "order-2", "events": [{"type": "Placed"}], "expected_version": 0}, {"key": "order-1", "events": [{"type": "Paid"}]}]');
SELECT key, version FROM t_require_expected_version.es_aggregates ORDER BY key;

-- Everything else is as usual: with a version, to a missing aggregate, a guard, a repeat.
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
SELECT status, version FROM es_try_append('order-1', '[{"type": "Shipped"}]', 1);
SELECT es_append('order-2', '[{"type": "Placed"}]', allow_create => true);
SELECT status, version FROM es_try_append('order-3', '[{"type": "Placed"}]');
SELECT key, status, version FROM es_append_many('[{"key": "order-1"}, {"key": "order-3", "events": [{"type": "Placed"}], "allow_create": true}]');
SELECT key, status, version FROM es_append_each('[{"key": "order-4", "events": [{"type": "Placed"}], "allow_create": true}]');
SELECT es_append('order-1', '[{"type": "Placed"}]', request_id => 'r-1');

-- SET LOCAL opts out, for one transaction, and anyone may.
BEGIN;
SET LOCAL eventstore.require_expected_version = off;
SELECT es_append('order-1', '[{"type": "Noted"}]');
COMMIT;
\set VERBOSITY sqlstate
SELECT es_append('order-1', '[{"type": "Noted"}]');
\set VERBOSITY default

-- Off again, as by default.
RESET eventstore.require_expected_version;
SELECT es_append('order-1', '[{"type": "Noted"}]');
SELECT key, version FROM t_require_expected_version.es_aggregates ORDER BY key;

SELECT es_drop_store('t_require_expected_version');
RESET ROLE;
DROP SCHEMA t_require_expected_version;
DROP ROLE regress_es_require_expected_version;
