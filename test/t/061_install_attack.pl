# CREATE EXTENSION in a database that somebody has prepared: objects with the names of
# ours are never taken over, and functions and operators with the names of built-in ones,
# or of ours with other arguments, in the extension's own schema are never called.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');

# Whatever calls one of these fails with XX666.
my $hijack = q(
	CREATE FUNCTION hijacked() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked' USING ERRCODE = 'XX666'; END $$;
);

# What the extension's script makes, as the names of its own functions, views and types.
$node->safe_psql('postgres', 'CREATE DATABASE reference');
$node->safe_psql('reference', 'CREATE EXTENSION eventstore');
my @members = split /\n/, $node->safe_psql(
	'reference', q(
	SELECT CASE WHEN d.classid = 'pg_proc'::regclass THEN (SELECT format('FUNCTION|%s|%s|%s', proname, pg_get_function_identity_arguments(oid), prokind) FROM pg_proc WHERE oid = d.objid)
				WHEN d.classid = 'pg_class'::regclass THEN (SELECT format('VIEW|%s', relname) FROM pg_class WHERE oid = d.objid)
				WHEN d.classid = 'pg_type'::regclass THEN (SELECT format('TYPE|%s', typname) FROM pg_type WHERE oid = d.objid AND typcategory = 'C' AND NOT EXISTS (SELECT FROM pg_class WHERE relname = typname AND relkind = 'v')) END
	FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE d.deptype = 'e' AND e.extname = 'eventstore' ORDER BY 1));
@members = grep { $_ ne '' } @members;
cmp_ok(scalar @members, '>', 40, 'the extension has members');

# ---------------------------------------------------------------------------
# An object of the same name: the install fails as a whole and takes nothing over.
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql('prepared', 'CREATE ROLE mallory; GRANT CREATE ON SCHEMA public TO mallory; GRANT CREATE ON DATABASE prepared TO mallory');
my @taken;
foreach my $member (@members)
{
	my ($kind, $name, $arguments, $prokind) = split /\|/, $member;

	next if $kind eq 'FUNCTION' && $arguments =~ /internal/;
	$arguments = '' if !defined $arguments;
	$arguments =~ s/\b(?:es_event|es_append_result)\b/text/g;
	my $make =
	    $kind eq 'TYPE' ? "CREATE TYPE $name AS (evil text)"
	  : $kind eq 'VIEW' ? "CREATE VIEW $name AS SELECT 1 AS evil"
	  : $prokind eq 'p' ? "CREATE PROCEDURE $name($arguments) LANGUAGE plpgsql AS 'BEGIN PERFORM hijacked(); END'"
	  : $name eq 'es_guard' ? "CREATE FUNCTION $name() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM hijacked(); END'"
	  : "CREATE FUNCTION $name($arguments) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM hijacked(); END'";
	my ($made) = run_sql($node, 'prepared', "SET ROLE mallory; $make");
	my ($state) = run_sql($node, 'prepared', 'CREATE EXTENSION eventstore');
	my $installed = $node->safe_psql('prepared', q(SELECT count(*) FROM pg_extension WHERE extname = 'eventstore'));

	push @taken, "$member: $made, $state, $installed" if $made ne '00000' || $state !~ /^(?:42710|42723|42P07)$/ || $installed ne '0';
	my $drop = $kind eq 'FUNCTION' ? ($prokind eq 'p' ? 'PROCEDURE' : 'FUNCTION') : $kind;
	$node->safe_psql('prepared', "DROP $drop $name");
}
is(join("\n", @taken), '', 'whatever is there before keeps the extension from being made, as a whole');
my ($state) = run_sql($node, 'prepared', 'CREATE EXTENSION eventstore');
is($state, '00000', 'without them it is made');

# ---------------------------------------------------------------------------
# Overloads in the extension's schema.
# ---------------------------------------------------------------------------

# The schema is one in which mallory may create, and mallory was there first.
$node->safe_psql('postgres', 'CREATE DATABASE overloaded');
$node->safe_psql('overloaded', 'CREATE SCHEMA ext; GRANT ALL ON SCHEMA ext TO mallory');

