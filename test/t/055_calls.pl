# Every function of the extension with whatever values, again and again, and then in
# random queries by sqlsmith: no crash, no internal error, and every refusal has one of
# the SQLSTATEs that the functions are said to give (see EventstoreSmith).
#
# EVENTSTORE_TEST_LONG=1 ("make fuzz") makes more calls and queries.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreSmith;
use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($CALLS, $QUERIES) = $ENV{EVENTSTORE_TEST_LONG} ? (1000, 40_000) : (200, 3000);
my $seed = $ENV{EVENTSTORE_TEST_SEED} // int(rand(1_000_000_000));

note "random seed $seed (set EVENTSTORE_TEST_SEED to use it again)";

my $node = start_node('main', conf => q(
	log_error_verbosity = verbose
	log_min_messages = error
	log_min_error_statement = error
	max_worker_processes = 16
	restart_after_crash = off
	track_functions = all
));
my $smith = EventstoreSmith->new(node => $node, seed => $seed);

is($smith->call_all($CALLS), '', "each function $CALLS times: every answer is a documented one");
note $smith->outcomes;
my @functions = $smith->functions;
my @done = $smith->done;
is(join(' ', $smith->tried), "@functions", 'all functions were called');
cmp_ok(scalar @done, '>', 0.9 * @functions, 'nearly all came to a result');
is($smith->findings, '', 'the store is sound');

SKIP:
{
	skip 'sqlsmith is not installed', 3 if !IPC::Run::run([ 'sh', '-c', 'command -v sqlsmith' ], '>', \my $path);

	note substr $smith->let_sqlsmith($QUERIES), -500;
	is($smith->sqlsmith_findings, '', "$QUERIES queries: every answer is a documented one");
	my @called = $smith->called;
	note "sqlsmith has called @called";
	cmp_ok(scalar @called, '>', 0.25 * @functions, 'it has called many of the functions');
	is($smith->findings, '', 'the store is still sound');
}

unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal/, 'no crash');
$node->stop;
done_testing();
