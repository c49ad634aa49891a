# A message store is dumped and restored whole, into a server that does not have the
# role message_store yet, and goes on there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');
my $dumps = PostgreSQL::Test::Utils::tempdir('dumps');

sub client_ok
{
	my ($name, $of, @command) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $output = '';
	my $ok = IPC::Run::run([ program($of, shift @command), @command ], '>&', \$output);

	ok($ok && $output eq '', $name) or diag("@command: $output");
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', 'CREATE EXTENSION eventstore');
$node->safe_psql('source', 'CREATE EXTENSION eventstore_message_db');
$node->safe_psql(
	'source', q(
	SELECT message_store.es_create_message_store();
	CREATE ROLE regress_es_reporter;
	GRANT USAGE ON SCHEMA message_store TO regress_es_reporter;
	GRANT SELECT ON message_store.es_events, message_store.type_summary TO regress_es_reporter;
	SELECT count(message_store.write_message(gen_random_uuid()::varchar, 'account-' || n % 10, 'T' || n % 3, to_jsonb(n), jsonb_build_object('n', n)))
	FROM generate_series(1, 500) AS n;
	CREATE VIEW public.mine AS SELECT message_store.category(stream_name) AS category, count(*) FROM message_store.messages GROUP BY 1;));

my $contents = store_contents($node, 'source', 'message_store');
my $messages = q(SELECT md5(string_agg(m::text, '' ORDER BY global_position)) FROM message_store.messages AS m);
my $expected = $node->safe_psql('source', $messages);
like($contents, qr/^events\|500\|/m, 'the source has its messages');

sub check_copy
{
	my ($copy, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	same_contents(store_contents($copy, 'copy', 'message_store'), $contents, "$name: nothing is missing or different");
	is($copy->safe_psql('copy', $messages), $expected, "$name: the messages are the same");
	is($copy->safe_psql('copy', 'SELECT * FROM mine'), 'account|500', "$name: a view over them works");
	my ($state, $out, $err) = run_sql(
		$copy, 'copy', q(
		SET SESSION AUTHORIZATION message_store;
		SELECT write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}', NULL, 49);
		SELECT global_position, position FROM get_category_messages('account', 500);
		SELECT write_message((SELECT id::varchar FROM messages LIMIT 1), 'account-1', 'T', '{}');));
	is($state, '23505', "$name: an id is taken once");
	like($err, qr/messages_id/, "$name: by the index of message-db's name");
	is($out, "50\n500|49\n501|50", "$name: the role writes on");
	is($copy->safe_psql('copy', q(SET ROLE regress_es_reporter; SELECT count(*) FROM message_store.type_summary)), '4', "$name: rights granted by the user are kept");
	store_is_sound($copy, 'copy', 'message_store', $name);
	guards_hold($copy, 'copy', 'message_store', $name);
	return;
}

client_ok('dump as text', $node, 'pg_dump', '-f', "$dumps/plain.sql", $node->connstr('source'));
client_ok('dump as archive', $node, 'pg_dump', '-Fc', '-f', "$dumps/archive", $node->connstr('source'));

foreach my $way (
	[ 'psql', 'psql', '-Xq', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-1', '-f', "$dumps/plain.sql", '-d' ],
	[ 'pg_restore -j2', 'pg_restore', '-j2', '--exit-on-error', "$dumps/archive", '-d' ])
{
	my ($name, @command) = @$way;
	my $copy = start_node('copy_' . $command[0]);

	$copy->safe_psql('postgres', 'CREATE ROLE regress_es_reporter');
	$copy->safe_psql('postgres', 'CREATE DATABASE copy');
	is($copy->safe_psql('postgres', q(SELECT count(*) FROM pg_roles WHERE rolname = 'message_store')), '0', "$name: there is no role yet");
	client_ok("restore with $name", $copy, @command, $copy->connstr('copy'));
	check_copy($copy, $name);
	$copy->stop;
}

$node->stop;
done_testing();
