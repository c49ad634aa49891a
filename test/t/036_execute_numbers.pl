# Consecutive numbers by es_execute_many: each decision reads the log by a tag, and
# writes to an aggregate that depends on what it has read.  Many sessions at once: every
# number is given once, none is left out, and nobody deadlocks, though who decides again
# comes to need the aggregate that somebody else has locked meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $transactions = 60;

my $node = start_node('main', conf => "max_connections = 30\ndeadlock_timeout = 100ms\n");

make_database($node, 'test', 'app');
$node->safe_psql(
	'test', q(
	CREATE FUNCTION decide_number(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		numbers bigint;
		last_position bigint;
	BEGIN
		SELECT count(*), coalesce(max(position), 0) INTO numbers, last_position FROM es_query('[{"tags": ["number"]}]');
		RETURN jsonb_build_array(jsonb_build_object('key', 'number-' || numbers + 1, 'expected_version', 0,
			'events', jsonb_build_array(jsonb_build_object('type', 'given', 'data', command, 'tags', ARRAY['number'])),
			'conditions', jsonb_build_array(jsonb_build_object('query', '[{"tags": ["number"]}]'::jsonb, 'after', last_position))));
	END $$));

pgbench_ok($node, 'test', 'numbers',
	{ number => "SELECT status FROM es_execute_many('{}', 'decide_number', to_jsonb(:client_id), 1000);\n" },
	clients => $clients, transactions => $transactions);
no_deadlocks($node, 'numbers');
store_is_sound($node, 'test', 'app', 'numbers');
is( $node->safe_psql(
		'test', q(SELECT count(*), count(*) FILTER (WHERE key = 'number-' || n), count(DISTINCT data)
		FROM (SELECT key, data, row_number() OVER (ORDER BY position) AS n FROM app.es_events) AS e)),
	join('|', $clients * $transactions, $clients * $transactions, $clients), 'every number once, in order, to every client');

$node->stop;
done_testing();
