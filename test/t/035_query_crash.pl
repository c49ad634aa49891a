# What es_query has returned survives a crash, also with synchronous_commit off: else
# positions up to its cursor would be handed out again, and a condition after the
# cursor would hold although there are events that the decision knows nothing of.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node(
	'main', conf => q(
synchronous_commit = off
wal_writer_delay = 10s
full_page_writes = off
autovacuum = off
));

make_database($node, 'test', 'app');

my $append = q(SELECT es_append('k', '[{"type": "t", "tags": ["t"]}]', allow_create => true));
my $query = q(FROM es_query('[{"tags": ["t"]}]'));

for my $round (1 .. 3)
{
	my $writer = new_session($node, 'test');
	my $reader = new_session($node, 'test');

	# More than the sequence logs ahead of itself.
	$writer->get($append) for 1 .. 100;
	my $cursor = $reader->get("SELECT max(position) $query");
	my $events = $reader->get("SELECT count(*) $query");

	$node->stop('immediate');
	$_->quit foreach ($writer, $reader);
	$node->start;
	is($node->safe_psql('test', "SELECT max(position), count(*) $query WHERE position <= $cursor"), "$cursor|$events", "round $round: what was read is still there");
	cmp_ok($node->safe_psql('test', 'SELECT last_value FROM app.es_position_seq'), '>=', $cursor, "round $round: no position is handed out again");
}

store_is_sound($node, 'test', 'app', 'afterwards');
$node->stop('immediate');
done_testing();
