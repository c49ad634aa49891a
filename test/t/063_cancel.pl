# Calls with hundreds of thousands of parts are cancelled, or run into a timeout, wherever
# they are: the statement fails with 57014, leaves nothing, and the session goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "autovacuum = off\n");

make_database($node, 'test', 'app');
$node->safe_psql('test', q(SELECT es_append('order-1', '[{"type": "t", "tags": ["a"]}]', 0)));

# Made beforehand, so that what is cancelled is the call.
$node->safe_psql(
	'test', q(
	CREATE TABLE input (name text, value jsonb);
	INSERT INTO input
		SELECT 'events', jsonb_agg(jsonb_build_object('type', 't', 'data', n)) FROM generate_series(1, 400000) AS n
		UNION ALL SELECT 'tagged', jsonb_agg(jsonb_build_object('type', 't', 'tags', jsonb_build_array('a' || n, 'b' || n))) FROM generate_series(1, 200000) AS n
		UNION ALL SELECT 'writes', jsonb_agg(jsonb_build_object('key', 'k-' || n, 'events', '[{"type": "t"}]'::jsonb, 'allow_create', true)) FROM generate_series(1, 200000) AS n
		UNION ALL SELECT 'repeats', jsonb_agg(jsonb_build_object('key', 'order-1', 'events', '[{"type": "t"}]'::jsonb, 'expected_version', 9, 'request_id', 'r')) FROM generate_series(1, 400000) AS n
		UNION ALL SELECT 'tags', jsonb_agg('t' || n) FROM generate_series(1, 150000) AS n;
	INSERT INTO input SELECT 'conditions', jsonb_build_array(
		jsonb_build_object('key', 'k-1', 'events', jsonb_build_array(jsonb_build_object('type', 't', 'tags', value)), 'allow_create', true),
		jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', value))))))
		FROM input WHERE name = 'tags';
	INSERT INTO input SELECT 'query', jsonb_agg(jsonb_build_object('tags', jsonb_build_array('t' || n))) FROM generate_series(1, 100000) AS n));

my @calls = (
	[ 'events', q(es_append('order-2', value, 0)) ],
	[ 'tagged', q(es_append('order-2', value, 0)) ],
	[ 'writes', 'es_append_many(value)' ],
	[ 'writes', 'es_append_each(value)' ],
	[ 'repeats', 'es_append_each(value)' ],
	[ 'conditions', 'es_append_many(value)' ],
	[ 'query', 'es_query(value)' ],
	[ 'query', q(es_read_all(0, 10, value)) ],
	[ 'writes', q(es_lock(ARRAY(SELECT w->>'key' FROM jsonb_array_elements(value) AS w))) ]);
my $before = store_contents($node, 'test', 'app');
my $session = new_session($node, 'test');

foreach my $call (@calls)
{
	my ($input, $function) = @$call;
	my $sql = "SELECT count(r) FROM input, $function AS r WHERE name = '$input'";
	my $name = "$function of $input";

	$session->send($sql);
	$node->poll_query_until('test', 'SELECT state = \'active\' AND query LIKE \'%FROM input%\' FROM pg_stat_activity WHERE pid = ' . $session->pid)
	  or die "$name did not run";
	$node->safe_psql('test', 'SELECT pg_cancel_backend(' . $session->pid . ')');
	is($session->answer->{state}, '57014', "$name, cancelled");

	$session->get('BEGIN; SAVEPOINT before; SET LOCAL statement_timeout = 20');
	is($session->state($sql), '57014', "$name, timed out");
	$session->get('ROLLBACK TO before');
	is($session->get("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'"), '0', 'it has given up its locks');
	$session->get('COMMIT');
	same_contents(store_contents($node, 'test', 'app'), $before, 'and left nothing', qr/^sequence/);
}
is($session->get(q(SELECT es_append('order-1', '[{"type": "t"}]', 1))), '2', 'the session goes on');
store_is_sound($node, 'test', 'app', 'afterwards');
$session->quit;
$node->stop;
done_testing();
