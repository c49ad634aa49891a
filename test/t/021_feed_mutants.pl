# Each deliberate mistake in the protocol of the log loses events, and the readers of
# the property test notice it.  So that test has the power to find such mistakes.
#
# Only in the testing build, whose setting eventstore.mutant makes the mistakes.  The
# windows of these two are too narrow for chance; the pause-* specs show them:
# "position before lock" and "horizon goes back" (pause-bound), "last position after
# listing" (pause-listing).

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
	# They must not come to an end before: a turn takes them 10 ms and more.
	$feed->start_appenders(12, 100 * ($test->{seconds} // $SECONDS));
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

# ---------------------------------------------------------------------------
# "no flush": what a reader was given is gone after a crash, and its position is
# handed out again.  Now and then the WAL writer flushes all the same.
# ---------------------------------------------------------------------------

my $crashing = start_node(
	'crashing', conf => q(
synchronous_commit = off
wal_writer_delay = 10s
full_page_writes = off
autovacuum = off
));

make_database($crashing, 'test', 'app');

# Write, read, crash; returns whether the log now ends before what was given out.
sub is_lost
{
	my ($mutant, $write, $read) = @_;
	my $writer = new_session($crashing, 'test');
	my $reader = new_session($crashing, 'test', settings => { 'eventstore.mutant' => $mutant });

	$writer->get($write);
	my $given = $reader->get($read);
	$crashing->stop('immediate');
	$_->quit foreach ($writer, $reader);
	$crashing->start;
	return $crashing->safe_psql('test', "SELECT last_value < $given OR NOT EXISTS (SELECT FROM app.es_events WHERE position = $given) FROM app.es_position_seq") eq 't';
}

my $committed = q(SELECT es_append('k', '[{"type": "t"}]', allow_create => true));
my @losses = (
	[ 'an event', $committed, 'SELECT max(position) FROM es_read_all(0, 100000)' ],
	[ 'the position of an event', $committed, 'SELECT es_horizon()' ],
	[ 'the position of an event that is waited for', $committed, q(CALL es_wait(0, '1 min')) ]);

foreach my $loss (@losses)
{
	my ($what, $write, $read) = @$loss;
	my $lost = 0;

	ok(!is_lost('', $write, $read), "not lost: $what") for 1 .. 2;
	for (1 .. 8)
	{
		$lost = is_lost('no flush', $write, $read);
		last if $lost;
	}
	ok($lost, "caught: no flush, $what");
}

$crashing->stop('immediate');
done_testing();
