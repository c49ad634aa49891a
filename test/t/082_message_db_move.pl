# A database as message-db leaves it is moved in place, as doc/message-db.md says, while
# clients are connected.  What they do meanwhile waits; afterwards it goes to the new
# store or fails, and never gets lost in the old table.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreDocument;
use EventstoreMessageDb;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');
my $text = slurp_file("$FindBin::RealBin/../../doc/message-db.md");
my ($move) = grep { /es_import_messages/ } map { $_->{code} } fenced_blocks($text);
my ($begin, $rest) = $move =~ /^(BEGIN;.*?)(CREATE EXTENSION.*?)^COMMIT;/ms or die 'the page has no recipe';

make_message_db($node, 'old', 200);
$node->safe_psql('old', 'ALTER ROLE message_store SET search_path = message_store, public');
my $messages = q(SELECT md5(string_agg(m::text, '' ORDER BY global_position)) FROM %s.messages AS m);
my $expected = $node->safe_psql('old', sprintf($messages, 'message_store'));

# Clients with warm plans: one that will be waiting for the table, one that comes after.
my @client = map { new_session($node, 'old', user => 'message_store') } 1 .. 3;
foreach my $client (@client)
{
	$client->get(q(PREPARE w AS SELECT write_message($1, $2, $3, $4)));
	$client->get(q(EXECUTE w(gen_random_uuid(), 'warm-1', 'T', '{}'))) foreach 1 .. 7;
	$client->get(q(SELECT count(*) FROM get_stream_messages('warm-1')));
}
my $count = $node->safe_psql('old', 'SELECT count(*) FROM message_store.messages');
$expected = $node->safe_psql('old', sprintf($messages, 'message_store'));

my $admin = new_session($node, 'old');
$admin->get($begin);
$client[0]->send(q(EXECUTE w(gen_random_uuid(), 'late-1', 'T', '{}')));
wait_until_blocked($node, $client[0]);
$client[1]->send(q(SELECT write_message(gen_random_uuid()::varchar, 'late-2', 'T', '{}')));
wait_until_blocked($node, $client[1]);
my $out = $admin->get($rest);
like($out, qr/^$count$/m, 'all messages are imported');
$admin->get('COMMIT');

my %state = map { $_ => $client[$_]->answer->{state} } 0, 1;
note("blocked writers ended with $state{0} and $state{1}");
is( $node->safe_psql('old', 'SELECT count(*) FROM message_store_before.messages'),
	$count, 'nothing more came to the old table');
is( $node->safe_psql('old', q(SELECT count(*) FROM message_store.messages WHERE stream_name LIKE 'late-%')),
	scalar(grep { $state{$_} eq '00000' } 0, 1), 'what succeeded is in the new store');
is( $node->safe_psql('old', sprintf($messages, 'message_store_before')), $expected, 'the old table is as it was');
is( $node->safe_psql('old', q(SELECT md5(string_agg(m::text, '' ORDER BY global_position)) FROM message_store.messages AS m WHERE stream_name NOT LIKE 'late-%')),
	$expected, 'and so is the new view');

# The connections go on, with the plans that they had.
foreach my $n (0 .. 2)
{
	is($client[$n]->get(qq(EXECUTE w(gen_random_uuid(), 'after-$n', 'T', '{}'))), '0', "client $n goes on");
	is($client[$n]->state(qq(SELECT write_message(gen_random_uuid()::varchar, 'after-$n', 'T', '{}', NULL, 7))), 'P0001', 'and is refused as before');
	is($client[$n]->get(qq(SELECT count(*) FROM get_stream_messages('after-$n'))), '1', 'and reads');
	$client[$n]->quit;
}
is($node->safe_psql('old', q(SELECT bool_and(global_position > (SELECT max(global_position) FROM message_store_before.messages)) FROM message_store.messages WHERE stream_name LIKE 'after-%')),
	't', 'positions go on');
store_is_sound($node, 'old', 'message_store', 'after the move');
guards_hold($node, 'old', 'message_store', 'after the move');
$admin->quit;

# A second time there is nothing to move, and a failure leaves all as it was.
make_message_db($node, 'bad', 10);
$node->safe_psql('bad', q(UPDATE message_store.messages SET type = '' WHERE global_position = 5));
my ($state, undef, $err) = run_sql($node, 'bad', "$begin$rest");
is($state, '22023', 'a message that cannot be moved');
like($err, qr/Message 5: type not of 1 to 512 bytes\./, 'is named');
is($node->safe_psql('bad', q(SELECT count(*) FROM message_store.messages)), '10', 'and the database is as it was');
is($node->safe_psql('bad', q(SET search_path = message_store; SELECT write_message(gen_random_uuid()::varchar, 'x-1', 'T', '{}'))), '0', 'and goes on');

$node->stop;
done_testing();
