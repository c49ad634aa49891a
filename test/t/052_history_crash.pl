# The server goes down again and again while clients append, with everything written to
# disk as in production: there is an order of all transactions over all crashes in which
# every answer is true, what was acknowledged is there once, and what was refused,
# failed or given up is not.
#
# EVENTSTORE_TEST_LONG=1 ("make fuzz") lets it go down more often.

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

my $CRASHES = $ENV{EVENTSTORE_TEST_LONG} ? 30 : 6;

my $node = start_node('main',
	conf => "fsync = on\nfull_page_writes = on\nsynchronous_commit = on\ndeadlock_timeout = 50ms\nrestart_after_crash = on\n");

make_database($node, 'crash', 'app');
my $clients = EventstoreClients->new(node => $node, db => 'crash', store => 'app');
my $history = EventstoreHistory->new($clients);
my %round = (clients => 8, transactions => 1000, calls => 2, tolerate => '57014');

# The backends of the clients.
my $backends = "pg_stat_activity WHERE application_name ~ '^r[0-9]+c[0-9]+\$'";

# What a crash may come upon.
my @before = (
	sub { },
	sub { $node->safe_psql('postgres', 'CHECKPOINT'); $clients->wait_for_events(50); },
	sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM $backends"); $clients->wait_for_events(10); },
	sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM $backends AND random() < 0.4"); });

# The server is stopped at once, or one of its processes is, which takes all others along.
my @crash = (
	sub { $node->stop('immediate'); $node->start; },
	sub {
		my $offset = -s $node->logfile;
		kill 9, $node->safe_psql('postgres', "SELECT pid FROM $backends ORDER BY state LIMIT 1");
		$node->wait_for_log(qr/reinitializing/, $offset);
		wait_until_up($node);
	});

foreach my $n (1 .. $CRASHES)
{
	$clients->start(%round);
	$clients->wait_for_events(100 + int(rand(200)));
	$before[ $n % @before ]->();
	$crash[ $n % 3 == 0 ? 1 : 0 ]->();
	cmp_ok($clients->finish, '>', 0, "crash $n: clients lost their connection");
	is($clients->findings, '', "crash $n: the store holds what the clients were told");
	is($history->findings, '', "crash $n: there is an order in which all of it is true");
	store_is_sound($node, 'crash', 'app', "crash $n");
}

# What was in doubt is sent again, and all comes to an end.
$clients->start(%round, transactions => 50);
is($clients->finish, 0, 'no crash: no client lost its connection');
is($clients->findings, '', 'no crash: the store holds what the clients were told');
is($history->findings, '', 'no crash: there is an order in which all of it is true');
store_is_sound($node, 'crash', 'app', 'no crash');
indexes_are_sound($node, 'crash', 'app', 'in the end');

my $answers = $clients->answers;
note explain $history->counts, $answers;
cmp_ok($answers->{'tx committed'}, '>', 100 * $CRASHES, 'transactions were acknowledged');
cmp_ok($answers->{'tx unknown'}, '>', 0, 'some were in doubt');
cmp_ok($answers->{repeated}, '>', 0, 'requests were sent again');
$node->stop;

# A server that says "committed" before it is on disk loses what it acknowledged, and
# that is noticed.
my $forgetful = start_node('forgetful',
	conf => "synchronous_commit = off\nwal_writer_delay = 10s\nfull_page_writes = off\nautovacuum = off\ndeadlock_timeout = 50ms\n");
my $found = '';

make_database($forgetful, 'crash', 'app');
$clients = EventstoreClients->new(node => $forgetful, db => 'crash', store => 'app');
$history = EventstoreHistory->new($clients);
foreach (1 .. 5)
{
	$clients->start(%round);
	$clients->wait_for_events(100);
	$forgetful->stop('immediate');
	$forgetful->start;
	$clients->finish;
	$found = $history->findings;
	last if $found ne '';
}
isnt($found, '', 'what is lost is missed');
note substr $found, 0, 500;

$forgetful->stop;
done_testing();
