# DROP EXTENSION CASCADE takes the functions and the guards, and says so; events
# and sequence stay, and CREATE EXTENSION with es_upgrade_store brings all back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');

make_database($node, 'test', 'app', 'other');
$node->safe_psql(
	'test', q(
	SELECT es_append('order-1', '[{"type": "a", "tags": ["x", "y"]}, {"type": "b"}]', 0, request_id => 'r1');
	SELECT es_append('order-2', '[{"type": "a"}]', 0);
	SET eventstore.store = 'other';
	SELECT es_append('order-1', '[{"type": "c"}]', 0)));

# A session that has used the functions before, and will afterwards.
my $warm = new_session($node, 'test');
foreach my $n (3 .. 8)
{
	$warm->get(qq(SELECT es_append('order-1', '[{"type": "warm", "tags": ["w"]}]', $n - 1)));
}
$warm->get(q(SELECT count(*) FROM es_read('order-1')));

# Data as they are, without what the extension puts around them.
sub data_of
{
	return join "\n",
	  grep { /^(?:events|aggregates|tags|store|sequence)\|/ }
	  map { split /\n/, store_contents($node, 'test', $_) } qw(app other);
}

my $data = data_of();

my ($state, $out, $err) = run_sql($node, 'test', 'DROP EXTENSION eventstore');
is($state, '2BP01', 'the extension is not dropped without CASCADE');
like($err, qr/trigger es_guard on table app\.es_events depends on/, 'because of the guards');

($state, $out, $err) = run_sql($node, 'test', 'DROP EXTENSION eventstore CASCADE');
is($state, '00000', 'drop with CASCADE');
foreach my $table (qw(es_events es_aggregates es_tags))
{
	like($err, qr/drop cascades to trigger es_guard on table app\.$table\b/,
		"says that the guard of $table goes");
}
unlike($err, qr/drop cascades to (?!trigger es_guard|6 other objects)/, 'and nothing else');

is(data_of(), $data, 'events, aggregates, tags, store and sequence are kept');
is($warm->state(q(SELECT es_append('order-1', '[{"type": "gone"}]', 8))),
	'42883', 'no function is left');
is( $node->safe_psql(
		'test', q(SELECT count(*), max(version) FROM app.es_events WHERE key = 'order-1')),
	'8|8', 'events can be read with SQL');

$node->safe_psql('test', 'CREATE EXTENSION eventstore');
is(data_of(), $data, 'nor does CREATE EXTENSION touch them');

my $findings = $node->safe_psql('test', q(SELECT finding FROM es_check_store('app')));
like($findings, qr/guard/, 'es_check_store misses the guards');
is($warm->get(q(SELECT es_append('order-1', '[{"type": "warm"}]', 8))),
	'9', 'a session that knows the store goes on');

$node->safe_psql('test', q(SELECT es_upgrade_store('app'); SELECT es_upgrade_store('other')));
foreach my $store ('app', 'other')
{
	store_is_sound($node, 'test', $store, "$store, after es_upgrade_store");
	guards_hold($node, 'test', $store, $store);
	append_continues($node, 'test', $store, 'order-1', $store);
}
is($node->safe_psql('test', q(SELECT es_append('order-1', '[{"type": "a"}, {"type": "b"}]', 0, request_id => 'r1'))),
	'2', 'a repeat is known');
is($warm->get(q(SELECT es_append('order-1', '[{"type": "warm"}]', 10))),
	'11', 'the session still goes on');

# Once more, in one transaction, and twice upgraded.
$node->safe_psql(
	'test', q(
	BEGIN;
	DROP EXTENSION eventstore CASCADE;
	CREATE EXTENSION eventstore;
	SELECT es_upgrade_store('app');
	SELECT es_upgrade_store('app');
	SELECT es_append('order-1', '[{"type": "d"}]', 11);
	COMMIT));
is($warm->get(q(SELECT es_append('order-1', '[{"type": "warm"}]', 12))),
	'13', 'dropped, made and upgraded in one transaction');
guards_hold($node, 'test', 'app', 'after one transaction');
store_is_sound($node, 'test', 'app', 'after one transaction');

# Rolled back, it has not happened.
$node->safe_psql('test', q(SELECT es_upgrade_store('other')));
$data = data_of();
$node->safe_psql('test', 'BEGIN; DROP EXTENSION eventstore CASCADE; ROLLBACK');
is(data_of(), $data, 'rolled back');
guards_hold($node, 'test', 'app', 'rolled back');
append_continues($node, 'test', 'app', 'order-1', 'rolled back');

$warm->quit;
$node->stop;
done_testing();
