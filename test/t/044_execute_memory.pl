# A hundred thousand commands and more in one session, of every kind, leave no memory
# behind, neither between transactions nor within one statement; a transaction of many
# commands is nothing special.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "fsync = off\nautovacuum = off\n");

make_database($node, 'memory', 'app');
my $session = new_session($node, 'memory');

$session->get(
	q(
	CREATE FUNCTION in_sql(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(jsonb_build_object('type', 't', 'data', version)) $$;
	CREATE FUNCTION in_plpgsql(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN RETURN jsonb_build_array(jsonb_build_object('type', 't', 'data', version)); END $$;
	CREATE FUNCTION nothing(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
	CREATE SEQUENCE calls;
	-- Every other attempt is a conflict.
	CREATE FUNCTION conflicting(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('calls') % 2 = 1 THEN
			PERFORM es_append(key, '[{"type": "undone"}]', allow_create => true);
		END IF;
		RETURN jsonb_build_array(jsonb_build_object('type', 't', 'data', repeat('x', 1000)));
	END $$;
	CREATE FUNCTION failing(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN RAISE 'failed'; END $$;
	CREATE FUNCTION many(command jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_array(jsonb_build_object('key', k || '-1', 'events', '[{"type": "t", "tags": ["a"]}]'::jsonb, 'allow_create', true),
			jsonb_build_object('key', k || '-2', 'events', '[{"type": "t"}]'::jsonb, 'allow_create', true),
			'{"key": "guard", "expected_version": 0}'::jsonb, '{"conditions": [{"query": [{"tags": ["never"]}]}]}'::jsonb)
		FROM (SELECT coalesce(command->>0, 'many') AS k) x $$;
	CREATE FUNCTION used() RETURNS bigint LANGUAGE sql AS $$
		SELECT sum(used_bytes) FROM pg_backend_memory_contexts
	$$;
	-- Does memory grow from the middle of so many calls to their end?
	CREATE PROCEDURE run(call text, total integer, INOUT growth bigint DEFAULT NULL) LANGUAGE plpgsql AS $$
	DECLARE
		middle bigint;
	BEGIN
		FOR i IN 1 .. total LOOP
			EXECUTE call;
			COMMIT;
			IF i = total / 2 THEN
				middle := used();
			END IF;
		END LOOP;
		growth := used() - middle;
	END $$));

# What such a loop of plain appends costs.
my $total = 10000;
my $loop = $session->get(qq(CALL run(\$\$SELECT es_append('a', '[{"type": "t"}]', allow_create => true)\$\$, $total)));
note "the loop itself: $loop bytes";

my %calls = (
	'SQL' => q(SELECT * FROM es_execute('a', 'in_sql')),
	'PL/pgSQL' => q(SELECT * FROM es_execute('a', 'in_plpgsql')),
	'no events' => q(SELECT * FROM es_execute('a', 'nothing')),
	'conflicts' => q(SELECT * FROM es_execute('b', 'conflicting')),
	'with a request' => q(SELECT * FROM es_execute('c', 'in_sql', request_id => 'r-' || nextval('calls'))),
	'repeats' => q(SELECT * FROM es_execute('c', 'in_sql', request_id => 'r-1')),
	'new aggregates' => q(SELECT * FROM es_execute('new-' || nextval('calls'), 'in_sql')),
	'es_execute_many' => q(SELECT * FROM es_execute_many('{many-1,many-2}', 'many')),
	'es_execute_many with a request' => q(SELECT * FROM es_execute_many('{many-1}', 'many', request_id => 'r-' || nextval('calls'))),
	'es_save_snapshot' => q(SELECT es_save_snapshot('a', 1 + nextval('calls') % 100, '{"a": 1}')),
	'es_load' => q(SELECT * FROM es_load('small')),
	'errors' => q(DO $do$ BEGIN PERFORM es_execute('a', 'failing', request_id => 'r-1'); EXCEPTION WHEN raise_exception THEN END $do$));

$session->get(q(SELECT es_append('small', '[{"type": "t"}, {"type": "t", "data": 1}]', 0)));
foreach my $name (sort keys %calls)
{
	my $growth = $session->get("CALL run(\$call\$$calls{$name}\$call\$, $total)");
	cmp_ok($growth, '<', $loop + 50_000, "$name: no memory is left by $total calls");
}

# Within one statement, on an aggregate each.
foreach my $call (q(es_execute('d-' || n, 'in_sql')), q(es_execute('e-' || n, 'conflicting')), q(es_execute_many(ARRAY['f-' || n], 'many', to_jsonb('f-' || n))), q(es_load('d-' || n)))
{
	$session->get("SELECT setval('calls', 1, false)");
	my ($middle, $end) = split /\|/, $session->get(
		qq(
		SELECT max(used) FILTER (WHERE n <= $total / 2), max(used)
		FROM (SELECT n, CASE WHEN n IN ($total / 2, $total) THEN used() END AS used
			  FROM generate_series(1, $total) AS n, LATERAL $call AS e OFFSET 0) s));
	cmp_ok($end - $middle, '<', 50_000 + 700 * $total / 2, "$call: in one statement") or diag("$middle, then $end");
}

# The attempts of one command, all but the last of them conflicts that the function makes.
$session->get(
	q(
	CREATE SEQUENCE attempts;
	CREATE SEQUENCE used_in_the_middle;
	CREATE SEQUENCE used_at_the_end;
	-- Is this the last attempt?
	CREATE FUNCTION is_last(total bigint) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE
		n bigint := nextval('attempts');
	BEGIN
		IF n = total / 2 THEN
			PERFORM setval('used_in_the_middle', used());
		ELSIF n = total THEN
			PERFORM setval('used_at_the_end', used());
		END IF;
		RETURN n = total;
	END $$;
	CREATE FUNCTION persistent(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		IF NOT is_last(command::bigint) THEN
			PERFORM es_append(key, '[{"type": "undone"}]', allow_create => true);
		END IF;
		RETURN jsonb_build_array(jsonb_build_object('type', 't', 'data', repeat('x', 1000)));
	END $$;
	CREATE FUNCTION persistent_many(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		last boolean := is_last(command::bigint);
	BEGIN
		RETURN jsonb_build_array(
			jsonb_build_object('key', 'h-1', 'events', jsonb_build_array(jsonb_build_object('type', 't', 'tags', '["h"]'::jsonb, 'data', repeat('x', 1000))), 'allow_create', true),
			jsonb_build_object('key', 'h-2', 'expected_version', CASE WHEN last THEN 0 ELSE 77 END, 'events', '[{"type": "t"}]'::jsonb),
			jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query', '[{"tags": ["i"]}, {"tags": ["j"]}]'::jsonb))));
	END $$));
foreach my $call (
	qq(es_execute('h', 'persistent', '$total', $total)),
	qq(es_execute('h', 'persistent', '$total', $total, 'attempts')),
	qq(es_execute_many('{h-1}', 'persistent_many', '$total', $total)))
{
	$session->get("SELECT setval('attempts', 1, false)");
	is($session->get("SELECT string_agg(status, ' ') FROM $call"), $call =~ /many/ ? 'appended appended checked' : 'appended', "$call gets through");
	my ($middle, $end) = split /\|/, $session->get('SELECT m.last_value, e.last_value FROM used_in_the_middle AS m, used_at_the_end AS e');
	cmp_ok($end - $middle, '<', 50_000, "$call: no memory is left by $total attempts") or diag("$middle, then $end");
}

# In one transaction: as many subtransactions as calls.
is($session->get(qq(BEGIN; SELECT count(*) FROM generate_series(1, $total) AS n, es_execute('g-' || n, 'in_sql') AS e WHERE status = 'appended'; COMMIT)),
	$total, "$total commands in one transaction");
is($session->get(q(SELECT count(*) FROM app.es_aggregates WHERE key ~ '^g-')), $total, 'all of them are there');
store_is_sound($node, 'memory', 'app', 'in the end');

$session->quit;
$node->stop;
done_testing();
