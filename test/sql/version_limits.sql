-- Versions at the limits of bigint: an error where there is no next version, never a wrong one.
SET client_min_messages = warning;
SELECT es_create_store('t_version_limits');
SET eventstore.store = 't_version_limits';
SET eventstore.allow_direct_writes = on;
INSERT INTO t_version_limits.es_aggregates (key, version) VALUES
	('last-1', 9223372036854775807), ('last-2', 9223372036854775806), ('last-3', 9223372036854775805), ('large-1', 4294967296);
RESET eventstore.allow_direct_writes;
CREATE ROLE regress_es_version_limits;
SELECT es_grant('regress_es_version_limits', 'writer');
SET ROLE regress_es_version_limits;

SELECT es_version('last-1'), es_version('last-2'), es_version('large-1');
\set VERBOSITY sqlstate
SELECT es_append('last-1', '[{"type": "T"}]');
SELECT es_append('last-1', '[{"type": "T"}]', 9223372036854775807);
SELECT es_append('last-2', '[{"type": "T"}, {"type": "T"}]');
SELECT es_append('last-2', '[{"type": "T"}, {"type": "T"}]', 9223372036854775806);
SELECT es_try_append('last-1', '[{"type": "T"}]');
SELECT es_append_many('[{"key": "last-3", "events": [{"type": "T"}]}, {"key": "last-3", "events": [{"type": "T"}, {"type": "T"}]}]');
SELECT es_append_each('[{"key": "last-1", "events": [{"type": "T"}]}]');
SELECT es_append_many('[{"key": "large-1", "events": [{"type": "T"}]}, {"key": "last-1", "events": [{"type": "T"}]}]');
SELECT es_append_each('[{"key": "large-1", "events": [{"type": "T"}]}, {"key": "last-2", "events": [{"type": "T"}, {"type": "T"}]}]');
\set VERBOSITY default
SELECT es_append('last-2', '[{"type": "T"}]', 9223372036854775806);
SELECT es_append('last-3', '[{"type": "T"}, {"type": "T"}]');
SELECT es_append('large-1', '[{"type": "T"}]', 4294967296);
SELECT version FROM es_read('last-3') ORDER BY version;
SELECT version FROM es_read('last-3', 9223372036854775807);
SELECT version FROM es_read('large-1', 4294967297, 4294967297);

-- As expected versions.
\set VERBOSITY terse
SELECT es_append('new-1', '[{"type": "T"}]', 9223372036854775807, true);
SELECT es_append('last-1', '[{"type": "T"}]', 0);
SELECT es_append('last-1', '[{"type": "T"}]', 9223372036854775806);
SELECT es_append('large-1', '[{"type": "T"}]', 1);
SELECT status, version FROM es_try_append_many('[{"key": "last-1", "expected_version": 9223372036854775807}]');
SELECT status, version FROM es_try_append_many('[{"key": "last-1", "expected_version": 9223372036854775806}]');
SELECT status, version FROM es_try_append_many('[{"key": "large-1", "events": [{"type": "T"}], "expected_version": 1}]');
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM es_append('last-1', '[{"type": "T"}]', 9223372036854775806);
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE WARNING '% %', detail::jsonb #>> '{conflicts,0,expected}', detail::jsonb #>> '{conflicts,0,actual}';
END
$$;
\set VERBOSITY default
SELECT key, version FROM t_version_limits.es_aggregates ORDER BY key;
SELECT key, version FROM t_version_limits.es_events ORDER BY key, version;

RESET ROLE;
SELECT es_drop_store('t_version_limits');
DROP SCHEMA t_version_limits;
DROP ROLE regress_es_version_limits;
