# The global log over crashes, prepared transactions, a damaged sequence and a
# restore: what a reader was given stays true.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The WAL writer flushes nothing by itself, so that a crash loses what nobody has
# flushed.
my $node = start_node(
	'main', conf => q(
max_prepared_transactions = 10
synchronous_commit = off
wal_writer_delay = 10s
autovacuum = off
));

make_database($node, 'test', 'app');

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

sub append
{
	my ($key, $type) = @_;
	return "SELECT es_append('$key', '[{\"type\": \"$type\"}]', allow_create => true)";
}

my $in_flight = q(SELECT bound, pid IS NULL, gid FROM es_in_flight ORDER BY bound);
my $last = 'SELECT last_value FROM app.es_position_seq';

# ---------------------------------------------------------------------------
# Prepared appenders hold the horizon, whatever becomes of their sessions, also
# over a crash.  A prepared transaction that has not appended does not.
# ---------------------------------------------------------------------------

$node->safe_psql(
	'test', join ";\n",
	'CREATE TABLE other (x integer)',
	'BEGIN', 'INSERT INTO other VALUES (1)', q(PREPARE TRANSACTION 'unrelated'),
	append('before', 'before'));
is($node->safe_psql('test', 'SELECT es_horizon(), count(*) FROM es_read_all()'),
	'1|1', 'an unrelated prepared transaction holds back nobody');

foreach my $gid ('one', 'two')
{
	$node->safe_psql('test', join ";\n", 'BEGIN', append("prepared-$gid", $gid), "PREPARE TRANSACTION '$gid'", append('plain', "after $gid"));
}
is($node->safe_psql('test', $in_flight), "1|t|one\n3|t|two", 'es_in_flight names prepared appenders');
is($node->safe_psql('test', 'SELECT es_horizon(), max(position) FROM es_read_all()'),
	'1|1', 'prepared appenders hold the horizon');

crash();
is($node->safe_psql('test', $in_flight), "1|t|one\n3|t|two", 'after a crash es_in_flight names them');
is($node->safe_psql('test', 'SELECT es_horizon(), max(position) FROM es_read_all()'),
	'1|1', 'after a crash they hold the horizon');
$node->safe_psql('test', append('plain', 'after the crash'));
is($node->safe_psql('test', 'SELECT es_horizon(), max(position) FROM es_read_all()'),
	'1|1', 'also against appends of after the crash');

$node->safe_psql('test', q(ROLLBACK PREPARED 'one'));
is($node->safe_psql('test', $in_flight), '3|t|two', 'one is rolled back');
is($node->safe_psql('test', q(SELECT string_agg(position || ' ' || type, ', ' ORDER BY position) FROM es_read_all(1))),
	'3 after one', 'and readers go on to the other');
$node->safe_psql('test', q(COMMIT PREPARED 'two'));
is( $node->safe_psql('test', q(SELECT string_agg(type, ', ' ORDER BY position) FROM es_read_all(3))),
	'two, after two, after the crash', 'the other is committed, and nothing is missed');
is($node->safe_psql('test', "SELECT es_horizon() - last_value, (SELECT count(*) FROM es_in_flight) FROM app.es_position_seq"),
	'0|0', 'nothing is in flight');
is($node->safe_psql('test', 'SELECT gid FROM pg_prepared_xacts'), 'unrelated', 'the unrelated one is still there');
$node->safe_psql('test', q(ROLLBACK PREPARED 'unrelated'));

# Nor does anybody in another database, whatever he has open there.
make_database($node, 'elsewhere', 'app');
my $elsewhere = new_session($node, 'elsewhere');
$elsewhere->get(join ";\n", 'BEGIN', append('k', 'elsewhere'), 'CREATE TABLE more (x integer)');
$node->safe_psql('test', append('plain', 'meanwhile'));
is($node->safe_psql('test', "SELECT es_horizon() - last_value, (SELECT count(*) FROM es_in_flight) FROM app.es_position_seq"),
	'0|0', 'an append that is open in another database holds back nobody');
