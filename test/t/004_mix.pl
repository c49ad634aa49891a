# Many clients, everything at random: all functions, guards, request ids that are
# sent again, savepoints, rollbacks, all isolation levels.  Afterwards the store
# holds what the clients were told, and nothing else (see EventstoreClients).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreClients;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A deadlock between transactions of several calls is legitimate, and is found
# after deadlock_timeout.
my $node = start_node('main', conf => "deadlock_timeout = 50ms\n");

make_database($node, 'mix', 'app');
my $clients = EventstoreClients->new(node => $node, db => 'mix', store => 'app');

# One call a transaction, all levels: no deadlock can be.
$clients->start(clients => 8, transactions => 250);
is($clients->finish, 0, 'one call: no client lost its connection');
no_deadlocks($node, 'one call');
is($clients->findings, '', 'one call: the store holds what the clients were told');
store_is_sound($node, 'mix', 'app', 'one call');

# Several calls a transaction, and fewer keys to be at.
$clients->{keys} = 3;
$clients->start(clients => 8, transactions => 120, calls => 4);
is($clients->finish, 0, 'several calls: no client lost its connection');
is($clients->findings, '', 'several calls: the store holds what the clients were told');
store_is_sound($node, 'mix', 'app', 'several calls');

# READ COMMITTED alone, the usual case, with the most contention.
$clients->{keys} = 2;
$clients->start(clients => 8, transactions => 150, levels => ['read committed']);
is($clients->finish, 0, 'hot keys: no client lost its connection');
is($clients->findings, '', 'hot keys: the store holds what the clients were told');
store_is_sound($node, 'mix', 'app', 'hot keys');
indexes_are_sound($node, 'mix', 'app', 'all');

# The test is worth something only if all of this happened.
my $answers = $clients->answers;
note explain $answers;
foreach my $answer (
	qw(landed appended repeated checked not_written version_conflict
	aggregate_not_found request_id_reused 00000 VE001 VE002 VE005 40001))
{
	cmp_ok($answers->{$answer} // 0, '>', 0, "some answers were $answer");
}

$node->stop;
done_testing();
