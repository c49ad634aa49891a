-- The functions, types and settings of the extension: every one documented, and no change goes unseen.
SELECT p.proname AS function, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'eventstore'
ORDER BY p.proname, pg_get_function_arguments(p.oid) COLLATE "C";

SELECT p.proname AS function, p.prokind AS kind, p.provolatile AS volatility, p.proparallel AS parallel, p.proisstrict AS strict,
	   p.prosecdef AS definer, p.proretset AS set, p.prosupport <> 0 AS support, l.lanname AS language,
	   has_function_privilege('public', p.oid, 'EXECUTE') AS public
FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
JOIN pg_language AS l ON l.oid = p.prolang
WHERE d.deptype = 'e' AND e.extname = 'eventstore'
ORDER BY p.proname, pg_get_function_arguments(p.oid) COLLATE "C";

-- Types and views, and their columns.  The row type of a view is a member from PostgreSQL 17 on.
SELECT t.typname AS type, a.attname AS "column", format_type(a.atttypid, a.atttypmod) AS column_type
FROM pg_depend AS d JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
LEFT JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
WHERE d.deptype = 'e' AND e.extname = 'eventstore' AND t.typelem = 0
	AND t.typrelid NOT IN (SELECT oid FROM pg_class WHERE relkind = 'v')
ORDER BY t.typname, a.attnum;
SELECT c.relname AS relation, a.attname AS "column", format_type(a.atttypid, a.atttypmod) AS column_type
FROM pg_depend AS d JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE d.deptype = 'e' AND e.extname = 'eventstore'
ORDER BY c.relname, a.attnum;

-- Members of any other kind.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS member
FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'eventstore' AND d.classid NOT IN ('pg_proc'::regclass, 'pg_type'::regclass)
ORDER BY pg_describe_object(d.classid, d.objid, d.objsubid) COLLATE "C";

-- What has no comment.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS undocumented
FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'eventstore' AND obj_description(d.objid, d.classid::regclass::name) IS NULL
	AND pg_describe_object(d.classid, d.objid, d.objsubid) !~ '\[\]$'
	AND NOT (d.classid = 'pg_type'::regclass AND d.objid IN (SELECT reltype FROM pg_class WHERE relkind = 'v'))
ORDER BY pg_describe_object(d.classid, d.objid, d.objsubid) COLLATE "C";
SELECT obj_description(oid, 'pg_extension') IS NOT NULL AS documented, extrelocatable, extnamespace::regnamespace, extconfig
FROM pg_extension WHERE extname = 'eventstore';

-- The settings, once the library is loaded.
SELECT es_category('order-1');
SELECT name, context, vartype, boot_val, short_desc <> '' AS documented FROM pg_settings WHERE name LIKE 'eventstore.%' ORDER BY name;
-- A mistyped one is refused.
SET eventstore.stor = 'x';
