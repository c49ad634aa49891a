# Random JSON for every function that takes it: what is wrong is refused with 22023 and
# changes nothing, what is right is stored as it was sent and found by its query, and
# there is no crash and no internal error (see EventstoreFuzz).
#
# EVENTSTORE_TEST_LONG=1 ("make fuzz") tries a million of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFuzz;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $INPUTS = $ENV{EVENTSTORE_TEST_LONG} ? 1_000_000 : 20_000;

# So many at a time.
my $BATCH = 2000;

my $node = start_node('main', conf => "log_min_messages = panic\nlog_min_error_statement = panic\n");

make_database($node, 'fuzz', 'app');
$node->safe_psql(
	'fuzz', q(
	SELECT es_append('order-1', '[{"type": "a", "tags": ["a"]}, {"type": "b", "tags": ["a", "b"]}, {"type": "c"}]', 0);
	SELECT es_append('order-2', '[{"type": "op", "tags": ["c", "order-1"]}]', 0);
	SELECT es_append('order', '[{"type": "a", "tags": ["b"]}]', 0);
	SELECT es_append('''-', jsonb_build_array(jsonb_build_object('type', '''',
		'tags', jsonb_build_array('''', chr(92), '%s%n', 'C:' || chr(92) || 'new'))), 0)));

my $before = store_contents($node, 'fuzz', 'app');
my $fuzz = EventstoreFuzz->new(node => $node, db => 'fuzz', store => 'app');

for (my $left = $INPUTS; $left > 0; $left -= $BATCH)
{
	$fuzz->run($left < $BATCH ? $left : $BATCH);
	last if $fuzz->findings ne '';
}
$fuzz->wait;
is($fuzz->findings, '', "$INPUTS inputs end as they should");
note $fuzz->outcomes;
is($node->safe_psql('fuzz', 'SELECT sum(count) FROM fuzz.outcomes'), $INPUTS, 'all were tried');

# Rolled back, all of it.  Positions that were drawn are gone.
same_contents(store_contents($node, 'fuzz', 'app'), $before, 'nothing is left of them', qr/^sequence/);
store_is_sound($node, 'fuzz', 'app', 'in the end');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal/, 'no crash');

# It is worth something only if both kinds were there of each form.
my $kinds = $node->safe_psql('fuzz', q(
	SELECT count(*) FROM (SELECT kind FROM fuzz.outcomes
						  GROUP BY kind HAVING sum(count) FILTER (WHERE valid AND state = 'FZ000') > 0
							 AND sum(count) FILTER (WHERE state = '22023') > 0) k));
is($kinds, '9', 'right and wrong inputs of each form');

$node->stop;
done_testing();
