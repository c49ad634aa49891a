-- Operators, functions, types and tables of the same names, in a schema before pg_catalog on the search path, are never used.
SET client_min_messages = warning;
CREATE ROLE regress_es_query_search_path;
CREATE SCHEMA t_query_search_path AUTHORIZATION regress_es_query_search_path;
CREATE SCHEMA t_query_search_path_evil AUTHORIZATION regress_es_query_search_path;
SET ROLE regress_es_query_search_path;

DO $$
DECLARE
	o record;
BEGIN
	-- All binary operators on the types that a query touches: they raise the alarm.
	FOR o IN SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
			 FROM pg_operator
			 WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b'
				 AND oprleft = ANY ('{text,bigint,integer,jsonb,text[],anyarray,anyelement,anycompatiblearray,boolean,uuid,timestamptz}'::regtype[]::oid[])
				 AND oprright = ANY ('{text,bigint,integer,jsonb,text[],anyarray,anyelement,anycompatiblearray,boolean,uuid,timestamptz}'::regtype[]::oid[])
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION t_query_search_path_evil.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', md5(o.oprname), o.l, o.r, o.result,
						   'BEGIN RAISE EXCEPTION ''hijacked'' USING ERRCODE = ''XX666''; END');
			EXECUTE format('CREATE OPERATOR t_query_search_path_evil.%s (FUNCTION = t_query_search_path_evil.op_%s, LEFTARG = %s, RIGHTARG = %s)', o.oprname, md5(o.oprname), o.l, o.r);
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	-- The operators of arrays and texts in exactly the form that a query needs.
	EXECUTE $f$CREATE FUNCTION t_query_search_path_evil.alarm(text[], text[]) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''hijacked'' USING ERRCODE = ''XX666''; END'$f$;
	EXECUTE 'CREATE OPERATOR t_query_search_path_evil.@> (FUNCTION = t_query_search_path_evil.alarm, LEFTARG = text[], RIGHTARG = text[])';
	FOR o IN SELECT unnest(ARRAY['count(*)', 'cardinality(text[])', 'split_part(text, text, integer)', 'split_part(text, unknown, integer)', 'unnest(text[])', 'es_category(text)', 'coalesce(text)']) AS f
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION t_query_search_path_evil.%s RETURNS text LANGUAGE plpgsql AS %L', o.f, 'BEGIN RAISE EXCEPTION ''hijacked'' USING ERRCODE = ''XX666''; END');
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	FOR o IN SELECT unnest(ARRAY['text', 'int8', 'jsonb', '_text', 'bool']) AS name
	LOOP
		EXECUTE format('CREATE DOMAIN t_query_search_path_evil.%I AS pg_catalog.%I CHECK (false)', o.name, o.name);
	END LOOP;
	FOR o IN SELECT unnest(ARRAY['es_events', 'es_aggregates', 'es_tags', 'es_position_seq', 'pg_class']) AS name
	LOOP
		EXECUTE format('CREATE TABLE t_query_search_path_evil.%I (n integer)', o.name);
	END LOOP;
END
$$;
SELECT count(*) > 30 AS many_operators FROM pg_operator WHERE oprnamespace = 't_query_search_path_evil'::regnamespace;

-- From a first session on, in which nothing has been cached yet.
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_query_search_path;
SELECT es_create_store('t_query_search_path');
SET search_path = t_query_search_path_evil, pg_catalog, public;
SET eventstore.store = 't_query_search_path';
SELECT ARRAY['a'::pg_catalog.text] @> ARRAY['a'::pg_catalog.text];
SELECT public.es_append('order-1', '[{"type": "Placed", "tags": ["t", "u"]}, {"type": "Paid", "tags": ["u"]}]', 0);
SELECT position, key, type FROM public.es_query('[{"tags": ["t", "u"], "types": ["Placed", "Paid"], "categories": ["order"]}, {"tags": ["u"]}]');
SELECT position, key, type FROM public.es_query('[{"tags": ["u"], "categories": ["invoice"]}]', 1);
SELECT entry, key, status FROM public.es_append_many('[
	{"conditions": [{"query": [{"tags": ["u", "t"], "types": ["Paid"]}]}]},
	{"key": "order-1", "events": [{"type": "Shipped", "tags": ["t"]}], "conditions": [{"query": [{"tags": ["u"], "categories": ["order"]}], "after": 2}]}]');
SELECT entry, key, status FROM public.es_try_append_many('[{"key": "order-2", "events": [{"type": "Placed", "tags": ["v"]}], "expected_version": 0}, {"conditions": [{"query": [{"tags": ["v"], "types": ["Placed"], "categories": ["order"]}]}]}]');
SELECT entry, key, status FROM public.es_append_each('[{"key": "order-1", "events": [{"type": "Back", "tags": ["t"]}], "conditions": [{"query": [{"tags": ["t"]}]}]}]');

-- With a policy, which makes it look as the owner too.
RESET ROLE;
CREATE ROLE regress_es_query_search_path_guest;
SET ROLE regress_es_query_search_path;
SELECT public.es_grant('regress_es_query_search_path_guest', 'writer');
GRANT USAGE ON SCHEMA t_query_search_path_evil TO regress_es_query_search_path_guest;
ALTER TABLE t_query_search_path.es_events ENABLE ROW LEVEL SECURITY;
RESET ROLE;
SET ROLE regress_es_query_search_path_guest;
\set SHOW_CONTEXT never
SELECT count(*) FROM public.es_query('[{"tags": ["t"]}]');
SELECT public.es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}]}]}]');
RESET ROLE;

SET search_path = pg_catalog, public;
SET client_min_messages = error;
DROP SCHEMA t_query_search_path_evil CASCADE;
SET ROLE regress_es_query_search_path;
SELECT public.es_drop_store('t_query_search_path');
RESET ROLE;
DROP OWNED BY regress_es_query_search_path_guest;
DROP SCHEMA t_query_search_path;
DROP ROLE regress_es_query_search_path, regress_es_query_search_path_guest;
