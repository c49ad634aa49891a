# The global log under load: whatever appenders do, no reader misses an event, gets
# one twice or out of order, and what subscriptions project equals the log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFeed;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $SECONDS = 8;

my $node = start_node('main', conf => $EventstoreFeed::CONF);

make_database($node, 'feed', 'app');
$node->safe_psql(
	'feed', q(
	SELECT es_append('hot-0', '[{"type": "t0"}]', 0);
	SELECT es_create_subscription('inside', NULL, 5);
	SELECT es_create_subscription('outside', NULL, 3);
	SELECT es_start_worker()));
$node->poll_query_until('feed', 'SELECT count(*) = 1 FROM app.es_watermark')
  or die 'there is no watermark';

my $feed = EventstoreFeed->new(node => $node, db => 'feed', store => 'app');

$feed->start_reader('small', 'poll', 3);
$feed->start_reader('large', 'poll', 1000, 'feed.dawdle' => 0.01);
$feed->start_reader('filtered', 'filter', 50);
$feed->start_reader('waiting', 'wait', 100);
$feed->start_reader('repeatable', 'poll', 200, default_transaction_isolation => 'repeatable read');
$feed->start_consumer("inside$_", "CALL feed.project('inside', 40)") foreach 1 .. 3;
$feed->start_consumer("outside$_", "CALL feed.handle_outside('outside', 40)") foreach 1 .. 2;
$feed->start_helper('terminator', q(CALL feed.terminate_some('^(inside|outside)[0-9]')));
$feed->start_appenders(12);

sleep $SECONDS;
$feed->stop_appenders;
is($feed->missed, 0, 'nothing is missed while readers are at work');
$feed->drain;
$feed->describe;
is($feed->findings, '', 'readers and subscriptions agree with the log');
is($feed->errors('terminating connection'), '', 'nobody had an error but the terminated');
cmp_ok($node->safe_psql('feed', 'SELECT count(*) FROM feed.terminated'), '>', 0, 'consumers were terminated');
cmp_ok($node->safe_psql('feed', 'SELECT count(*) FROM app.es_events'), '>', 500, 'there was something to read');
store_is_sound($node, 'feed', 'app', 'in the end');
no_deadlocks($node, 'in the end');

$node->stop;
done_testing();