# Functions and operators like the built-in ones, for other types into which arguments could be turned.
my $planted = q(
	SET ROLE mallory;
	SET search_path = ext;
	) . $hijack . q(
	SET search_path = pg_catalog;
	DO $do$
	DECLARE
		f record;
		t text;
	BEGIN
		FOR f IN SELECT DISTINCT proname, pronargs FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND pronargs BETWEEN 0 AND 3
			AND proname ~ '^(format|greatest|least|coalesce|concat_ws|nullif|count|max|min|hashtextextended|current_setting|set_config|to_regclass|has_.*_privilege|pg_.*last_value|nextval|clock_timestamp|current_schema|current_database|cardinality|unnest|array_agg|octet_length|jsonb_build_object|quote_.*|split_part|pg_advisory_xact_lock|inet_client_addr|generate_series|text|name|int8|int4)$'
		LOOP
			FOREACH t IN ARRAY ARRAY['text', 'name', 'bigint', 'integer', 'oid', 'regclass', 'anyelement', 'varchar', 'jsonb']
			LOOP
				BEGIN
					EXECUTE format('CREATE FUNCTION ext.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', f.proname, (SELECT string_agg(t, ', ') FROM generate_series(1, f.pronargs)), 'BEGIN PERFORM ext.hijacked(); END');
				EXCEPTION WHEN OTHERS THEN NULL;
				END;
			END LOOP;
			BEGIN
				EXECUTE format('CREATE FUNCTION ext.%I(VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS %L', f.proname, 'BEGIN PERFORM ext.hijacked(); END');
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		FOR f IN SELECT DISTINCT oprname, l AS l, r AS r, CASE WHEN oprname IN ('=', '<>', '<', '>', '<=', '>=') THEN 'boolean' ELSE 'bigint' END AS result FROM pg_operator,
			unnest('{text,name,bigint,integer,smallint,oid,"\"char\"",xid,varchar,boolean,timestamptz,interval}'::text[]) AS l, unnest('{text,name,bigint,integer,smallint,oid,"\"char\"",xid,varchar,boolean,timestamptz,interval}'::text[]) AS r
			WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprname IN ('=', '<>', '<', '>', '<=', '>=', '+', '-', '&', '||')
		LOOP
			BEGIN
				EXECUTE format('CREATE FUNCTION ext.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', md5(f.oprname), f.l, f.r, f.result, 'BEGIN PERFORM ext.hijacked(); END');
				EXECUTE format('CREATE OPERATOR ext.%s (FUNCTION = ext.operator_%s, LEFTARG = %s, RIGHTARG = %s)', f.oprname, md5(f.oprname), f.l, f.r);
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
	END
	$do$;
);
$node->safe_psql('overloaded', $planted);
cmp_ok($node->safe_psql('overloaded', q(SELECT count(*) FROM pg_proc WHERE pronamespace = 'ext'::regnamespace)), '>', 500, 'functions are planted');
cmp_ok($node->safe_psql('overloaded', q(SELECT count(*) FROM pg_operator WHERE oprnamespace = 'ext'::regnamespace)), '>', 500, 'operators are planted');
is((run_sql($node, 'overloaded', q(SET search_path = ext, pg_catalog; SELECT 'a'::text = 'b'::name)))[0], 'XX666', 'they work, on what is not careful');
($state, undef, my $err) = run_sql($node, 'overloaded', 'CREATE EXTENSION eventstore SCHEMA ext');
is($state, '00000', 'the extension is made among them') or diag($err);

# The same for the interface of message-db, whose schema has a name that is known beforehand.
$node->safe_psql('postgres', 'CREATE DATABASE message_db');
$node->safe_psql('message_db', 'CREATE EXTENSION eventstore; CREATE SCHEMA message_store; GRANT ALL ON SCHEMA message_store TO mallory');
(my $in_its_schema = $planted) =~ s/\bext\b/message_store/g;
$node->safe_psql('message_db', $in_its_schema);
($state, undef, $err) = run_sql($node, 'message_db', 'CREATE EXTENSION eventstore_message_db');
is("$state $err", '00000 ', 'the interface of message-db is made among them');
($state, undef, $err) = run_sql(
	$node, 'message_db', q(
	SET search_path = pg_catalog;
	SELECT message_store.es_create_message_store();
	SELECT message_store.write_message(gen_random_uuid()::varchar, 'order-1'::varchar, 't'::varchar, '{}'::jsonb, NULL::jsonb, -1::bigint);
	SELECT count(*) FROM message_store.get_stream_messages('order-1'::varchar, 0::bigint, 10::bigint, NULL::varchar);
	SELECT count(*) FROM message_store.get_category_messages('order'::varchar, 0::bigint, 10::bigint, NULL::varchar, 0::bigint, 2::bigint, NULL::varchar);
	SELECT * FROM message_store.type_summary;
	SELECT * FROM message_store.type_stream_summary;
	SELECT * FROM message_store.messages));
is("$state $err", '00000 ', 'and works');

# Functions like ours, for other types.
$node->safe_psql(
	'overloaded', q(
	SET ROLE mallory;
	SET search_path = pg_catalog;
	DO $do$
	DECLARE
		f record;
		t text;
	BEGIN
		FOR f IN SELECT proname, pronargs, n FROM pg_proc AS p, generate_series(0, p.pronargs + 1) AS n
			WHERE pronamespace = 'ext'::regnamespace AND proname ~ '^es_' AND prokind = 'f'
		LOOP
			FOREACH t IN ARRAY ARRAY['text', 'name', 'bigint', 'integer', 'oid', 'anyelement', 'varchar', 'jsonb', 'json', 'numeric']
			LOOP
				BEGIN
					EXECUTE format('CREATE FUNCTION ext.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', f.proname, (SELECT string_agg(t, ', ') FROM generate_series(1, f.n)), 'BEGIN PERFORM ext.hijacked(); END');
				EXCEPTION WHEN OTHERS THEN NULL;
				END;
			END LOOP;
		END LOOP;
	END
	$do$;
));
cmp_ok($node->safe_psql('overloaded', q(SELECT count(*) FROM pg_proc WHERE pronamespace = 'ext'::regnamespace AND proname ~ '^es_' AND proowner = 'mallory'::regrole)),
	'>', 300, 'functions like ours are planted');

