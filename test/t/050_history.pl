# Many clients at random, and the proof that there is an order of their transactions
# in which every answer is true (see EventstoreHistory): of what was read, appended,
# refused, guarded, locked, decided in the database and sent again.  What was acknowledged
# is there once, and what was refused, failed or given up is not.
#
# EVENTSTORE_TEST_LONG=1 ("make fuzz") lets them do more.

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

my $TIMES = $ENV{EVENTSTORE_TEST_LONG} ? 5 : 1;

my $node = start_node('main', conf => "deadlock_timeout = 50ms\n");

make_database($node, 'history', 'app');
my $clients = EventstoreClients->new(node => $node, db => 'history', store => 'app');
my $history = EventstoreHistory->new($clients);

sub check_round
{
	my ($name, $least_lost) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $lost = $clients->finish;

	cmp_ok($lost, $least_lost ? '>=' : '==', $least_lost // 0, "$name: clients that lost their connection");
	is($clients->findings, '', "$name: the store holds what the clients were told");
	is($history->findings, '', "$name: there is an order in which all of it is true");
	note join ', ', map { "$_ $history->{counts}{$_}" } sort keys %{ $history->counts };
	return;
}

$clients->start(clients => 8, transactions => $TIMES * 200, levels => ['read committed']);
check_round('one call');
no_deadlocks($node, 'one call');

$clients->{keys} = 3;
$clients->start(clients => 8, transactions => $TIMES * 120, calls => 4, levels => ['read committed']);
check_round('several calls');

$clients->start(clients => 8, transactions => $TIMES * 120, calls => 3);
check_round('all isolation levels');

$clients->start(clients => 6, transactions => $TIMES * 120, calls => 3, levels => ['serializable']);
check_round('serializable');
is($history->serial_findings, '', 'serializable: there is an order of whole transactions');

# Statements are cancelled, and backends terminated.
my $backends = "pg_stat_activity WHERE application_name ~ '^r[0-9]+c[0-9]+\$'";
$clients->start(clients => 8, transactions => $TIMES * 120, calls => 3, tolerate => '57014');
foreach my $n (1 .. 6)
{
	$clients->wait_for_events(40) or last;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM $backends");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM $backends LIMIT 1") if $n % 2 == 0;
}
check_round('cancelled and terminated', 1);

# What is in doubt since then is sent again.
$clients->start(clients => 8, transactions => $TIMES * 60, calls => 2);
check_round('undisturbed again');

store_is_sound($node, 'history', 'app', 'all');
indexes_are_sound($node, 'history', 'app', 'all');

# The test is worth something only if all of this happened.
my $answers = $clients->answers;
note explain $answers;
foreach my $answer (
	qw(landed appended repeated checked not_written version_conflict aggregate_not_found
	condition_failed request_id_reused 00000 VE001 VE002 VE004 VE005 25001 40001))
{
	cmp_ok($answers->{$answer} // 0, '>', 0, "some answers were $answer");
}

$node->stop;
done_testing();
