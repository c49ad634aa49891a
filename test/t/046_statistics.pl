# What es_stat_store counts: nothing gets lost among many at once, a restart keeps it, a
# crash begins anew, a standby has none of it, a dump brings it along; and appends go on
# whatever becomes of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', init => { allows_streaming => 1 }, conf => "max_connections = 40\n");
make_database($node, 'test', 'app');

sub counters
{
	my ($server, $db) = @_;

	return $server->safe_psql($db, "SELECT conflicts, refusals, repeats FROM es_stat_store WHERE store = 'app'");
}

# ---------------------------------------------------------------------------
# Many at once
# ---------------------------------------------------------------------------

$node->safe_psql('test', q(
	SELECT es_append('order-1', '[{"type": "placed"}]', 0, request_id => 'r');
	CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "noted"}]'::jsonb $$;
	CREATE TABLE tries (status text);));

my %script = (
	conflict => q(SELECT es_append_each('[{"key": "order-1", "events": [{"type": "paid"}], "expected_version": 1000000},
		{"key": "order-1", "events": [{"type": "paid"}], "expected_version": 0}]');),
	undone => q(BEGIN; SELECT es_try_append('order-1', '[{"type": "paid"}]', 1000000); ROLLBACK;),
	refused => q(SELECT es_try_append('order-2', '[{"type": "paid"}]');),
	repeat => q(SELECT es_append('order-1', '[{"type": "placed"}]', 0, request_id => 'r');));

foreach my $name (sort keys %script)
{
	pgbench_ok($node, 'test', $name, { $name => $script{$name} }, clients => 16, transactions => 100);
}
is(counters($node, 'test'), '4800|1600|1600', 'every refusal and every repeat of 16 sessions is counted');

# All scripts at once, and racers whose outcome they tell themselves.
pgbench_ok($node, 'test', 'racers', { race => q(
	SELECT es_version('order-1') AS v \gset
	WITH a AS (SELECT status FROM es_try_append('order-1', '[{"type": "paid"}]', :v)) INSERT INTO tries SELECT status FROM a;) },
	clients => 16, transactions => 50);
my $lost = $node->safe_psql('test', "SELECT count(*) FROM tries WHERE status = 'version_conflict'");
note "$lost races lost";
is(counters($node, 'test'), (4800 + $lost) . '|1600|1600', 'as many conflicts are counted as the racers met');
is($node->safe_psql('test', "SELECT es_version('order-1')"), 1 + 800 - $lost, 'and all others were appended');

# What es_execute() makes good by itself is as many conflicts as it tells attempts.
my $before = (split /\|/, counters($node, 'test'))[0];
$node->safe_psql('test', 'CREATE TABLE attempts (n integer)');
pgbench_ok($node, 'test', 'commands', { execute => q(
	WITH a AS (SELECT attempts FROM es_execute('order-1', 'decide', max_retries => 100)) INSERT INTO attempts SELECT attempts FROM a;) },
	clients => 16, transactions => 50);
is((split /\|/, counters($node, 'test'))[0] - $before, $node->safe_psql('test', 'SELECT sum(n - 1) FROM attempts'),
	'attempts in vain are conflicts');
$node->safe_psql('test', q(SELECT es_append('order-3', '[{"type": "placed"}]', 0, request_id => 'r'), es_append('order-3', '[{"type": "placed"}]', 0, request_id => 'r')));

# ---------------------------------------------------------------------------
# Standby, dump
# ---------------------------------------------------------------------------

my $counted = counters($node, 'test');
like($counted, qr/^\d{4,}\|1600\|1601$/, 'there is something to lose');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->safe_psql('test', q(SELECT es_create_subscription('billing'); SELECT es_append('order-4', '[{"type": "placed"}]', 0)));
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $statistics = q(SELECT conflicts, refusals, repeats, horizon, horizon_lag, last_position >= (SELECT max(position) FROM app.es_events), aggregates IS NOT NULL, watermark FROM es_stat_store);
is($standby->safe_psql('test', $statistics), '|||||t|t|', 'a standby has no counters, and without a worker no horizon');
is($standby->safe_psql('test', 'SELECT position, lag, waiting_since FROM es_stat_subscription'), '0||', 'nor a lag');
$node->safe_psql('test', q(SELECT es_start_worker()));
$node->poll_query_until('test', 'SELECT watermark = horizon AND watermark_at IS NOT NULL FROM es_stat_store') or die 'the worker does not work';
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('test', 'SELECT horizon = watermark AND horizon = (SELECT max(position) FROM app.es_events) FROM es_stat_store'), 't',
	'with one, the horizon is the watermark');
is($standby->safe_psql('test', 'SELECT lag = (SELECT max(position) FROM app.es_events), waiting_since = (SELECT min(recorded_at) FROM app.es_events) FROM es_stat_subscription'),
	't|t', 'and there is a lag');
$node->safe_psql('test', q(SELECT es_stop_worker()));

my $dump = PostgreSQL::Test::Utils::tempdir('dump') . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('test') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $dump ], 'pg_restore');
is(counters($node, 'copy'), $counted, 'a dump has the counters');
$node->safe_psql('copy', q(SET eventstore.store = 'app'; SELECT es_try_append('order-1', '[{"type": "paid"}]', 0)));
is($node->safe_psql('copy', "SELECT relpersistence FROM pg_class WHERE relname = 'es_conflicts_seq'"), 'u', 'and they stay unlogged');
is((split /\|/, counters($node, 'copy'))[0], (split /\|/, $counted)[0] + 1, 'which count on');
is(counters($node, 'test'), $counted, 'each for itself');

# ---------------------------------------------------------------------------
# Restart, crash, promotion
# ---------------------------------------------------------------------------

$node->restart;
is(counters($node, 'test'), $counted, 'a restart keeps them');
$node->safe_psql('test', 'ANALYZE app.es_aggregates, app.es_events');
$node->stop('immediate');
$node->start;
is(counters($node, 'test'), '0|0|0', 'a crash begins anew');
is($node->safe_psql('test', q(
		SELECT status FROM es_try_append('order-1', '[{"type": "paid"}]', 0);
		SELECT conflicts, refusals, repeats, aggregates = (SELECT count(*) FROM app.es_aggregates), events = (SELECT count(*) FROM app.es_events) FROM es_stat_store)),
	"version_conflict\n1|0|0|t|t", 'and goes on; estimates are the last known ones');
store_is_sound($node, 'test', 'app', 'after the crash');

$node->stop;
$standby->promote;
is(counters($standby, 'test'), '0|0|0', 'a promoted standby begins anew');
$standby->safe_psql('test', q(SELECT es_try_append('order-1', '[{"type": "paid"}]', 0)));
is(counters($standby, 'test'), '1|0|0', 'and counts');

$standby->stop;
done_testing();
