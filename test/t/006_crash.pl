# Backends terminated, cancelled and killed, and the whole server going down,
# while clients append: every acknowledged append is there, everything else is
# there as a whole or not at all, and requests can be sent again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreClients;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main',
	conf => "deadlock_timeout = 50ms\nrestart_after_crash = on\n");

make_database($node, 'crash', 'app');
my $clients = EventstoreClients->new(node => $node, db => 'crash', store => 'app');

# The backends of the clients of this round.
my $backends = "pg_stat_activity WHERE application_name ~ '^r[0-9]+c[0-9]+\$'";

sub check_round
{
	my ($name, $lost, $least) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	cmp_ok($lost, '>=', $least, "$name: clients lost their connection");
	is($clients->findings, '', "$name: the store holds what the clients were told");
	store_is_sound($node, 'crash', 'app', $name);
	append_continues($node, 'crash', 'app', 'hot-0', $name);
	return;
}

# Some are terminated, the others go on.
$clients->start(clients => 6, transactions => 400, calls => 2);
foreach (1 .. 3)
{
	$clients->wait_for_events(50) or last;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM $backends LIMIT 1");
}
check_round('backends terminated', $clients->finish, 1);

# All are cancelled, again and again.
$clients->start(clients => 6, transactions => 400, calls => 2, tolerate => '57014');
foreach (1 .. 10)
{
	$clients->wait_for_events(20) or last;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM $backends");
}
check_round('statements cancelled', $clients->finish, 0);

# One is killed; the server restarts by itself and takes the others along.
foreach my $round (1 .. 3)
{
	$clients->start(clients => 6, transactions => 1000, calls => 2);
	$clients->wait_for_events(300);
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM $backends AND state <> 'idle' LIMIT 1")
	  || $node->safe_psql('postgres', "SELECT pid FROM $backends LIMIT 1");
	kill 9, $pid;
	my $lost = $clients->finish;
	$node->poll_query_until('postgres', 'SELECT true') or die 'server is not back';
	check_round("backend killed, round $round", $lost, 1);
}

# The server goes down.
foreach my $round (1 .. 2)
{
	$clients->start(clients => 6, transactions => 1000, calls => 2);
	$clients->wait_for_events(300);
	$node->stop('immediate');
	my $lost = $clients->finish;
	$node->start;
	check_round("immediate stop, round $round", $lost, 1);
}

# A crash right after a checkpoint began, with the aggregates all dirty.
$clients->start(clients => 6, transactions => 1000, calls => 2);
$clients->wait_for_events(200);
$node->safe_psql('postgres', 'CHECKPOINT');
$clients->wait_for_events(100);
$node->stop('immediate');
my $lost = $clients->finish;
$node->start;
check_round('immediate stop after a checkpoint', $lost, 1);

# What was in doubt is sent again, and all comes to an end.
$clients->start(clients => 6, transactions => 150, calls => 2);
check_round('no fault', $clients->finish, 0);
indexes_are_sound($node, 'crash', 'app', 'in the end');

my $answers = $clients->answers;
note explain $answers;
cmp_ok($answers->{'tx committed'}, '>', 500, 'transactions were acknowledged');
cmp_ok($answers->{repeated}, '>', 0, 'requests were sent again');

$node->stop;
done_testing();
