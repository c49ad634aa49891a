# A standby reads the log up to the watermark, and misses nothing of what the
# primary's appenders do; promoted, it goes on where its readers are.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFeed;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $SECONDS = 4;

my $primary = start_node('primary', init => { allows_streaming => 1 },
	conf => "$EventstoreFeed::CONF\nhot_standby_feedback = on\nwal_receiver_status_interval = 1s\n");

make_database($primary, 'test', 'app');
$primary->backup('copy');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

my $append = q(SELECT es_append('hot-0', '[{"type": "t0"}]', allow_create => true));

# ---------------------------------------------------------------------------
# No watermark, no reading.
# ---------------------------------------------------------------------------

$primary->safe_psql('test', $append);
$primary->wait_for_catchup($standby);
is((run_sql($standby, 'test', 'SELECT * FROM es_read_all()'))[0], '55000', 'without a watermark: es_read_all');
is((run_sql($standby, 'test', 'SELECT es_horizon()'))[0], '55000', 'without a watermark: es_horizon');
is((run_sql($standby, 'test', "CALL es_wait(0, '1 ms')"))[0], '55000', 'without a watermark: es_wait');
is((run_sql($standby, 'test', 'SELECT es_start_worker()'))[0], '25006', 'nor can it be made there');

$primary->safe_psql('test', 'SELECT es_start_worker()');
$standby->poll_query_until('test', 'SELECT position = 1 FROM app.es_watermark') or die 'no watermark';
is($standby->safe_psql('test', 'SELECT es_horizon(), count(*) FROM es_read_all()'), '1|1', 'with a watermark it reads');
is($standby->safe_psql('test', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_horizon(), count(*) FROM es_read_all()'),
	'1|1', 'at every isolation level');
is((run_sql($standby, 'test', 'SELECT * FROM es_read_all(1000)'))[0], '00000', 'a cursor that it has not replayed yet may be good');
is((run_sql($standby, 'test', q(SELECT * FROM es_fetch('s'))))[0] =~ /^(25006|42704)$/ ? 'refused' : 'not', 'refused', 'consumers work on the primary');

# The primary's sequence is ahead of its log there, and nobody's lock is known: an
# open append must not be passed all the same.
my $open = new_session($primary, 'test');
$open->get("BEGIN; SELECT es_append('open', '[{\"type\": \"t0\"}]', 0)");
$primary->safe_psql('test', $append);
$primary->wait_for_catchup($standby);
is($standby->safe_psql('test', 'SELECT es_horizon(), max(position) FROM es_read_all()'), '1|1', 'an append that is open on the primary holds the standby');
my $waiter = new_session($standby, 'test');
$waiter->send(q(CALL es_wait(1, '10 min')));
$standby->poll_query_until('test', q(SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = ) . $waiter->pid)
  or die 'does not sleep';
$standby->poll_query_until('test', q(SELECT wait_event_type = 'Extension' AND backend_xmin IS NULL FROM pg_stat_activity WHERE pid = ) . $waiter->pid)
  or die 'holds a snapshot';
$open->get('COMMIT');
is($waiter->answer->{out}, '3', 'who waits on the standby is woken by the watermark');
is($standby->safe_psql('test', q(SELECT string_agg(position::text, ' ') FROM es_read_all())), '1 2 3', 'and misses nothing');
$waiter->quit;

# ---------------------------------------------------------------------------
# Readers of the standby while appenders do what they like on the primary.
# ---------------------------------------------------------------------------

my $feed = EventstoreFeed->new(node => $primary, db => 'test', store => 'app');
my %reader = map {
	$_ => { session => new_session($standby, 'test', settings => { default_transaction_isolation => $_ }), cursor => 0, given => [] }
} ('read committed', 'repeatable read');

# One page of each; returns how many events came.
sub read_pages
{
	my ($node) = @_;
	my $count = 0;

	foreach my $name (sort keys %reader)
	{
		my $r = $reader{$name};
		my @page = split /\n/, $r->{session}->get("SELECT position, key, version FROM es_read_all($r->{cursor}, 500)");

		push @{ $r->{given} }, @page;
		($r->{cursor}) = $page[-1] =~ /^(\d+)/ if @page;
		$count += @page;
	}
	return $count;
}

$feed->start_appenders(12);
my $end = time() + $SECONDS;
my $pages = 0;
while (time() < $end)
{
	$pages++ if read_pages();
	usleep(5_000);
}
$feed->stop_appenders;
$primary->wait_for_catchup($standby);
my $last = $primary->safe_psql('test', 'SELECT es_horizon()');
$standby->poll_query_until('test', "SELECT es_horizon() = $last") or die 'the watermark does not come';
1 while read_pages();

my $log = $primary->safe_psql('test', 'SELECT position, key, version FROM app.es_events ORDER BY position');
note scalar(my @lines = split /\n/, $log), " events in $pages pages";
cmp_ok($pages, '>', 10, 'the standby was read meanwhile');
foreach my $name (sort keys %reader)
{
	ok(join("\n", @{ $reader{$name}{given} }) eq $log, "$name: the standby's reader has got the log, no more and no less");
}
is($feed->errors('-'), '', 'no appender had an error');

# ---------------------------------------------------------------------------
# Promotion, with an append prepared and another one open.
# ---------------------------------------------------------------------------

my $cursor = $reader{'read committed'}{cursor};
$primary->safe_psql('test', qq(BEGIN; SELECT es_append('prepared', '[{"type": "t0"}]', 0); PREPARE TRANSACTION 'kept'));
$open->get(q(BEGIN; SELECT es_append('lost', '[{"type": "t0"}]', 0)));
$primary->safe_psql('test', $append);
my $before = $primary->safe_psql('test', 'SELECT last_value FROM app.es_position_seq');
$primary->wait_for_catchup($standby);
is(read_pages(), 0, 'before: neither is passed');
$primary->stop('immediate');
$standby->promote;
$standby->poll_query_until('test', 'SELECT NOT pg_is_in_recovery()') or die 'not promoted';

is($standby->safe_psql('test', 'SELECT gid, bound >= ' . $cursor . ' FROM es_in_flight'), 'kept|t', 'promoted: es_in_flight names the prepared append');
my $next = $standby->safe_psql('test', "$append \\gset\nSELECT max(position) FROM app.es_events");
cmp_ok($next, '>', $before, 'promoted: positions are new ones');
my $session = $reader{'read committed'}{session};
is($session->get("SELECT count(*) FROM es_read_all($cursor)"), '0', 'promoted: it holds the readers');
is($session->get('SELECT es_horizon() >= ' . $cursor), 't', 'promoted: at their cursor or behind');
$standby->safe_psql('test', q(COMMIT PREPARED 'kept'));
is($session->get("SELECT string_agg(key, ' ' ORDER BY position) FROM es_read_all($cursor)"),
	'prepared hot-0 hot-0', 'promoted: committed, it comes first, and nothing is missed');
is($session->get("SELECT max(position) FROM es_read_all($cursor)"), $next, 'promoted: up to the end');
is($standby->safe_psql('test', 'SELECT es_start_worker()'), 't', 'promoted: it has a worker of its own');
ok($standby->poll_query_until('test', "SELECT position = $next FROM app.es_watermark"), 'promoted: which moves the watermark');
is($reader{'repeatable read'}{session}->get("SELECT max(position) FROM es_read_all($cursor)"), $next, 'promoted: for the others');
store_is_sound($standby, 'test', 'app', 'promoted');

$_->quit foreach ($open, map { $_->{session} } values %reader);
$standby->stop;
done_testing();
