# A hot standby is promoted in the middle: what clients were told by the old primary is
# true of the new one, since commits wait for the standby, and one order explains both.
# Who reads on the standby meanwhile sees moments of that history, one after the other.
#
# EVENTSTORE_TEST_LONG=1 ("make fuzz") lets them do more before that.

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
use Time::HiRes qw(usleep);

my $primary = start_node('primary',
	# With streaming the test library allows 10 connections, which sessions on their way out may take.
	init => { allows_streaming => 1 },
	conf => "max_connections = 50\nfsync = on\nfull_page_writes = on\nsynchronous_commit = on\ndeadlock_timeout = 50ms\n");

make_database($primary, 'test', 'app');
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby = on\nfsync = on\n");
$standby->start;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
  or die 'the standby is not synchronous';

my $clients = EventstoreClients->new(node => $primary, db => 'test', store => 'app');
my $history = EventstoreHistory->new($clients);
my %round = (clients => 8, transactions => 1000, calls => 2);

# Every aggregate, and how many events it has, at one moment.
my $reader = new_session($standby, 'test');
my $moment = "SELECT 'key', key, version, (SELECT count(*) FROM app.es_events e WHERE e.key = a.key) FROM app.es_aggregates a";

$clients->start(%round);
foreach (1 .. ($ENV{EVENTSTORE_TEST_LONG} ? 300 : 30))
{
	$clients->wait_for_events(10) or last;
	my %versions;

	foreach my $row (split /\n/, $reader->get($moment))
	{
		my (undef, $key, $version, $count) = split /\|/, $row;

		is($count, $version, "standby: $key has as many events as its version says") if $count != $version;
		$versions{$key} = $version;
	}
	$history->note_moment(\%versions);
}

# The standby falls silent, so that some commit waits for it and its client never knows.
my $receiver = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
kill 'STOP', $receiver;
$primary->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
  or die 'nobody waits for the standby';
$primary->stop('immediate');
kill 'CONT', $receiver;
cmp_ok($clients->finish, '>', 0, 'clients lost their connection');
$standby->promote;
$reader->quit;

$clients->{node} = $standby;
is($clients->findings, '', 'promoted: the store holds what the clients were told');
is($history->findings, '', 'promoted: there is an order in which all of it is true');
is($history->moment_findings, '', 'promoted: and the standby showed moments of it');
store_is_sound($standby, 'test', 'app', 'promoted');

# What was in doubt is sent again, to the new primary.
$clients->start(%round, transactions => 100);
is($clients->finish, 0, 'afterwards: no client lost its connection');
is($clients->findings, '', 'afterwards: the store holds what the clients were told');
is($history->findings, '', 'afterwards: there is an order in which all of it is true');
store_is_sound($standby, 'test', 'app', 'afterwards');
indexes_are_sound($standby, 'test', 'app', 'afterwards');

my $answers = $clients->answers;
note explain $history->counts, $answers;
cmp_ok($answers->{'tx unknown'}, '>', 0, 'some transactions were in doubt');
cmp_ok($answers->{repeated}, '>', 0, 'requests were sent again');

$standby->stop;
done_testing();
