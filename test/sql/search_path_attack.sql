-- Objects with the names of built-in ones, in a schema before pg_catalog on the search path, are never used.
SET client_min_messages = warning;
CREATE ROLE regress_es_search_path_attack;
CREATE SCHEMA t_search_path_attack AUTHORIZATION regress_es_search_path_attack;
CREATE SCHEMA t_search_path_attack_evil AUTHORIZATION regress_es_search_path_attack;
CREATE ROLE regress_es_search_path_attack_guest;

-- Whatever calls one of these leaves a trace, and fails.
SET ROLE regress_es_search_path_attack;
SET search_path = t_search_path_attack_evil;
CREATE FUNCTION hijacked() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked' USING ERRCODE = 'XX666'; END $$;
DO $$
DECLARE
	f record;
BEGIN
	-- A function of the same name and arguments, raising the alarm, for the functions that an event store may want to use.
	FOR f IN SELECT p.oid, p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
			 FROM pg_proc AS p
			 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0
				 AND p.proargmodes IS NULL AND p.prorettype <> ALL ('{internal,trigger,event_trigger,language_handler,index_am_handler,table_am_handler,fdw_handler,tsm_handler,cstring}'::regtype[])
				 AND NOT p.proargtypes::oid[] && '{internal,cstring}'::regtype[]::oid[]
				 AND p.proname ~ '^(nextval|setval|currval|lastval|now|clock_timestamp|statement_timestamp|transaction_timestamp|gen_random_uuid|uuid.*|jsonb?_.*|to_jsonb?|row_to_json|array_.*|unnest|generate_s.*|length|octet_length|concat.*|format|quote_.*|left|right|substr.*|strpos|position|starts_with|split_part|text.*|int[248]*(eq|ne|lt|gt|le|ge|pl|mi|mul|div|um|inc|_avg.*|smaller|larger)?|bt.*|hash.*|name.*|oid.*|bool.*|coalesce|greatest|least|current_schemas?|current_database|current_setting|set_config|has_.*|pg_get_.*|pg_table_is_visible|pg_try_advisory.*|pg_advisory.*|format_type|obj_description|col_description|to_reg.*|abs|mod|max|min|count|repeat|replace|regexp_.*|numeric.*|timestamptz.*|extract|date_part|md5|convert.*|encode|decode|row_number|txid.*|pg_current.*|pg_backend_pid|pg_snapshot.*|string_to_array|aclexplode|make_.*)$'
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION %I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
						   'BEGIN RAISE EXCEPTION ''hijacked'' USING ERRCODE = ''XX666''; END');
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	-- An operator of the same name and operands for every operator there is a hijacked function for.
	FOR f IN SELECT o.oprname, o.oprleft, o.oprright, o.oprresult FROM pg_operator AS o
			 WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
				 AND o.oprleft = ANY ('{text,bigint,integer,smallint,name,oid,boolean,jsonb,uuid,timestamptz,numeric,char,text[],bigint[],anyarray,anyelement,regclass,xid}'::regtype[]::oid[])
				 AND o.oprright = ANY ('{text,bigint,integer,smallint,name,oid,boolean,jsonb,uuid,timestamptz,numeric,char,text[],bigint[],anyarray,anyelement,interval}'::regtype[]::oid[])
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', md5(f.oprname), f.oprleft::regtype, f.oprright::regtype, f.oprresult::regtype,
						   'BEGIN RAISE EXCEPTION ''hijacked'' USING ERRCODE = ''XX666''; END');
			EXECUTE format('CREATE OPERATOR %s (FUNCTION = operator_%s, LEFTARG = %s, RIGHTARG = %s)', f.oprname, md5(f.oprname), f.oprleft::regtype, f.oprright::regtype);
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	-- A domain of the same name that takes nothing, for every type.
	FOR f IN SELECT unnest(ARRAY['text', 'int8', 'int4', 'int2', 'bool', 'name', 'oid', 'jsonb', 'json', 'uuid', 'timestamptz', 'numeric', '_text', '_int8', 'regclass', 'regrole', 'regnamespace', 'interval']) AS name
	LOOP
		EXECUTE format('CREATE DOMAIN %I AS pg_catalog.%I CHECK (hijacked())', f.name, f.name);
	END LOOP;
	-- A table of the same name for every catalog.
	FOR f IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
	LOOP
		EXECUTE format('CREATE TABLE %I (n integer)', f.relname);
	END LOOP;
	-- And tables with the names of a store's, but for es_store, which would make it one.
	FOR f IN SELECT unnest(ARRAY['es_events', 'es_aggregates', 'es_tags', 'es_position_seq']) AS name
	LOOP
		EXECUTE format('CREATE TABLE %I (n integer)', f.name);
	END LOOP;
