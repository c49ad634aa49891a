-- The tables of a store, as the contract has them: users may rely on every column and key.
SET client_min_messages = warning;
CREATE ROLE regress_es_store_tables;
CREATE SCHEMA t_store_tables AUTHORIZATION regress_es_store_tables;
SET ROLE regress_es_store_tables;
SELECT es_create_store('t_store_tables');

SELECT relname AS "table", attname AS "column", format_type(atttypid, atttypmod) AS type, attnotnull AS not_null,
	   nullif(collname, 'default') AS "collation", pg_get_expr(adbin, adrelid) AS "default"
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE relnamespace = 't_store_tables'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
ORDER BY relname, attnum;

SELECT indexrelid::regclass AS index, indisprimary AS "primary", indisunique AS "unique", pg_get_indexdef(indexrelid) AS definition
FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
WHERE relnamespace = 't_store_tables'::regnamespace ORDER BY indexrelid::regclass::text COLLATE "C";

-- No foreign keys; whatever constraints there are, but for the not-null ones, which newer servers list here too.
SELECT conrelid::regclass AS "table", conname, contype FROM pg_constraint
WHERE connamespace = 't_store_tables'::regnamespace AND contype <> 'n' ORDER BY conrelid::regclass::text COLLATE "C", conname;

-- The guards.
SELECT tgrelid::regclass AS "table", tgname, tgenabled, tgfoid::regproc AS function, pg_get_triggerdef(t.oid) AS definition
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
WHERE relnamespace = 't_store_tables'::regnamespace ORDER BY tgrelid::regclass::text COLLATE "C", tgname;

SELECT relname, relkind, relpersistence, reloptions, relreplident, obj_description(oid, 'pg_class') AS comment
FROM pg_class WHERE relnamespace = 't_store_tables'::regnamespace AND relkind <> 'i' ORDER BY relname;
SELECT relname, attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE relnamespace = 't_store_tables'::regnamespace AND relkind = 'r' AND attnum > 0 AND col_description(c.oid, attnum) IS NULL
ORDER BY relname, attnum;

SELECT data_type, start_value, min_value, max_value, increment_by, cycle, cache_size
FROM pg_sequences WHERE schemaname = 't_store_tables' AND sequencename = 'es_position_seq';

-- None of it is a member of the extension, or of a type of it; only the guards depend on it.
SELECT c.relname, d.deptype FROM pg_depend AS d JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
WHERE c.relnamespace = 't_store_tables'::regnamespace
	AND (d.refclassid = 'pg_extension'::regclass OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN
		 (SELECT objid FROM pg_depend WHERE classid = 'pg_type'::regclass AND deptype = 'e'))
ORDER BY c.relname;

-- An append to an existing aggregate is a HOT update.
SET eventstore.store = 't_store_tables';
SELECT es_append('order-' || n, '[{"type": "Placed"}]', 0) FROM generate_series(1, 3) AS n;
BEGIN;
SELECT es_append('order-' || n, '[{"type": "Paid"}]', 1) FROM generate_series(1, 3) AS n;
SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE schemaname = 't_store_tables' AND relname = 'es_aggregates';
COMMIT;

SELECT es_drop_store('t_store_tables');
RESET ROLE;
DROP SCHEMA t_store_tables;
DROP ROLE regress_es_store_tables;
