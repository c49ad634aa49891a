# Parallel query: the reading functions give the same in a worker process, and
# the writing ones are never given to one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main',
	conf => "max_worker_processes = 8\nmax_parallel_workers = 8\n");

make_database($node, 'test', 'app', 'other');
$node->safe_psql(
	'test', q(
	SELECT es_append('order-' || n, (SELECT jsonb_agg(jsonb_build_object('type', 't', 'data', jsonb_build_object('n', i), 'tags', jsonb_build_array('x')))
									 FROM generate_series(1, n % 5 + 1) i), 0)
	FROM generate_series(1, 500) n;
	SET eventstore.store = 'other';
	SELECT es_append('order-1', '[{"type": "other"}]', 0)));
$node->safe_psql('test', 'ANALYZE app.es_aggregates, app.es_events');

my $version = $node->safe_psql('test', 'SHOW server_version_num');
my $force = $version >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';
my $session = new_session($node, 'test');

$session->get(
	q(
	SET parallel_setup_cost = 0;
	SET parallel_tuple_cost = 0;
	SET min_parallel_table_scan_size = 0;
	SET max_parallel_workers_per_gather = 4));

# What reads, and what it says without parallel query.
my %reads = (
	'es_version' => q(SELECT es_version('order-4'), es_version('nothing')),
	'es_read' => q(SELECT * FROM es_read('order-4') ORDER BY version),
	'es_read backwards' => q(SELECT * FROM es_read('order-4', 2, 4, 2, true)),
	'es_category' => q(SELECT es_category('order-4')),
	'es_version for each' =>
	  q(SELECT sum(es_version(key)), count(*) FROM app.es_aggregates WHERE es_version(key) = version),
	'es_read for each' =>
	  q(SELECT count(*), sum(e.version) FROM app.es_aggregates a, es_read(a.key) e),
	'es_find_request' => q(SELECT * FROM es_find_request('order-4', 'r')),
	'events by category' =>
	  q(SELECT es_category(key), count(*) FROM app.es_events GROUP BY 1),
	'a store of the session' =>
	  q(SELECT current_setting('eventstore.store'), es_version('order-1')),
);
my %expected;

$session->get('SET max_parallel_workers_per_gather = 0');
$expected{$_} = $session->get($reads{$_}) foreach keys %reads;
is($expected{'es_version'}, '5|0', 'es_version, not parallel');
is($expected{'es_version for each'}, '1500|500', 'es_version for each, not parallel');
is($expected{'es_read for each'} =~ s/\|.*//r, '1500', 'es_read for each, not parallel');

$session->get("SET max_parallel_workers_per_gather = 4; SET $force = on");
foreach my $read (sort keys %reads)
{
	is($session->get($reads{$read}), $expected{$read}, "$read, parallel");
}
like($session->get("EXPLAIN (COSTS OFF) $reads{'es_version'}"), qr/Gather/, 'es_version is given to a worker');
like($session->get("EXPLAIN (COSTS OFF) $reads{'es_read'}"), qr/Gather/, 'es_read is given to a worker');
like($session->get("EXPLAIN (COSTS OFF) $reads{'es_version for each'}"),
	qr/Gather.*Parallel Seq Scan/s, 'es_version is given to several');

# The setting of the session, and of the transaction, holds in the worker.
is($session->get(q(SET eventstore.store = 'other'; SELECT es_version('order-1'), es_version('order-4'))),
	'1|0', 'the store of the session');
is($session->get(q(BEGIN; SET LOCAL eventstore.store = 'app'; SELECT es_version('order-4'))),
	'5', 'the store of the transaction');
$session->get('COMMIT');
is($session->get(q(RESET eventstore.store; SELECT es_version('order-4'))), '5', 'the store of the database');
is($session->state(q(SET eventstore.store = 'absent'; SELECT es_version('order-4'))),
	'3F000', 'no store: the error comes through');
$session->get('RESET eventstore.store');

# Own events that are not committed yet.
is($session->get(q(BEGIN; SELECT es_append('order-4', '[{"type": "mine"}]', 5))), '6', 'an append in parallel mode');
is($session->get(q(SELECT es_version('order-4'))), '6', 'its version');
is($session->get(q(SELECT type FROM es_read('order-4', 6))), 'mine', 'its event');
is($session->get(q(SELECT count(*) FROM app.es_aggregates WHERE es_version(key) = version)), '500', 'for each');
$session->get('ROLLBACK');
is($session->get(q(SELECT es_version('order-4'))), '5', 'rolled back');

# What writes, writes.
is($session->get(q(SELECT es_append('order-4', '[{"type": "t"}]', 5))), '6', 'es_append');
is($session->get(q(SELECT version FROM es_try_append('order-4', '[{"type": "t"}]', 6))), '7', 'es_try_append');
is( $session->get(q(SELECT status FROM es_append_many('[{"key": "order-4", "events": [{"type": "t"}]}, {"key": "order-5", "expected_version": 1}]'))),
	"appended\nchecked", 'es_append_many');
is( $session->get(q(SELECT status FROM es_try_append_many('[{"key": "order-4", "events": [{"type": "t"}]}]'))),
	'appended', 'es_try_append_many');
is($session->get(q(SELECT status FROM es_append_each('[{"key": "order-4", "events": [{"type": "t"}]}]'))),
	'appended', 'es_append_each');
is($session->get(q(SELECT version FROM es_lock(ARRAY['order-4']))), '10', 'es_lock');
is( $session->get(
		q(SELECT count(*), min(es_append(key, '[{"type": "t"}]', version)) FROM app.es_aggregates WHERE key ~ '^order-[12]..$')),
	'200|2', 'es_append for each row of a table');
is($session->get(q(SELECT count(*) FROM es_check_store('app'))), '0', 'es_check_store');
$session->quit;

store_is_sound($node, 'test', 'app', 'parallel');
$node->stop;
done_testing();
