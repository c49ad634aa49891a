-- Arguments that are NULL or out of range are refused by every function.
SET client_min_messages = warning;
CREATE ROLE regress_es_bad_arguments;
CREATE SCHEMA t_bad_arguments AUTHORIZATION regress_es_bad_arguments;

CREATE FUNCTION pg_temp.refusal(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;

SET ROLE regress_es_bad_arguments;
SELECT es_create_store('t_bad_arguments');
SET eventstore.store = 't_bad_arguments';
SELECT es_append('k-1', '[{"type": "T"}]', 0);

\pset format unaligned
\t on
SELECT label, pg_temp.refusal('SELECT * FROM ' || call)
FROM (VALUES
	(1, 'NULL key', $$es_append(NULL, '[{"type": "T"}]')$$),
	(2, 'NULL events', $$es_append('k-1', NULL)$$),
	(3, 'NULL allow_create', $$es_append('k-1', '[{"type": "T"}]', 1, NULL)$$),
	(4, 'NULL key', $$es_try_append(NULL, '[{"type": "T"}]')$$),
	(5, 'NULL events', $$es_try_append('k-1', NULL)$$),
	(6, 'NULL allow_create', $$es_try_append('k-1', '[{"type": "T"}]', 1, NULL)$$),
	(7, 'NULL writes', $$es_append_many(NULL)$$),
	(8, 'NULL writes', $$es_try_append_many(NULL)$$),
	(9, 'NULL writes', $$es_append_each(NULL)$$),
	(10, 'NULL key', $$es_find_request(NULL, 'r-1')$$),
	(11, 'NULL request_id', $$es_find_request('k-1', NULL)$$),
	(12, 'NULL key', $$es_read(NULL)$$),
	(13, 'NULL from_version', $$es_read('k-1', NULL)$$),
	(14, 'NULL backwards', $$es_read('k-1', backwards => NULL)$$),
	(15, 'NULL key', $$es_version(NULL)$$),
	(16, 'NULL keys', $$es_lock(NULL)$$),
	(17, 'NULL in keys', $$es_lock(ARRAY['k-1', NULL])$$),
	(18, 'NULL nowait', $$es_lock(ARRAY['k-1'], NULL)$$),
	(19, 'NULL schema_name', $$es_create_store(NULL)$$),
	(20, 'NULL if_not_exists', $$es_create_store('t_bad_arguments', NULL)$$),
	(21, 'NULL schema_name', $$es_drop_store(NULL)$$),
	(22, 'NULL schema_name', $$es_upgrade_store(NULL)$$),
	(23, 'NULL schema_name', $$es_check_store(NULL)$$),
	(24, 'NULL role', $$es_grant(NULL, 'reader')$$),
	(25, 'NULL privileges', $$es_grant('regress_es_bad_arguments', NULL)$$),
	(30, 'empty key', $$es_append('', '[{"type": "T"}]', 0)$$),
	(31, 'empty key', $$es_try_append('', '[{"type": "T"}]', 0)$$),
	(32, 'empty key', $$es_read('')$$),
	(33, 'empty key', $$es_version('')$$),
	(34, 'empty key', $$es_lock(ARRAY['k-1', ''])$$),
	(35, 'key of 513 bytes', $$es_append(repeat('k', 513), '[{"type": "T"}]', 0)$$),
	(36, 'key of 513 bytes', $$es_try_append(repeat('k', 513), '[{"type": "T"}]', 0)$$),
	(37, 'key of 513 bytes', $$es_read(repeat('k', 513))$$),
	(38, 'key of 513 bytes', $$es_version(repeat('k', 513))$$),
	(39, 'key of 513 bytes', $$es_lock(ARRAY[repeat('k', 513)])$$),
	(40, 'negative expected_version', $$es_append('k-1', '[{"type": "T"}]', -1)$$),
	(41, 'negative expected_version', $$es_try_append('k-1', '[{"type": "T"}]', -1)$$),
	(42, 'negative expected_version of a missing aggregate', $$es_append('k-2', '[{"type": "T"}]', -1, true)$$),
	(43, 'lowest expected_version', $$es_append('k-1', '[{"type": "T"}]', '-9223372036854775808')$$),
	(44, 'from_version 0', $$es_read('k-1', 0)$$),
	(45, 'negative from_version', $$es_read('k-1', -1)$$),
	(46, 'negative to_version', $$es_read('k-1', 1, -1)$$),
	(47, 'negative max_count', $$es_read('k-1', 1, NULL, -1)$$),
	(48, 'from_version 0 of a missing aggregate', $$es_read('k-2', 0)$$),
	(50, 'empty request_id', $$es_append('k-1', '[{"type": "T"}]', 1, request_id => '')$$),
	(51, 'request_id of 256 bytes', $$es_append('k-1', '[{"type": "T"}]', 1, request_id => repeat('r', 256))$$),
	(52, 'empty request_id', $$es_append_many('[{"key": "k-1", "events": [{"type": "T"}]}]', '')$$),
	(53, 'request_id of 256 bytes', $$es_try_append_many('[{"key": "k-1", "events": [{"type": "T"}]}]', repeat('r', 256))$$),
	(54, 'unknown privileges', $$es_grant('regress_es_bad_arguments', 'owner')$$),
	(55, 'empty privileges', $$es_grant('regress_es_bad_arguments', '')$$),
	(56, 'privileges in other case', $$es_grant('regress_es_bad_arguments', 'Reader')$$),
	(57, 'unknown role', $$es_grant('regress_es_nobody', 'reader')$$),
	(59, 'empty schema_name', $$es_create_store('')$$)
) AS calls (n, label, call)
ORDER BY n;
\t off

-- es_category alone has NULL for NULL.
SELECT es_category(NULL) IS NULL AS is_null;

-- Empty keys in an array of none is nothing to lock.
SELECT * FROM es_lock('{}');

-- NULL is no expectation, and no request id.
SELECT es_append('k-1', '[{"type": "T"}]', NULL, false, NULL);
SELECT count(*) FROM es_append_many('[{"key": "k-1", "events": [{"type": "T"}]}]', NULL);
SELECT count(*) FROM es_read('k-1', 1, NULL, NULL);
SELECT key, version, request_id FROM t_bad_arguments.es_events ORDER BY key, version;
SELECT key, version FROM t_bad_arguments.es_aggregates ORDER BY key;

\pset format aligned
SELECT es_drop_store('t_bad_arguments');
RESET ROLE;
DROP SCHEMA t_bad_arguments;
DROP ROLE regress_es_bad_arguments;
