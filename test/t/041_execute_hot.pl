# Sixteen clients execute commands on one aggregate, by one tag, and over several
# aggregates in any order, with the default of max_retries: every call succeeds, each
# decision was made on the version before its event, and what the functions write to
# other tables is there once for each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_connections = 40\ndeadlock_timeout = 100ms\n");

make_database($node, 'hot', 'app');
my $query = sub { return $node->safe_psql('hot', $_[0]); };

# Functions that tell in the event what they were told and what they see.
$query->(
	q(
	CREATE FUNCTION event(key text, version bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
		SELECT jsonb_build_array(jsonb_build_object('type', 'decided', 'data',
			jsonb_build_object('told', version, 'seen', es_version(key), 'events', (SELECT max(e.version) FROM es_read(key, greatest(version, 1)) e))))
	$$;
	CREATE FUNCTION volatile(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN RETURN event(key, version); END $$;
	CREATE FUNCTION stable(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
	BEGIN RETURN event(key, version); END $$;
	CREATE FUNCTION in_sql(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT event(key, version) $$;
	CREATE TABLE notes (key text, version bigint, client integer);
	CREATE FUNCTION noting(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO notes VALUES (key, version, command::integer);
		RETURN event(key, version);
	END $$;
	CREATE TABLE answers (key text, status text, version bigint, attempts integer)));

# One aggregate, from its creation on, with each kind of function; some appends come
# between that nobody decides.
foreach my $function (qw(volatile stable in_sql noting))
{
	pgbench_ok(
		$node, 'hot',
		"hot aggregate, $function",
		{
			'execute@6' => "INSERT INTO answers SELECT '$function', * FROM es_execute('$function', '$function', to_jsonb(:client_id::integer));\n",
			'append@1' => qq(INSERT INTO answers SELECT '$function', 'appended', es_append('$function', '[{"type": "undecided"}]', allow_create => true), 0;\n)
		},
		clients => 16,
		transactions => 60,
		protocol => $function eq 'stable' ? 'prepared' : 'simple');
	is( $query->("SELECT count(*), count(DISTINCT version), min(version), max(version), min(status), max(status) FROM answers WHERE key = '$function'"),
		'960|960|1|960|appended|appended',
		"$function: each got a version of its own");
	is( $query->(
			qq(SELECT version, data FROM app.es_events WHERE key = '$function' AND type = 'decided'
			AND (data->'told' <> to_jsonb(version - 1) OR data->'seen' <> data->'told' OR coalesce((data->>'events')::bigint, 0) <> version - 1) LIMIT 3)),
		'', "$function: each was decided on the version before, and saw it");
}
is( $query->(
		q(SELECT count(*) FROM (SELECT version FROM notes EXCEPT ALL SELECT version - 1 FROM app.es_events WHERE key = 'noting' AND type = 'decided') n)
		) . ' '
	  . $query->(
		q(SELECT count(*) FROM (SELECT version - 1 FROM app.es_events WHERE key = 'noting' AND type = 'decided' EXCEPT ALL SELECT version FROM notes) n)),
	'0 0', 'each decision is noted once, and no discarded one');
note $query->(q(SELECT key, attempts, count(*) FROM answers GROUP BY 1, 2 ORDER BY 1, 2));

# A tag, by a condition, on aggregates that nobody shares: numbers without a gap, from a
# function that counts the events with the tag.
$query->(
	q(
	CREATE FUNCTION number(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		query jsonb := '[{"tags": ["invoice"]}]';
		n bigint; upto bigint;
	BEGIN
		SELECT count(*), coalesce(max(position), 0) INTO n, upto FROM es_query(query);
		RETURN jsonb_build_array(jsonb_build_object('key', command->>'key', 'expected_version', 0,
			'conditions', jsonb_build_array(jsonb_build_object('query', query, 'after', upto)),
			'events', jsonb_build_array(jsonb_build_object('type', 'sent', 'data', n + 1, 'tags', '["invoice"]'::jsonb))));
	END $$;
	CREATE SEQUENCE invoices));
pgbench_ok(
	$node, 'hot',
	'hot tag',
	{ number => qq(SELECT nextval('invoices') AS n \\gset
INSERT INTO answers SELECT 'invoices', status, version, 0
FROM es_execute_many(ARRAY['invoice-' || :n], 'number', jsonb_build_object('key', 'invoice-' || :n));\n) },
	clients => 16,
	transactions => 30);
is($query->(q(SELECT count(*), count(DISTINCT data), min(data::bigint), max(data::bigint) FROM app.es_events WHERE key ~ '^invoice-')),
	'480|480|1|480', 'every number was given once');
is($query->(q(SELECT count(*), min(status), max(status) FROM answers WHERE key = 'invoices')), '480|appended|appended', 'to those who were told so');

# Several aggregates, in any order, some new; the keys tell all of them or only some.
$query->(
	q(
	CREATE FUNCTION write_all(command jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_agg(jsonb_build_object('key', k, 'expected_version', es_version(k), 'events', event(k, es_version(k))) ORDER BY n)
		FROM jsonb_array_elements_text(command) WITH ORDINALITY AS t (k, n)
	$$));
pgbench_ok(
	$node, 'hot',
	'crossed aggregates',
	{
		map {
			$_ => "\\set n random(2, 4)\n\\set from random(1, 100000)\n"
			  . "SELECT array_agg(k ORDER BY random()) AS keys FROM (SELECT 'crossed-' || k AS k FROM generate_series(1, 6) k ORDER BY hashint8(k * :from) LIMIT :n) k \\gset\n"
			  . "INSERT INTO answers SELECT '$_', min(status), count(*), 0 FROM es_execute_many("
			  . ($_ eq 'all' ? "':keys'" : "ARRAY[(':keys'::text[])[1]]")
			  . ", 'write_all', to_jsonb(':keys'::text[])) HAVING min(status) = max(status);\n"
		} qw(all some)
	},
	clients => 16,
	transactions => 60);
is($query->(q(SELECT count(*), min(status), max(status) FROM answers WHERE key IN ('all', 'some'))), '960|appended|appended', 'crossed: every call succeeded');
is($query->(q(SELECT sum(version) = (SELECT count(*) FROM app.es_events WHERE key ~ '^crossed') FROM answers WHERE key IN ('all', 'some'))), 't', 'crossed: all was written');
is( $query->(q(SELECT key, version, data FROM app.es_events WHERE key ~ '^crossed' AND (data->'told' <> to_jsonb(version - 1) OR data->'seen' <> data->'told') LIMIT 3)),
	'', 'crossed: each was decided on the version before');

no_deadlocks($node, 'all of them');
store_is_sound($node, 'hot', 'app', 'in the end');
is($query->(q(SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'tuple'))), '0', 'no lock is left');
$node->stop;
done_testing();
