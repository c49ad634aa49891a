# Logical replication carries a store's rows into another store, past its guards.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = start_node('publisher', init => { allows_streaming => 'logical' });
my $subscriber = start_node('subscriber', init => { allows_streaming => 'logical' });

make_database($publisher, 'test', 'app');
make_database($subscriber, 'test', 'app');

# Some rows are there before the subscription and are copied, the others are
# replicated as they come.
$publisher->safe_psql(
	'test', q(
	SELECT es_append('order-1', '[{"type": "a", "tags": ["x"]}, {"type": "b", "data": null}]', 0, request_id => 'r1');
	SELECT es_append('order-' || n, '[{"type": "a"}]', 0) FROM generate_series(2, 100) n;
	CREATE PUBLICATION events FOR TABLE app.es_aggregates, app.es_events, app.es_tags));
$subscriber->safe_psql('test',
		"CREATE SUBSCRIPTION copy CONNECTION '"
	  . $publisher->connstr
	  . " dbname=test application_name=copy' PUBLICATION events");
$subscriber->poll_query_until('test',
	q(SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')))
  or die 'the first copy does not come to an end';
same_contents(rows($subscriber), rows($publisher), 'rows are copied');

$publisher->safe_psql(
	'test', q(
	SELECT es_append('order-1', '[{"type": "c", "tags": ["y"]}]', 2);
	SELECT es_append('order-101', '[{"type": "a"}]', 0, request_id => 'r2');
	SELECT count(*) FROM es_append_many('[
		{"key": "order-1", "events": [{"type": "d"}], "expected_version": 3},
		{"key": "order-2", "events": [{"type": "d", "metadata": {"n": 1}}], "expected_version": 1}]')));
$publisher->wait_for_catchup('copy');
same_contents(rows($subscriber), rows($publisher), 'rows are replicated');

sub rows
{
	my ($node) = @_;

	return join "\n", grep { /^(?:events|aggregates|tags)\|/ }
	  split /\n/, store_contents($node, 'test', 'app');
}

# The subscriber reads, and its guards hold against everybody else.
is($subscriber->safe_psql('test', q(SELECT es_version('order-1'), count(*) FROM es_read('order-1'))),
	'4|4', 'the subscriber reads');
is($subscriber->safe_psql('test', q(SELECT status, version FROM es_find_request('order-101', 'r2'))),
	'repeated|1', 'and knows the requests');
guards_hold($subscriber, 'test', 'app', 'subscriber');
like($subscriber->safe_psql('test', q(SELECT finding FROM es_check_store('app'))),
	qr/^[^\n]*sequence[^\n]*$/, 'es_check_store finds the sequence behind, and nothing else');

# The sequence is not replicated: an append would issue positions once more.
my ($state, $out, $err) = run_sql($subscriber, 'test', q(SELECT es_append('order-1', '[{"type": "e"}]', 4)));
is($state, '55000', 'an append is refused while the sequence is behind the log');
like($err, qr/HINT:.*es_sync_position/, 'and says what to do');
same_contents(rows($subscriber), rows($publisher), 'nothing has changed');

# The subscriber takes over.
$subscriber->safe_psql('test', 'DROP SUBSCRIPTION copy');
$subscriber->safe_psql('test', 'SELECT es_sync_position()');
my $last = $subscriber->safe_psql('test', 'SELECT max(position) FROM app.es_events');
is($subscriber->safe_psql('test', q(SELECT es_append('order-1', '[{"type": "e"}]', 4))),
	'5', 'then the append continues');
is($subscriber->safe_psql('test', "SELECT position > $last FROM es_read('order-1', 5)"), 't', 'at a new position');
append_continues($subscriber, 'test', 'app', 'order-2', 'subscriber');
store_is_sound($subscriber, 'test', 'app', 'subscriber');
store_is_sound($publisher, 'test', 'app', 'publisher');

$_->stop foreach ($publisher, $subscriber);
done_testing();
