# Each deliberate mistake in the protocol of appends leaves a history that no order of
# the transactions explains, or another finding of the clients'.  So 050_history has the
# power to find such mistakes.
#
# Only in the testing build, whose setting eventstore.mutant makes the mistakes.  One more
# is too rare for chance and shown step by step by the spec pause-conditions: "query
# unlocks before its snapshot".

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreClients;
use EventstoreHistory;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Longest time for one mutant; most are caught by the first round.
my $SECONDS = 180;

my $node = start_node('main', conf => "deadlock_timeout = 50ms\n");

make_database($node, 'probe', 'app');
if ($node->safe_psql('probe', q(SELECT es_horizon(); SELECT current_setting('eventstore.mutant', true) IS NULL)) =~ /t$/)
{
	$node->stop;
	plan skip_all => 'not a testing build';
}

# What shows a mistake best: options of a round.
my %rounds = (
	versions => { forms => [qw(append try_append many many try_many each)] },
	creation => { forms => [qw(append guarded guarded guarded)], calls => 2 },
	repeatable => { forms => [qw(append many lock)], calls => 3, levels => ['repeatable read'] },
	requests => { forms => [qw(request request append)], calls => 3 },
	tags => { forms => [qw(tagged tagged append)] },
	deciders => { forms => [qw(execute execute execute_many append)] },
	everything => { calls => 2, levels => [ 'read committed', 'read committed', 'repeatable read', 'serializable' ] });

my %mutants = (
	versions => [
		'written rows not locked',
		'guarded rows not locked',
		'moved row not looked at',
		'some entries without the others' ],
	creation => [
		'keys not locked',
		'no look under the key locks',
		'creators in flight not awaited',
		'guarded keys given up' ],
	repeatable => ['moves not minded'],
	requests => ['requests before locks'],
	tags => [
		'written tags not locked',
		'conditions without locks',
		'condition before locks',
		'condition with the snapshot of the statement',
		'query without locks' ],
	deciders => ['attempts not undone']);

# Run rounds with a mistake until something is found; returns what.
my $n = 0;

sub find_with
{
	my ($mutant, $round, $seconds) = @_;
	my $db = 'mutant' . ++$n;

	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE probe");
	my $clients = EventstoreClients->new(
		node => $node, db => $db, store => 'app', keys => 3,
		settings => { 'eventstore.mutant' => $mutant });
	my $history = EventstoreHistory->new($clients);
	my $end = time() + $seconds;
	my $findings;

	do
	{
		$clients->start(clients => 8, transactions => 30, levels => ['read committed'], %$round);
		$clients->finish;
		$findings = $history->findings || $clients->findings;
	} while ($findings eq '' && time() < $end);
	$node->safe_psql('postgres', "DROP DATABASE $db");
	return $findings;
}

foreach my $round (sort keys %mutants)
{
	foreach my $mutant (@{ $mutants{$round} })
	{
		my $findings = find_with($mutant, $rounds{$round}, $SECONDS);

		isnt($findings, '', "caught: $mutant");
		note substr $findings, 0, 400;
	}
}

# Without a mistake nothing is found; nor where the executor does everything.
is(find_with('', $rounds{everything}, 3), '', 'nothing is found without a mistake');
is(find_with('through the executor', $rounds{everything}, 3), '', 'nor in the way of the executor');

$node->stop;
done_testing();
