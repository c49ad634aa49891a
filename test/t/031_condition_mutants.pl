# Each deliberate mistake in the protocol of append conditions breaks a rule of the
# course subscriptions.  So that test has the power to find such mistakes.
#
# Only in the testing build, whose setting eventstore.mutant makes the mistakes; the
# spec pause-conditions shows each of them step by step, and also es_query() without
# locks, which breaks a rule too rarely to be waited for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreCourses;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Most are caught in the first round.
my $ROUNDS = 20;
my $clients = 16;

my $node = start_node('main', conf => "max_connections = 40\n");

make_database($node, 'probe', 'app');
if ($node->safe_psql('probe', q(SELECT es_horizon(); SELECT current_setting('eventstore.mutant', true) IS NULL)) =~ /t$/)
{
	$node->stop;
	plan skip_all => 'not a testing build';
}

my $n = 0;
foreach my $mutant (
	'conditions without locks',
	'condition before locks',
	'condition with the snapshot of the statement',

	# Without a mistake nothing is found in a few rounds.
	'')
{
	my $db = 'mutant' . ++$n;
	my $rounds = $mutant eq '' ? 2 : $ROUNDS;
	my $broken = '';

	make_courses($node, $db);
	for (1 .. $rounds)
	{
		my $run = start_commands($node, $db, { execute => 4, steps => 4, leave => 4, resize => 2 },
			clients => $clients, transactions => 60, mutant => $mutant);

		$run->{pgbench}->finish;
		$broken = broken_rules($node, $db);
		last if $broken ne '';
	}
	note $broken if $broken ne '';
	if ($mutant eq '')
	{
		is($broken, '', 'without a mistake no rule is broken');
	}
	else
	{
		isnt($broken, '', "caught: $mutant");
	}
}

$node->stop;
done_testing();
