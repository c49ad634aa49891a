# Each deliberate mistake in the protocol of the log loses events, and the readers of
# the property test notice it.  So that test has the power to find such mistakes.
#
# Only in the testing build, whose setting eventstore.mutant makes the mistakes.  The
# windows of these two are too narrow for chance; the pause-* specs show them:
# "position before lock" (pause-bound), "last position after listing" (pause-listing).
# "no flush" needs a crash: 022_feed_faults.pl.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFeed;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# Longest time for one mutant; most are caught within a second.
my $SECONDS = 60;

my $node = start_node('main', conf => $EventstoreFeed::CONF);

make_database($node, 'probe', 'app');
if ($node->safe_psql('probe', q(SELECT es_horizon(); SELECT current_setting('eventstore.mutant', true) IS NULL)) =~ /t$/)
{
	$node->stop;
	plan skip_all => 'not a testing build';
}

# A reader must not be given what it should not see, nor the mistake be undone by
# another one: so each mutant has its own database, readers and settings.
my %mutants = (
	'no horizon' => {},
	'flight remembered in a flag' => {},
	'snapshot of the statement' => {},
	'prepared transactions forgotten' => {},
	'cached sequence' => { sql => 'ALTER SEQUENCE app.es_position_seq CACHE 20' },
	'any isolation level' => { reader => { default_transaction_isolation => 'repeatable read' } },

	# The harness itself, without a mistake, finds nothing in that time.
	'' => { seconds => 3 });

my $n = 0;
foreach my $mutant (sort keys %mutants)
{
	my $test = $mutants{$mutant};
	my $db = 'mutant' . ++$n;

	make_database($node, $db, 'app');
	$node->safe_psql($db, q(SELECT es_append('hot-0', '[{"type": "t0"}]', 0)));
	$node->safe_psql($db, $test->{sql}) if $test->{sql};

	my $feed = EventstoreFeed->new(
		node => $node, db => $db, store => 'app',
		settings => { 'eventstore.mutant' => $mutant });
	my $end = time() + ($test->{seconds} // $SECONDS);
	my $missed;

	$feed->start_reader('quick', 'poll', 100, %{ $test->{reader} || {} });
	$feed->start_reader('slow', 'poll', 100, 'feed.dawdle' => 0.01, %{ $test->{reader} || {} });
	$feed->start_appenders(12);
	do
	{
		usleep(200_000);
		$missed = $feed->missed;
	} while ($missed == 0 && time() < $end);
	if ($mutant eq '')
	{
		is($missed, 0, 'without a mistake nothing is missed');
	}
	else
	{
		cmp_ok($missed, '>', 0, "caught: $mutant");
	}
	$feed->stop_appenders;
	$feed->stop_readers;
}

$node->stop('immediate');
done_testing();
