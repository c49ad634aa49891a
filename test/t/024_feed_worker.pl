# The worker of a store: it keeps the watermark and tells those who LISTEN, survives
# what goes wrong, and ends when its work does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The launcher of logical replication has one of the workers.
my $node = start_node('main',
	conf => "max_worker_processes = 4\nrestart_after_crash = on\nautovacuum = off\n");

make_database($node, 'test', 'app', 'beside', 'third', 'fourth');

my $workers = q(FROM pg_stat_activity WHERE backend_type = 'eventstore worker');

sub append
{
	my ($store) = @_;
	return "SET eventstore.store = '$store'; SELECT es_append('k', '[{\"type\": \"t\"}]', allow_create => true)";
}

# The watermark gets to the end of the log.
sub keeps_up
{
	my ($store, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->safe_psql('test', append($store));
	return ok(
		$node->poll_query_until('test', "SELECT position = last_value FROM $store.es_watermark, $store.es_position_seq"),
		"$name: the watermark follows the log");
}

sub count_is
{
	my ($count, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok($node->poll_query_until('test', "SELECT count(*) = $count $workers"), "$name: workers: $count");
}

# ---------------------------------------------------------------------------
# Begin and end.
# ---------------------------------------------------------------------------

is($node->safe_psql('test', 'SELECT es_stop_worker()'), 'f', 'no worker is there to stop');
is($node->safe_psql('test', 'SELECT es_start_worker()'), 't', 'a worker starts');
is($node->safe_psql('test', 'SELECT es_start_worker()'), 'f', 'a second one does not');
is($node->safe_psql('test', "SELECT datname, usename = current_user, application_name $workers"),
	'test|t|eventstore worker of app', 'pg_stat_activity shows it');
ok($node->poll_query_until('test', 'SELECT position = 0 FROM app.es_watermark'), 'an empty store has a watermark');
is($node->safe_psql('test', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM es_read_all(); COMMIT'), '0', 'with which to read nothing');
keeps_up('app', 'started');

$node->safe_psql('test', q(SET eventstore.store = 'beside'; SELECT es_start_worker()));
count_is(2, 'another store');
keeps_up($_, 'another store') foreach qw(app beside);
is($node->safe_psql('test', 'SELECT es_stop_worker()'), 't', 'one is stopped');
is($node->safe_psql('test', "SELECT application_name $workers"), 'eventstore worker of beside', 'the other goes on');
keeps_up('beside', 'the other');
is($node->safe_psql('test', 'SELECT es_stop_worker()'), 'f', 'it cannot be stopped twice');
is($node->safe_psql('test', 'SELECT es_start_worker()'), 't', 'it can be started again');
keeps_up('app', 'started again');

is($node->safe_psql('test', q(SET eventstore.store = 'third'; SELECT es_start_worker())), 't', 'a third one');
is((run_sql($node, 'test', q(SET eventstore.store = 'fourth'; SELECT es_start_worker())))[0], '53000', 'no room for a fourth');
$node->safe_psql('test', q(SET eventstore.store = 'third'; SELECT es_stop_worker()));
count_is(2, 'stopped');

# ---------------------------------------------------------------------------
# Its work.
# ---------------------------------------------------------------------------

# An open append stops the watermark, and nothing else does.
my $open = new_session($node, 'test');
$open->get('BEGIN;' . append('app'));
my $bound = $node->safe_psql('test', 'SELECT bound FROM es_in_flight');
$node->safe_psql('test', q(SELECT es_append('other', '[{"type": "t"}]', allow_create => true)));
is($node->safe_psql('test', 'SELECT position FROM app.es_watermark'), $bound, 'the watermark waits for an open append');
$open->get('COMMIT');
ok($node->poll_query_until('test', 'SELECT position = last_value FROM app.es_watermark, app.es_position_seq'), 'and goes on when it is over');

# Idle, it holds back no vacuum.
$node->poll_query_until('test', "SELECT count(*) = 2 $workers AND wait_event_type = 'Extension'") or die 'not idle';
is( join(' ', map { $node->safe_psql('test', "SELECT bool_and(backend_xmin IS NULL AND backend_xid IS NULL) $workers") } 1 .. 5),
	't t t t t', 'idle, it holds back no vacuum');

# NOTIFY, for those who ask.
my $listener = new_session($node, 'test');
$listener->get('LISTEN feed');

sub notified
{
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $heard = '';

	while (time() < $until && $heard !~ /notification/)
	{
		$heard = $listener->get('SELECT pg_sleep(0.05)');
	}
	return $heard =~ /notification "feed" with payload "(\d+)"/ ? $1 : 'nothing';
}

$node->safe_psql('test', q(SELECT es_stop_worker(); SELECT es_start_worker('feed', '1 millisecond')));
keeps_up('app', 'with a channel');
is(notified(), $node->safe_psql('test', 'SELECT position FROM app.es_watermark'), 'who listens is notified of the horizon');
$node->safe_psql('test', append('app'));
is(notified(), $node->safe_psql('test', 'SELECT es_horizon()'), 'and again');
$listener->quit;

# A reload reaches it.
my $pid = $node->safe_psql('test', "SELECT pid $workers AND application_name LIKE '% of app'");
my $before = -s $node->logfile;
$node->safe_psql('test', 'ALTER SYSTEM SET log_min_messages = debug5');
$node->reload;
ok($node->wait_for_log(qr/\[$pid\].* DEBUG: /, $before), 'it takes new settings');
$node->safe_psql('test', 'ALTER SYSTEM RESET log_min_messages');
$node->reload;
keeps_up('app', 'with other settings');

# ---------------------------------------------------------------------------
# What goes wrong.
# ---------------------------------------------------------------------------

$node->safe_psql(
	'test', q(
	CREATE FUNCTION app.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'watermark refused'; END $$;
	CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON app.es_watermark FOR EACH ROW EXECUTE FUNCTION app.fail()));
my $offset = -s $node->logfile;
$node->safe_psql('test', append('app'));
ok($node->wait_for_log(qr/watermark refused/, $offset), 'the worker meets an error');
$node->safe_psql('test', 'DROP TRIGGER fail ON app.es_watermark');
ok($node->poll_query_until('test', 'SELECT position = last_value FROM app.es_watermark, app.es_position_seq'), 'it survives the error');
count_is(2, 'after an error');

# Also in the midst of errors it can be stopped, and stays so.
$node->safe_psql('test', 'CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON app.es_watermark FOR EACH ROW EXECUTE FUNCTION app.fail()');
$offset = -s $node->logfile;
$node->safe_psql('test', append('app'));
$node->wait_for_log(qr/watermark refused/, $offset);
is($node->safe_psql('test', 'SELECT es_stop_worker()'), 't', 'it is stopped in the midst of errors');
$node->safe_psql('test', 'DROP TRIGGER fail ON app.es_watermark; SELECT pg_sleep(2)');
count_is(1, 'for good');
is($node->safe_psql('test', 'SELECT es_start_worker()'), 't', 'and started again');
keeps_up('app', 'after all errors');

$node->safe_psql('test', "SELECT pg_cancel_backend(pid) $workers");
keeps_up('app', 'cancelled');

my $locker = new_session($node, 'test');
$locker->get('BEGIN; LOCK TABLE app.es_watermark');
$node->safe_psql('test', append('app'));
$node->poll_query_until('test', "SELECT count(*) = 1 $workers AND wait_event_type = 'Lock'") or die 'does not wait';
$locker->get('COMMIT');
keeps_up('app', 'locked out for a while');
$locker->get('BEGIN; LOCK TABLE app.es_watermark');
$node->safe_psql('test', append('app'));
$node->poll_query_until('test', "SELECT count(*) = 1 $workers AND wait_event_type = 'Lock'") or die 'does not wait';
is($node->safe_psql('test', 'SELECT es_stop_worker()'), 't', 'it is stopped while it waits for a lock');
$locker->quit;

# Its rights are those of whoever started it.
$node->safe_psql(
	'test', q(
	CREATE ROLE regress_es_worker LOGIN;
	CREATE ROLE regress_es_group NOLOGIN;
	CREATE ROLE regress_es_reader LOGIN;
	SELECT es_grant('regress_es_worker', 'consumer'), es_grant('regress_es_group', 'consumer'), es_grant('regress_es_reader', 'reader')));
is((run_sql($node, 'test', 'SET ROLE regress_es_reader; SELECT es_start_worker()'))[0], '42501', 'a reader may not start it');
is((run_sql($node, 'test', 'SET ROLE regress_es_group; SELECT es_start_worker()'))[0], '42501', 'nor who may not log in');
my $consumer = new_session($node, 'test', user => 'regress_es_worker');
is($consumer->get('SELECT es_start_worker()'), 't', 'a consumer may');
keeps_up('app', 'run by a consumer');
$offset = -s $node->logfile;
$node->safe_psql('test', 'REVOKE ALL ON app.es_watermark FROM regress_es_worker');
$node->safe_psql('test', append('app'));
ok($node->wait_for_log(qr/permission denied for table es_watermark/, $offset), 'it loses its rights');
$node->safe_psql('test', q(SELECT es_grant('regress_es_worker', 'consumer')));
keeps_up('app', 'they are given back');

# The schema gets another name.
$node->safe_psql('test', 'ALTER SCHEMA app RENAME TO renamed');
keeps_up('renamed', 'renamed');
$node->safe_psql('test', 'ALTER SCHEMA renamed RENAME TO app');
keeps_up('app', 'renamed back');
is($consumer->get('SELECT es_stop_worker()'), 't', 'who started it may stop it');
$consumer->quit;
is($node->safe_psql('test', 'SELECT es_start_worker()'), 't', 'started again');

# A backend is killed, and the server restarts by itself.
my $victim = new_session($node, 'test');
$offset = -s $node->logfile;
kill 9, $victim->pid;
$node->wait_for_log(qr/reinitializing/, $offset);
$victim->quit;
$open->quit;
$node->poll_query_until('test', 'SELECT true') or die 'server is not back';
count_is(2, 'after a crash');
keeps_up($_, 'after a crash') foreach qw(app beside);

# ---------------------------------------------------------------------------
# The end of its work.
# ---------------------------------------------------------------------------

$node->safe_psql('test', 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $$eventstore worker of app$$');
count_is(1, 'terminated');
$node->safe_psql('test', 'SELECT pg_sleep(2)');
count_is(1, 'for good');
$node->safe_psql('test', 'SELECT es_start_worker()');

$node->safe_psql('test', q(SELECT es_drop_store('beside')));
count_is(1, 'a store is dropped');

$node->safe_psql('test', 'SET client_min_messages = error; DROP EXTENSION eventstore CASCADE');
count_is(0, 'the extension is dropped');
$node->safe_psql('test', q(CREATE EXTENSION eventstore; SELECT es_upgrade_store('app')));
is($node->safe_psql('test', 'SELECT es_start_worker()'), 't', 'made again');
keeps_up('app', 'made again');

$node->safe_psql('postgres', 'DROP DATABASE test');
$node->poll_query_until('postgres', "SELECT count(*) = 0 $workers");
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_database WHERE datname = $$test$$'), '0', 'the database can be dropped');
is($node->safe_psql('postgres', "SELECT count(*) $workers"), '0', 'and the worker is gone');

# A server that is stopped does not wait for workers.
make_database($node, 'last', 'app');
$node->safe_psql('last', 'SELECT es_start_worker()');
$node->stop('fast');
$node->start;
is($node->safe_psql('last', "SELECT count(*) $workers"), '0', 'a restart starts none by itself');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'no process crashed by itself');

$node->stop;
done_testing();
