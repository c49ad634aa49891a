# A standby reads; whatever writes or locks is refused there by PostgreSQL's own
# error.  Promoted, it goes on where the primary was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_node('primary', init => { allows_streaming => 1 });

make_database($primary, 'test', 'app');
$primary->backup('copy');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

# Replayed, not copied.
$primary->safe_psql(
	'test', q(
	SELECT es_append('order-1', '[{"type": "a", "data": {"n": 1}, "tags": ["x"]}, {"type": "b"}]', 0, request_id => 'r1');
	SELECT es_append('order-' || n, '[{"type": "a"}]', 0) FROM generate_series(2, 100) n));
$primary->wait_for_catchup($standby);

# The sequence is ahead there: PostgreSQL logs its values in advance.
same_contents(store_contents($standby, 'test', 'app'), store_contents($primary, 'test', 'app'),
	'the standby has the same', qr/^sequence/);

# A session of before the promotion, with plans made in recovery.
my $session = new_session($standby, 'test');
is($session->get(q(SELECT es_version('order-1'), es_version('nothing'))), '2|0', 'es_version');
is( $session->get(q(SELECT version, type, data, tags FROM es_read('order-1'))),
	qq(1|a|{"n": 1}|{x}\n2|b||), 'es_read');
is($session->get(q(SELECT version FROM es_read('order-1', max_count => 1, backwards => true))),
	'2', 'es_read backwards');
is($session->get(q(SELECT count(*) FROM es_read('nothing'))), '0', 'es_read of nothing');
is($session->get(q(SELECT status, version FROM es_find_request('order-1', 'r1'))),
	'repeated|2', 'es_find_request');
is($session->get(q(SELECT es_category('order-1'))), 'order', 'es_category');
is($session->get(q(SELECT count(*) FROM es_check_store('app'))), '0', 'es_check_store');

my %writes = (
	'es_append' => q(SELECT es_append('order-1', '[{"type": "t"}]')),
	'es_append, expected' => q(SELECT es_append('order-1', '[{"type": "t"}]', 2)),
	'es_append, stale' => q(SELECT es_append('order-1', '[{"type": "t"}]', 1)),
	'es_append, creating' => q(SELECT es_append('new', '[{"type": "t"}]', 0)),
	'es_append, allowed to create' => q(SELECT es_append('new', '[{"type": "t"}]', allow_create => true)),
	'es_append, missing' => q(SELECT es_append('new', '[{"type": "t"}]')),
	'es_append, a repeat' => q(SELECT es_append('order-1', '[{"type": "t"}]', request_id => 'r2')),
	'es_try_append' => q(SELECT * FROM es_try_append('order-1', '[{"type": "t"}]', 2)),
	'es_append_many' => q(SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "t"}]}, {"key": "new", "expected_version": 0}]')),
	'es_append_many, guards only' => q(SELECT * FROM es_append_many('[{"key": "order-1", "expected_version": 2}]')),
	'es_append_many, guard for absence' => q(SELECT * FROM es_append_many('[{"key": "new", "expected_version": 0}]')),
	'es_try_append_many' => q(SELECT * FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "t"}]}]')),
	'es_append_each' => q(SELECT * FROM es_append_each('[{"key": "order-1", "events": [{"type": "t"}]}]')),
	'es_lock' => q(SELECT * FROM es_lock(ARRAY['order-1'])),
	'es_lock, absent' => q(SELECT * FROM es_lock(ARRAY['new'])),
	'es_create_store' => q(SELECT es_create_store('more')),
	'es_drop_store' => q(SELECT es_drop_store('app')));

foreach my $write (sort keys %writes)
{
	my $answer = $session->run($writes{$write});
	is($answer->{state}, '25006', "standby: $write is refused")
	  or diag($answer->{err});
}

# The same in a transaction that is read-only on the primary.
my $reader = new_session($primary, 'test',
	settings => { default_transaction_read_only => 'on' });
foreach my $write (sort keys %writes)
{
	my $answer = $reader->run($writes{$write});
	is($answer->{state}, '25006', "read-only: $write is refused")
	  or diag($answer->{err});
}
is($reader->get(q(SELECT es_version('order-1'))), '2', 'read-only: es_version');
is($reader->get(q(SELECT count(*) FROM es_read('order-1'))), '2', 'read-only: es_read');
$reader->quit;

# The snapshot of a transaction on the standby stays while more is replayed.
$session->get(q(BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_version('order-1')));
$primary->safe_psql('test', q(SELECT es_append('order-1', '[{"type": "c"}]', 2)));
$primary->wait_for_catchup($standby);
is($session->get(q(SELECT es_version('order-1'), count(*) FROM es_read('order-1'))),
	'2|2', 'REPEATABLE READ stays');
$session->get('COMMIT');
is($session->get(q(SELECT es_version('order-1'), count(*) FROM es_read('order-1'))),
	'3|3', 'and then moves on');

# The primary dies with an append open; the standby takes over.
my $open = new_session($primary, 'test');
$open->get(q(BEGIN; SELECT es_append('order-1', '[{"type": "open"}]', 3)));
my $last = $primary->safe_psql('test', 'SELECT max(position) FROM app.es_events');
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$standby->promote;
$standby->poll_query_until('test', 'SELECT NOT pg_is_in_recovery()');

is($session->get(q(SELECT es_append('order-1', '[{"type": "d", "tags": ["y"]}]', 3, request_id => 'r3'))),
	'4', 'promoted: the next append takes the next version');
is($session->get("SELECT position > $last FROM es_read('order-1', 4)"), 't', 'and a higher position');
is($session->get(q(SELECT es_append('new', '[{"type": "t"}]', 0))), '1', 'a creation');
is($session->get(q(SELECT es_append('order-1', '[{"type": "a", "data": {"n": 1}}, {"type": "b"}]', 0, request_id => 'r1'))),
	'2', 'a repeat is known');
is( $session->get(q(SELECT status, version FROM es_append_many('[{"key": "order-2", "events": [{"type": "t"}]}, {"key": "order-3", "expected_version": 1}]'))),
	"appended|2\nchecked|1", 'es_append_many');
store_is_sound($standby, 'test', 'app', 'promoted');
guards_hold($standby, 'test', 'app', 'promoted');
append_continues($standby, 'test', 'app', 'order-1', 'promoted');

$_->quit foreach ($open, $session);
$standby->stop;
done_testing();
