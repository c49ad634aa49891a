# The log can be read when the end of WAL is the header of a segment's first page, which
# is not written yet and so cannot be flushed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Where the server says that its WAL ends then: behind that header.
my $LONG_HEADER = 40;

my $node = start_node('main', conf => "autovacuum = off\n");
make_database($node, 'test', 'app');

my $met = 0;
foreach my $round (1 .. 10)
{
	$node->safe_psql('test', q(SELECT es_append('order-1', '[{"type": "t"}]', allow_create => true)));
	# Whoever reads rows first may have to write something about them.
	$node->safe_psql('test', 'SELECT FROM app.es_events, app.es_aggregates');
	# The first to read the event by way of the log makes sure that it is on disk.  Others
	# may write in between.
	my ($status, $out, $err) = $node->psql('test', q(
		SELECT FROM pg_switch_wal();
		SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint % setting::bigint FROM pg_settings WHERE name = 'wal_segment_size';
		SELECT count(*) FROM es_read_all()));
	my ($place, $count) = split /\n/, $out;

	is("$status $err", '0 ', "round $round: no error");
	is($count, $round, "round $round: every event");
	$met++ if $place == $LONG_HEADER;
}
cmp_ok($met, '>', 0, 'the end was a header');

$node->stop;
done_testing();