$elsewhere->quit;

# Who has prepared it has seen its own events before, and must not now.
my $session = new_session($node, 'test');
my $own = $session->get(join ";\n", 'BEGIN', append('prepared', 'own'), 'SELECT max(position) FROM es_read_all()');
$own =~ s/.*\n//s;
is($session->get('SELECT es_horizon()'), $own, 'own events are there before they are prepared');
$session->get(q(PREPARE TRANSACTION 'own'));
cmp_ok($session->get('SELECT es_horizon()'), '<', $own, 'and not after');
is($session->get("SELECT count(*) FROM es_read_all($own - 1)"), '0', 'nor in the log');
$session->get(append('plain', 'after own'));
cmp_ok($session->get('SELECT es_horizon()'), '<', $own, 'whatever comes after');
$session->get(q(COMMIT PREPARED 'own'));
is($session->get("SELECT string_agg(type, ', ' ORDER BY position) FROM es_read_all($own - 1)"), 'own, after own', 'until they are committed');
$session->quit;

# ---------------------------------------------------------------------------
# Commits are asynchronous, but no event and no cursor leaves a reading function
# before it is on disk: a crash takes neither away, and hands out no position anew.
# ---------------------------------------------------------------------------

$node->safe_psql('test', q(SELECT es_create_subscription('s', after_position => es_horizon())));

# Each way to be given something: SQL of the writer, then of the reader, which
# answers with a position.  Both are sessions that have been at work before.
my @ways = (
	[ 'es_read_all', append('k', 'read'), 'SELECT max(position) FROM es_read_all(0, 100000)' ],
	[ 'es_read_all with a filter', append('k', 'filtered'), q(SELECT max(position) FROM es_read_all(0, 100000, '[{"types": ["filtered"]}]')) ],
	[ 'es_horizon', append('k', 'horizon'), 'SELECT es_horizon()' ],
	[ 'es_wait', append('k', 'wait'), "CALL es_wait(0, '1 min')" ],
	[ 'es_wait in a block', append('k', 'wait'), "BEGIN; CALL es_wait(0, '1 min'); COMMIT" ],
	[ 'es_fetch', append('k', 'fetch'), q(SELECT max(to_position) FROM es_fetch('s', 100000)) ],
	[ 'es_subscription_status', append('k', 'status'), q(SELECT position + lag FROM es_subscription_status) ],
	# Nothing is committed: only the sequence has moved, and its WAL has to be there.
	[ 'es_horizon over an append that is rolled back', join(";\n", 'BEGIN', append('k', 'never'), 'ROLLBACK'), 'SELECT es_horizon()' ],
	[ 'es_fetch over appends that are rolled back', join(";\n", 'BEGIN', "SELECT es_append('k', " . events_of(100) . ')', 'ROLLBACK'), q(SELECT max(to_position) FROM es_fetch('s', 100000)) ],
	[ 'es_wait over an append that is rolled back', join(";\n", 'BEGIN', append('k', 'never'), 'ROLLBACK'), "CALL es_wait(0, '1 min')" ],
	# The reader has seen its own events before they were committed.
	[ 'own events', '', join(";\n", 'BEGIN', append('k', 'own'), 'SELECT es_horizon()', 'COMMIT', 'SELECT max(position) FROM es_read_all(0, 100000)') ],
	[ 'own horizon', '', join(";\n", 'BEGIN', append('k', 'own'), 'SELECT count(*) FROM es_read_all()', 'COMMIT', 'SELECT es_horizon()') ],
);

