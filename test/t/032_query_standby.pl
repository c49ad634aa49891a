# es_query on a standby reads up to the watermark: what it returns hides nothing that
# is still in flight on the primary, so its cursor is good for a condition there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_node('primary', init => { allows_streaming => 1 }, conf => "max_prepared_transactions = 2\n");

make_database($primary, 'test', 'app');
$primary->backup('copy');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

my $query = q('[{"tags": ["t"]}]');
my $append = q(SELECT es_append('k', '[{"type": "e", "tags": ["t", "u"]}]', allow_create => true));
my $positions = "SELECT string_agg(position::text, ' ' ORDER BY position) FROM es_query($query)";

# What a decision on the events up to this cursor would be told.
sub condition
{
	my ($cursor) = @_;

	return qq(SELECT status FROM es_try_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": $cursor}]}]'));
}

# ---------------------------------------------------------------------------
# The watermark
# ---------------------------------------------------------------------------

$primary->safe_psql('test', $append);
$primary->wait_for_catchup($standby);
is((run_sql($standby, 'test', "SELECT * FROM es_query($query)"))[0], '55000', 'without a watermark: refused');
is((run_sql($standby, 'test', condition(0)))[0], '25006', 'conditions are for the primary');

$primary->safe_psql('test', 'SELECT es_start_worker()');
$standby->poll_query_until('test', 'SELECT position = 1 FROM app.es_watermark') or die 'no watermark';
is($standby->safe_psql('test', $positions), '1', 'with a watermark it reads');
is((run_sql($standby, 'test', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM es_query($query)"))[0],
	'25001', 'not above READ COMMITTED');
is($standby->safe_psql('test', "SELECT count(*) FROM es_query($query, 1000)"), '0', 'a cursor that it has not replayed yet may be good');
is((run_sql($standby, 'test', q(SELECT * FROM es_query('[{"types": ["e"]}]'))))[0], '22023', 'arguments are checked there too');

# ---------------------------------------------------------------------------
# An event in flight at position 2, while 3 is committed and replayed.
# ---------------------------------------------------------------------------

my $open = new_session($primary, 'test');
$open->get(q(BEGIN; SELECT es_append('open', '[{"type": "e", "tags": ["t"]}]', 0)));
$primary->safe_psql('test', $append);
$primary->wait_for_catchup($standby);
is($standby->safe_psql('test', 'SELECT max(position) FROM app.es_events'), '3', 'the standby has the event at 3');
is($standby->safe_psql('test', $positions), '1', 'and does not return it');
is($standby->safe_psql('test', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), '0', 'nor does it lock anything');
$open->get('COMMIT');
is($primary->safe_psql('test', condition(1)), 'condition_failed', 'the condition sees what came after the cursor of the standby');
$standby->poll_query_until('test', 'SELECT position >= 3 FROM app.es_watermark') or die 'the watermark does not move';
is($standby->safe_psql('test', $positions), '1 2 3', 'then it has them all');
is($primary->safe_psql('test', condition(3)), 'checked', 'and the condition holds');

# One that is open again, and several items.
$open->get(q(BEGIN; SELECT es_append('open', '[{"type": "f", "tags": ["u"]}]')));
$primary->safe_psql('test', $append);
$primary->wait_for_catchup($standby);
is($standby->safe_psql('test', q(SELECT string_agg(position::text, ' ') FROM es_query('[{"tags": ["u"]}, {"tags": ["t"], "types": ["e"]}]', 1))),
	'2 3', 'several items, after a position, up to the watermark');
$open->get('ROLLBACK');

# A cursor that it has read stays good when the standby becomes the primary.
$standby->poll_query_until('test', 'SELECT position >= 5 FROM app.es_watermark') or die 'the watermark does not move';
my $session = new_session($standby, 'test');
is($session->get("SELECT max(position) FROM es_query($query)"), '5', 'before the promotion');
$primary->safe_psql('test', qq(BEGIN; SELECT es_append('prepared', '[{"type": "e", "tags": ["t"]}]', 0); PREPARE TRANSACTION 'kept'));
$primary->safe_psql('test', $append);
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$standby->promote;
$standby->poll_query_until('test', 'SELECT NOT pg_is_in_recovery()') or die 'not promoted';
$session->send("SELECT string_agg(position::text, ' ') FROM es_query($query, 5)");
wait_until_blocked($standby, $session);
$standby->safe_psql('test', q(COMMIT PREPARED 'kept'));
is($session->answer->{out}, '6 7', 'promoted: waits for the prepared append, and then has both');
is($standby->safe_psql('test', condition(5)), 'condition_failed', 'promoted: a condition on the old cursor fails');
is($standby->safe_psql('test', condition(7)), 'checked', 'promoted: on the new one it holds');
store_is_sound($standby, 'test', 'app', 'promoted');

$_->quit foreach ($open, $session);
$standby->stop;
done_testing();