END
$$;
SET search_path = pg_catalog;
SELECT count(*) > 500 AS many_functions FROM pg_proc WHERE pronamespace = 't_search_path_attack_evil'::regnamespace;
SELECT count(*) > 50 AS many_operators FROM pg_operator WHERE oprnamespace = 't_search_path_attack_evil'::regnamespace;

-- It works as an attack on what is not careful.
SET search_path = t_search_path_attack_evil, pg_catalog, public;
SELECT length('x'::pg_catalog.text);
SELECT 1::pg_catalog.int8 OPERATOR(pg_catalog.=) 1, 'x'::text;

-- From a first session on, in which nothing has been cached yet.
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_search_path_attack;
SET search_path = t_search_path_attack_evil, pg_catalog, public;
SELECT public.es_create_store('t_search_path_attack');
SET eventstore.store = 't_search_path_attack';
SELECT public.es_append('order-1', '[{"type": "Placed", "tags": ["t", "u"]}, {"type": "Paid"}]', 0);
SELECT public.es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2, false, 'r-1');
SELECT public.es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2, false, 'r-1');
SELECT public.es_append('order-1', '[{"type": "Noted"}]');
SELECT public.es_append('order-2', '[{"type": "Placed"}]', NULL, true);
\set SHOW_CONTEXT never
SELECT public.es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT public.es_append('order-3', '[{"type": "Shipped"}]');
SELECT public.es_append('order-1', '[{"type": "Shipped"}]', 2, false, 'r-1');
SELECT public.es_append('order-1', '[{"tipe": "Shipped"}]', 4);
SELECT key, status, version FROM public.es_try_append('order-1', '[{"type": "Returned"}]', 4);
SELECT entry, key, status, version FROM public.es_append_many('[{"key": "order-1", "events": [{"type": "T", "tags": ["t"]}]}, {"key": "order-9", "expected_version": 0}, {"key": "order-2", "expected_version": 1}]', 'r-2');
SELECT entry, key, status, version FROM public.es_append_many('[{"key": "order-1", "events": [{"type": "T", "tags": ["t"]}]}, {"key": "order-9", "expected_version": 0}, {"key": "order-2", "expected_version": 1}]', 'r-2');
SELECT entry, key, status, version FROM public.es_try_append_many('[{"key": "order-1", "events": [{"type": "T"}], "expected_version": 1}, {"key": "order-9"}]');
SELECT entry, key, status, version FROM public.es_append_each('[{"key": "order-1", "events": [{"type": "T"}], "expected_version": 1}, {"key": "order-8", "events": [{"type": "T"}], "allow_create": true, "request_id": "r-3"}]');
SELECT entry, key, status, version FROM public.es_find_request('order-1', 'r-1');
SELECT key, version, type, tags FROM public.es_read('order-1');
SELECT key, version, type FROM public.es_read('order-1', 2, 5, 2, true);
SELECT public.es_version('order-1'), public.es_category('order-1');
SELECT key, version FROM public.es_lock('{order-2,order-7,order-1}');
SELECT key, version FROM public.es_lock('{order-2,order-7,order-1}', true);
SELECT public.es_grant('regress_es_search_path_attack_guest', 'reader'), public.es_grant('regress_es_search_path_attack_guest', 'writer'), public.es_grant('regress_es_search_path_attack_guest', 'admin');
SELECT public.es_upgrade_store('t_search_path_attack');
SELECT finding FROM public.es_check_store('t_search_path_attack');
DELETE FROM t_search_path_attack.es_events;
TRUNCATE t_search_path_attack.es_aggregates;
EXPLAIN (COSTS OFF) SELECT * FROM public.es_read('order-1');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT public.es_append('order-1', '[{"type": "T"}]', 6);
SELECT entry, key, status, version FROM public.es_append_many('[{"key": "order-1", "events": [{"type": "T", "tags": ["t"]}]}, {"key": "order-9", "expected_version": 0}, {"key": "order-2", "expected_version": 1}]');
COMMIT;

-- The store by search path, behind the evil schema.
RESET eventstore.store;
SET search_path = t_search_path_attack_evil, pg_catalog, t_search_path_attack, public;
SELECT public.es_append('order-2', '[{"type": "Paid"}]', 1);
SELECT public.es_version('order-2');
SELECT public.es_create_store('t_search_path_attack', true);
SELECT public.es_drop_store('t_search_path_attack');

SET search_path = pg_catalog, public;
SELECT count(*) FROM pg_class WHERE relnamespace = 't_search_path_attack'::regnamespace;
SET client_min_messages = error;
DROP SCHEMA t_search_path_attack_evil CASCADE;
RESET ROLE;
DROP OWNED BY regress_es_search_path_attack_guest;
DROP SCHEMA t_search_path_attack;
DROP ROLE regress_es_search_path_attack, regress_es_search_path_attack_guest;