$node->safe_psql('test', append('k', 'created'));
foreach my $way (@ways)
{
	my ($name, $write, $read) = @$way;
	my $writer = new_session($node, 'test');
	my $reader = new_session($node, 'test');

	$writer->get(append('k', 'warm'));
	$reader->get('SELECT es_horizon()');
	$writer->get($write) if $write ne '';
	my $given = $reader->get($read);
	$given =~ s/.*\n//s;
	my $events = $node->safe_psql('test', "SELECT count(*), md5(string_agg(e::text, ' ' ORDER BY position)) FROM app.es_events e WHERE position <= $given");
	is($node->safe_psql('test', $last), $given, "$name: the end of the log was given out");

	$node->stop('immediate');
	$_->quit foreach ($writer, $reader);
	$node->start;
	is($node->safe_psql('test', "SELECT count(*), md5(string_agg(e::text, ' ' ORDER BY position)) FROM app.es_events e WHERE position <= $given"),
		$events, "$name: what was given is there after a crash");
	cmp_ok($node->safe_psql('test', append('k', 'next') . " \\gset\n" . 'SELECT max(position) FROM app.es_events'),
		'>', $given, "$name: its position is not handed out again");
	is((run_sql($node, 'test', "SELECT count(*) FROM es_read_all($given)"))[1], '1', "$name: the cursor is good");
}

# The epoch that a consumer outside is given is no other's, so that it fences.
$node->safe_psql('test', q(SELECT es_create_subscription('leased')));
my $epoch = $node->safe_psql('test', q(SELECT DISTINCT epoch FROM es_fetch('leased', 1, '1 microsecond')));
crash();
cmp_ok($node->safe_psql('test', q(SELECT DISTINCT epoch FROM es_fetch('leased', 1, '1 hour'))), '>', $epoch, 'an epoch is not given twice over a crash');
is((run_sql($node, 'test', qq(SELECT es_advance('leased', 0, 0, 1, $epoch))))[0], 'VE008', 'who has the old one is refused');
$node->safe_psql('test', q(SELECT es_drop_subscription('leased')));

# The end of the WAL may be at the beginning of a page: all places are tried.
is( (run_sql(
			$node, 'test', q(
			DO $$
			BEGIN
				FOR i IN 1 .. 3000 LOOP
					PERFORM es_append('pages', '[{"type": "x"}]', allow_create => true);
					PERFORM pg_logical_emit_message(false, '', repeat('x', i % 128));
					PERFORM es_horizon();
				END LOOP;
			END $$)))[0],
	'00000', 'whatever the end of the WAL');

# ---------------------------------------------------------------------------
# A cursor beyond the end.
# ---------------------------------------------------------------------------

my $end = $node->safe_psql('test', $last);
my $beyond = $end + 1;

is((run_sql($node, 'test', "SELECT * FROM es_read_all($end)"))[0], '00000', 'a cursor at the end is good');
is((run_sql($node, 'test', "SELECT * FROM es_read_all($beyond)"))[0], 'VE007', 'es_read_all: one beyond is not');
is((run_sql($node, 'test', "SELECT * FROM es_read_all($beyond, 10, '[{\"types\": [\"x\"]}]')"))[0], 'VE007', 'nor with a filter');
is((run_sql($node, 'test', "CALL es_wait($beyond, '1 ms')"))[0], 'VE007', 'es_wait');
is((run_sql($node, 'test', "SELECT es_create_subscription('beyond', after_position => $beyond)"))[0], 'VE007', 'es_create_subscription');
is((run_sql($node, 'test', "SELECT es_advance('s', 0, position, $beyond) FROM app.es_subscriptions"))[0], 'VE007', 'es_advance');

# ---------------------------------------------------------------------------
# A sequence that is behind the log, as after a careless restore.
# ---------------------------------------------------------------------------

