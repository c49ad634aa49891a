-- Who sees the statistics of a store: members of pg_monitor without any right on it, and its readers.
SET client_min_messages = warning;
CREATE ROLE regress_es_stat_owner;
CREATE ROLE regress_es_stat_monitor IN ROLE pg_monitor;
CREATE ROLE regress_es_stat_reader;
CREATE ROLE regress_es_stat_none;
CREATE SCHEMA t_stat_rights AUTHORIZATION regress_es_stat_owner;
CREATE SCHEMA t_stat_rights_2 AUTHORIZATION regress_es_stat_owner;
SET ROLE regress_es_stat_owner;
SELECT es_create_store('t_stat_rights'), es_create_store('t_stat_rights_2');
SET eventstore.store = 't_stat_rights';
SELECT es_grant('regress_es_stat_reader', 'reader');
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_create_subscription('billing', partitions => 2);
RESET eventstore.store;
RESET ROLE;

CREATE FUNCTION pg_temp.seen() RETURNS TABLE (seen text)
LANGUAGE sql
AS $$
	SELECT format('%s: %s positions, %s conflicts', store, last_position, conflicts) FROM public.es_stat_store WHERE store ~ '^t_stat_rights'
	UNION ALL
	SELECT format('%s %s %s: lag %s', store, subscription, partition, lag) FROM public.es_stat_subscription WHERE store ~ '^t_stat_rights'
	ORDER BY 1
$$;
SET ROLE regress_es_stat_owner;
SELECT * FROM pg_temp.seen();
SET ROLE regress_es_stat_monitor;
SELECT * FROM pg_temp.seen();
SET ROLE regress_es_stat_reader;
SELECT * FROM pg_temp.seen();
SET ROLE regress_es_stat_none;
SELECT * FROM pg_temp.seen();
SELECT * FROM es_inspect_store('t_stat_rights');
SELECT * FROM es_inspect_partitions('t_stat_rights');

-- More it does not see, nor may it change the counters.
SET ROLE regress_es_stat_monitor;
\set VERBOSITY sqlstate
SELECT count(*) FROM t_stat_rights.es_events;
SELECT last_value FROM t_stat_rights.es_conflicts_seq;
SELECT setval('t_stat_rights.es_conflicts_seq', 7);
\set VERBOSITY default
-- No such store, and no store at all.
SELECT * FROM es_inspect_store('t_stat_rights_3');
SELECT * FROM es_inspect_store('public');
SELECT * FROM es_inspect_store(NULL);
SELECT * FROM es_inspect_partitions('pg_catalog');
RESET ROLE;

-- What an owner puts in the way runs with the owner's rights, even where a superuser looks.
SET ROLE regress_es_stat_owner;
CREATE TYPE t_stat_rights_2.number AS ENUM ('0');
CREATE FUNCTION t_stat_rights_2.cast_number(t_stat_rights_2.number) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	RAISE WARNING 'cast run by %', current_user;
	RETURN 0;
END
$$;
CREATE CAST (t_stat_rights_2.number AS bigint) WITH FUNCTION t_stat_rights_2.cast_number AS IMPLICIT;
ALTER TABLE t_stat_rights_2.es_watermark ALTER position TYPE t_stat_rights_2.number USING '0';
INSERT INTO t_stat_rights_2.es_watermark VALUES ('0');
RESET ROLE;
SET ROLE regress_es_stat_monitor;
SELECT watermark FROM es_stat_store WHERE store = 't_stat_rights_2';
RESET ROLE;
SELECT watermark FROM es_stat_store WHERE store = 't_stat_rights_2';

-- It cannot become somebody else there.
SET ROLE regress_es_stat_owner;
CREATE OR REPLACE FUNCTION t_stat_rights_2.cast_number(t_stat_rights_2.number) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	RESET ROLE;
	RETURN 0;
END
$$;
RESET ROLE;
SELECT watermark FROM es_stat_store WHERE store = 't_stat_rights_2';
-- Nor leave anything behind in the session.
SET ROLE regress_es_stat_owner;
CREATE OR REPLACE FUNCTION t_stat_rights_2.cast_number(t_stat_rights_2.number) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	CREATE TEMPORARY TABLE pg_class_of_mine (n integer);
	RETURN 0;
END
$$;
RESET ROLE;
SELECT watermark FROM es_stat_store WHERE store = 't_stat_rights_2';
-- Who cancels a look, and goes on, is where he was before it: nothing that he has done is undone later, nor is the search path that of the function.
SET ROLE regress_es_stat_owner;
CREATE OR REPLACE FUNCTION t_stat_rights_2.cast_number(t_stat_rights_2.number) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	RAISE EXCEPTION 'canceling' USING ERRCODE = 'query_canceled';
END
$$;
RESET ROLE;
CREATE TABLE t_stat_rights_2.looks (n integer);
DO $$
BEGIN
	PERFORM watermark FROM es_stat_store WHERE store = 't_stat_rights_2';
EXCEPTION WHEN query_canceled THEN
	RAISE WARNING 'caught: %', SQLERRM;
	INSERT INTO t_stat_rights_2.looks VALUES (1);
END
$$;
SHOW search_path;
INSERT INTO t_stat_rights_2.looks VALUES (2);
ROLLBACK;
SELECT n FROM t_stat_rights_2.looks ORDER BY n;
SET ROLE regress_es_stat_owner;
CREATE OR REPLACE FUNCTION t_stat_rights_2.cast_number(t_stat_rights_2.number) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	CREATE TEMPORARY TABLE pg_class_of_mine (n integer);
	RETURN 0;
END
$$;
RESET ROLE;
-- A store that cannot be read does not hide the others.
SELECT store, last_position FROM es_stat_store WHERE store ~ '^t_stat_rights' ORDER BY store;
SET ROLE regress_es_stat_owner;
DROP TABLE t_stat_rights_2.es_watermark;
RESET ROLE;
SELECT store, last_position FROM es_stat_store WHERE store ~ '^t_stat_rights' ORDER BY store;

-- Rights of one owner must not be lent to code of another.
ALTER TABLE t_stat_rights.es_subscriptions OWNER TO regress_es_stat_none;
SELECT store, last_position FROM es_stat_store WHERE store ~ '^t_stat_rights' ORDER BY store;
ALTER TABLE t_stat_rights.es_subscriptions OWNER TO regress_es_stat_owner;

-- Policies on events, forced on the owner, hide no lag.
SET ROLE regress_es_stat_owner;
ALTER TABLE t_stat_rights.es_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE t_stat_rights.es_subscriptions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
RESET ROLE;
SET ROLE regress_es_stat_monitor;
SELECT subscription, partition, lag, waiting_since IS NOT NULL AS waiting FROM es_stat_subscription WHERE store = 't_stat_rights' ORDER BY partition;
RESET ROLE;

SELECT es_drop_store('t_stat_rights'), es_drop_store('t_stat_rights_2');
REVOKE ALL ON SCHEMA t_stat_rights FROM regress_es_stat_reader;
DROP SCHEMA t_stat_rights, t_stat_rights_2 CASCADE;
DROP ROLE regress_es_stat_owner, regress_es_stat_monitor, regress_es_stat_reader, regress_es_stat_none;