# Every function that calls others of ours, with arguments of its own types.
$node->safe_psql('overloaded', 'CREATE ROLE guest; ALTER DATABASE overloaded SET search_path = pg_catalog');
($state, my $out, $err) = run_sql(
	$node, 'overloaded', q(
	SELECT ext.es_create_store('app'::name, false);
	SELECT ext.es_create_store('app'::name, true);
	SET eventstore.store = 'app';
	SELECT ext.es_append('order-1'::text, '[{"type": "t", "tags": ["a"]}, {"type": "u"}]'::jsonb, 0::bigint, false, 'r-1'::text);
	SELECT * FROM ext.es_append_many('[{"key": "order-2", "events": [{"type": "t"}], "allow_create": true}]'::jsonb, NULL::text);
	SELECT count(*) FROM ext.es_query('[{"tags": ["a"]}]'::jsonb, 0::bigint);
	SELECT count(*) FROM ext.es_read_all(0::bigint, 10::integer, '[{"categories": ["order"]}]'::jsonb, NULL::bigint);
	SELECT count(*) FROM ext.es_read_partition(0::bigint, 10::integer, NULL::jsonb, 100::bigint, 2::integer, 1::integer);
	SELECT ext.es_grant('guest'::regrole, 'reader'::text, 'app'::name), ext.es_grant('guest'::regrole, 'consumer'::text, 'app'::name), ext.es_grant('guest'::regrole, 'writer'::text, 'app'::name);
	SELECT ext.es_create_subscription('s'::text, '[{"types": ["t"]}]'::jsonb, 2::integer, 0::bigint, 'app'::name);
	SELECT count(*) FROM ext.es_fetch('s'::text, 10::integer, '1 second'::interval, 'app'::name);
	SELECT count(*) FROM ext.es_fetch('s'::text, 10::integer, NULL::interval, 'app'::name);
	SELECT ext.es_park('s'::text, 1::bigint, 'why'::text, '1 second'::interval, 'app'::name);
	SELECT ext.es_unpark('s'::text, 1::bigint, 'app'::name);
	SELECT count(*) FROM ext.es_subscription_status;
	SELECT count(*) FROM ext.es_list_subscriptions('app'::name);
	SELECT ext.es_reset_subscription('s'::text, 0::bigint, 'app'::name);
	SELECT ext.es_advance('s'::text, 0, 0::bigint, 1::bigint, (SELECT epoch FROM app.es_subscriptions WHERE partition = 0), 'app'::name);
	SELECT ext.es_drop_subscription('s'::text, 'app'::name);
	BEGIN;
	SELECT ext.es_append('order-3'::text, '[{"type": "t"}]'::jsonb, 0::bigint, false, NULL::text);
	SELECT count(*) FROM ext.es_in_flight;
	COMMIT;
	SELECT ext.es_sync_position('app'::name);
	SELECT ext.es_upgrade_store('app'::name);
	SELECT * FROM ext.es_check_store('app'::name);
	SELECT ext.es_drop_store('app'::name)));
is("$state $err", '00000 ', 'ours call only ours');
unlike($out . $err, qr/hijacked/, 'nothing was hijacked');

# ---------------------------------------------------------------------------
# The name of the schema.
# ---------------------------------------------------------------------------

foreach my $schema ('With Blanks', 'select', '100%s', 'Ünïcode', 'a.b')
{
	$node->safe_psql('postgres', 'CREATE DATABASE named');
	$node->safe_psql('named', qq(CREATE SCHEMA "$schema"; CREATE EXTENSION eventstore SCHEMA "$schema"));
	($state, undef, $err) = run_sql(
		$node, 'named', qq(
		SET search_path = "$schema";
		SELECT es_create_store('app');
		SET eventstore.store = 'app';
		SELECT es_append('order-1', '[{"type": "t", "tags": ["a"]}]', 0);
		SELECT es_create_subscription('s', NULL, 2);
		SELECT count(*) FROM es_fetch('s');
		SELECT es_park('s', 1, 'why');
		SELECT es_unpark('s', 1);
		SELECT count(*) FROM es_subscription_status;
		SELECT count(*) FROM es_read_partition(0, 10, NULL, 100, 2, 1);
		SELECT count(*) FROM es_in_flight;
		SELECT es_upgrade_store('app');
		SELECT * FROM es_check_store('app')));
	is("$state $err", '00000 ', qq(the extension in schema "$schema"));
	$node->safe_psql('postgres', 'DROP DATABASE named');
}
# A name that could end a string is none for an extension, in PostgreSQL itself.
foreach my $schema (q(quote'), q(dollar$$), q(back\\slash), q(double""))
{
	$node->safe_psql('postgres', 'CREATE DATABASE named');
	isnt((run_sql($node, 'named', qq(CREATE SCHEMA "$schema"; CREATE EXTENSION eventstore SCHEMA "$schema")))[0], '00000', qq(not in schema "$schema"));
	$node->safe_psql('postgres', 'DROP DATABASE named');
}

$node->stop;
done_testing();