$node->safe_psql('test', q(SELECT setval('app.es_position_seq', 2)));
like($node->safe_psql('test', q(SELECT * FROM es_check_store('app'))), qr/behind the last event/, 'es_check_store finds a sequence behind the log');
is((run_sql($node, 'test', append('k', 'refused')))[0], '55000', 'an append is refused');
is((run_sql($node, 'test', 'SELECT * FROM es_read_all(' . ($end - 1) . ')'))[0], 'VE007', 'so is reading beyond it');
my $highest = $node->safe_psql('test', 'SELECT max(position) FROM app.es_events');
is($node->safe_psql('test', 'SELECT es_sync_position()'), $highest, 'es_sync_position mends it');
is($node->safe_psql('test', 'SELECT es_horizon()'), $highest, 'the log ends with its last event');
is($node->safe_psql('test', append('k', 'next') . ' \gset' . "\nSELECT type FROM es_read_all($highest)"), 'next', 'appends and readers go on');
is($node->safe_psql('test', 'SELECT es_sync_position()'), $node->safe_psql('test', $last), 'nothing is left to mend');
store_is_sound($node, 'test', 'app', 'mended');

# It waits for appends in flight, and keeps others from drawing positions.
my $open = new_session($node, 'test');
my $sync = new_session($node, 'test');
my $waiter = new_session($node, 'test');
$open->get(join ";\n", 'BEGIN', append('open', 'open'));
$waiter->send("CALL es_wait(" . $node->safe_psql('test', $last) . ", '10 min')");
$sync->send('SELECT es_sync_position()');
wait_until_blocked($node, $sync);
$open->get('COMMIT');
is($sync->answer->{state}, '00000', 'es_sync_position waits for an open append, not for a sleeping reader');
$node->safe_psql('test', append('k', 'wakes'));
is($waiter->answer->{state}, '00000', 'who goes on');
$_->quit foreach ($open, $sync, $waiter);
store_is_sound($node, 'test', 'app', 'afterwards');

# ---------------------------------------------------------------------------
# Dumped and restored into a fresh cluster: cursors are good, up to the dump.
# ---------------------------------------------------------------------------

$node->safe_psql('test', "SELECT es_reset_subscription('s', position) FROM es_read_all() LIMIT 1 OFFSET 4");
my $cursor = $node->safe_psql('test', 'SELECT position FROM app.es_subscriptions');
my $dump = PostgreSQL::Test::Utils::tempdir('dump') . '/archive';
command_ok([ program($node, 'pg_dump'), '-Fc', '-f', $dump, $node->connstr('test') ], 'pg_dump');
my $dumped = $node->safe_psql('test', 'SELECT es_horizon()');
my $rest = $node->safe_psql('test', "SELECT count(*), md5(string_agg(e::text, ' ' ORDER BY position)) FROM es_read_all($cursor, 100000) e");
$node->safe_psql('test', append('k', 'after the dump'));
my $later = $node->safe_psql('test', 'SELECT es_horizon()');

# The fresh cluster has no transaction ids and positions of its own yet.
my $fresh = start_node('fresh');
$fresh->safe_psql('postgres', 'CREATE DATABASE test');
command_ok([ program($fresh, 'pg_restore'), '--exit-on-error', '-d', $fresh->connstr('test'), $dump ], 'pg_restore');
$fresh->safe_psql('postgres', q(ALTER DATABASE test SET eventstore.store = 'app'));
is($fresh->safe_psql('test', 'SELECT es_horizon()'), $dumped, 'restored: the horizon is the same');
is($fresh->safe_psql('test', "SELECT count(*), md5(string_agg(e::text, ' ' ORDER BY position)) FROM es_read_all($cursor, 100000) e"),
	$rest, 'restored: a cursor reads on where it was');
is($fresh->safe_psql('test', q(SELECT min(from_position) || ' ' || max(to_position) || ' ' || count(*) FROM es_fetch('s', 100000))),
	join(' ', $cursor, $dumped, $rest =~ /^(\d+)/), 'restored: so does a subscription');
is((run_sql($fresh, 'test', "SELECT * FROM es_read_all($later)"))[0], 'VE007', 'restored: a cursor of after the dump is refused');
$fresh->safe_psql('test', append('k', 'in the copy'));
is($fresh->safe_psql('test', "SELECT type FROM es_read_all($dumped)"), 'in the copy', 'restored: the log goes on');
store_is_sound($fresh, 'test', 'app', 'restored');

$fresh->stop;
$node->stop;
done_testing();
