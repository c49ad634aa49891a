-- The functions, types and views of eventstore_message_db: every one documented, and no change goes unseen.
SET client_min_messages = warning;
CREATE EXTENSION eventstore_message_db;
SELECT p.proname AS function, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result, p.provolatile AS volatility, p.prosecdef AS definer
FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'eventstore_message_db'
ORDER BY p.proname COLLATE "C";
SELECT a.attrelid::regclass::text COLLATE "C" AS relation, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) AS columns
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'message_store'::regnamespace AND a.attnum > 0 GROUP BY 1 ORDER BY 1;

-- What has no comment.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS undocumented
FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'eventstore_message_db' AND obj_description(d.objid, d.classid::regclass::name) IS NULL
	AND pg_describe_object(d.classid, d.objid, d.objsubid) !~ '\[\]$'
	AND NOT (d.classid = 'pg_type'::regclass AND d.objid IN (SELECT reltype FROM pg_class WHERE relkind = 'v'))
ORDER BY pg_describe_object(d.classid, d.objid, d.objsubid) COLLATE "C";
SELECT obj_description(oid, 'pg_extension') IS NOT NULL AS documented, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'eventstore_message_db';

-- The role may use all of it.
SELECT count(*) FILTER (WHERE has_function_privilege('message_store', p.oid, 'EXECUTE')) = count(*) AS functions FROM pg_proc AS p WHERE p.pronamespace = 'message_store'::regnamespace;
SELECT count(*) FILTER (WHERE has_table_privilege('message_store', c.oid, 'SELECT')) = count(*) AS views FROM pg_class AS c WHERE c.relnamespace = 'message_store'::regnamespace AND c.relkind = 'v';

DROP EXTENSION eventstore_message_db;
DROP SCHEMA message_store;
