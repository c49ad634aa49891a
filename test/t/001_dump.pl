# A dump holds every event and the sequence, by whatever way it is made and
# restored; the restored store is guarded and its appends go on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFilled;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');
my $dumps = PostgreSQL::Test::Utils::tempdir('dumps');

# Run a client program against a database of the node, quietly.
sub run_client
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(
		[ program($node, shift @command), @command ],
		'>', \$out, '2>', \$err);

	return ($ok, "$out$err");
}

sub client_ok
{
	my ($name, @command) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ok, $output) = run_client(@command);

	ok($ok && $output eq '', $name) or diag("@command: $output");
	return;
}

# ---------------------------------------------------------------------------
# The database to be dumped: one store of a plain role, with what users add to
# it, and one of the superuser in a schema that needs quotes.
# ---------------------------------------------------------------------------

$node->safe_psql(
	'postgres', q(
	CREATE ROLE regress_es_app LOGIN;
	CREATE ROLE regress_es_report;
	CREATE DATABASE source));
$node->safe_psql(
	'source', q(
	CREATE EXTENSION eventstore;
	GRANT CREATE ON DATABASE source TO regress_es_app;
	SET ROLE regress_es_app;
	SELECT es_create_store('app');
	GRANT USAGE ON SCHEMA app TO regress_es_report;
	GRANT SELECT ON app.es_events TO regress_es_report;
	CREATE TABLE app.counters (type text PRIMARY KEY, n bigint);
	CREATE FUNCTION app.count_event() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO app.counters AS c VALUES (NEW.type, 1)
		ON CONFLICT (type) DO UPDATE SET n = c.n + 1;
		RETURN NEW;
	END $$;
	ALTER FUNCTION app.count_event() SET search_path = app, pg_temp;
	CREATE TRIGGER count_event AFTER INSERT ON app.es_events
		FOR EACH ROW EXECUTE FUNCTION app.count_event();
	CREATE INDEX by_category ON app.es_events (es_category(key), position);
	CREATE VIEW app.orders AS SELECT * FROM app.es_events WHERE es_category(key) = 'order';

	SET eventstore.store = 'app';
	SELECT es_append('order-1', '[
		{"type": "placed", "data": {"total": 12.50, "by": "Zoë 日本 \u0027\""}, "tags": ["a", "b"]},
		{"type": "paid", "metadata": {"correlation_id": "7"}},
		{"type": "noted", "data": null},
		{"type": "sent", "data": "text\nwith\ttabs\\\\and \\\\. backslashes", "tags": ["b", "b"],
		 "id": "9e107d9d-372b-41c1-9c0e-2f3a6d3b2b11"}]', 0, request_id => 'request-1');
	SELECT es_append('größe "quoted" \N', '[{"type": "t,\"{}\" \\\\N"}]', 0);
	SELECT es_append_many(jsonb_agg(jsonb_build_object(
		'key', 'order-' || n % 50 + 2, 'allow_create', true,
		'events', jsonb_build_array(jsonb_build_object(
			'type', 'changed', 'data', jsonb_build_object('n', n),
			'tags', jsonb_build_array('n' || n % 7))))))
	FROM generate_series(1, 1000) n;

	RESET ROLE;
	CREATE SCHEMA "Odd ""Schema";
	SELECT es_create_store('Odd "Schema');
	SET eventstore.store = 'Odd "Schema';
	SELECT es_append('order-1', '[{"type": "other store"}]', 0)));

fill_feed($node, 'source', 'app', 'order-1');

# Positions that were drawn and given up are not issued again after a restore.
run_sql(
	$node, 'source', q(
	SET eventstore.store = 'app';
	BEGIN;
	SELECT es_append('order-1', '[{"type": "given up"}]', 4);
	ROLLBACK));

my $expected = store_contents($node, 'source', 'app');
my $expected_odd = store_contents($node, 'source', 'Odd ""Schema');
like($expected, qr/^events\|1005\|/m, 'source has its events');
like($expected, qr/^subscriptions\|4\|.*^parked\|3\|.*^snapshots\|1\|.*^watermark\|\d+$/ms, 'and something in every other table');
store_is_sound($node, 'source', 'app', 'source');

# What must be true of every restored copy.
sub check_copy
{
	my ($db, $name, $odd_too) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	same_contents(store_contents($node, $db, 'app'), $expected, "$name: nothing is missing or different");
	same_contents(store_contents($node, $db, 'Odd ""Schema'), $expected_odd, "$name: nor in the other store")
	  if $odd_too;
	store_is_sound($node, $db, 'app', $name);
	guards_hold($node, $db, 'app', $name);

	my $last = $node->safe_psql('source', 'SELECT last_value FROM app.es_position_seq');
	my ($state, $out, $err) = run_sql(
		$node, $db, q(
		SET SESSION AUTHORIZATION regress_es_app;
		SET eventstore.store = 'app';
		SELECT es_append('order-1', '[{"type": "placed", "data": {"total": 12.50, "by": "Zoë 日本 \u0027\""}},
			{"type": "paid"}, {"type": "noted", "data": null},
			{"type": "sent", "data": "text\nwith\ttabs\\\\and \\\\. backslashes"}]', 0, request_id => 'request-1');
		SELECT status FROM es_try_append('order-1', '[{"type": "stale"}]', 3);
		SELECT status, version FROM es_try_append('order-1', '[{"type": "next", "tags": ["x"]}]', 4);
		SELECT n FROM app.counters WHERE type = 'next';
		SELECT count(*) FROM app.orders WHERE type = 'next'));
	is("$state\n$out$err", "00000\n4\nversion_conflict\nappended|5\n1\n1",
		"$name: a repeat is known, appends and triggers go on");
	is( $node->safe_psql($db, "SELECT position > $last FROM app.es_events WHERE type = 'next'"),
		't', "$name: positions go on");
	store_is_sound($node, $db, 'app', "$name, after an append");
	feed_continues($node, $db, 'app', 'order-1', $name);
	return;
}

# ---------------------------------------------------------------------------
# Whole databases.
# ---------------------------------------------------------------------------

my $source = $node->connstr('source');

client_ok('dump as text', 'pg_dump', '-f', "$dumps/plain.sql", $source);
$node->safe_psql('postgres', 'CREATE DATABASE plain');
client_ok('restore with psql', 'psql', '-Xq', '-o', '/dev/null',
	'-v', 'ON_ERROR_STOP=1', '-1', '-d', $node->connstr('plain'), '-f', "$dumps/plain.sql");
check_copy('plain', 'pg_dump and psql', 1);

client_ok('dump as archive', 'pg_dump', '-Fc', '-f', "$dumps/archive", $source);
$node->safe_psql('postgres', 'CREATE DATABASE parallel');
client_ok('restore with two jobs', 'pg_restore', '-j2', '--exit-on-error',
	'-d', $node->connstr('parallel'), "$dumps/archive");
check_copy('parallel', 'pg_restore -j2', 1);

client_ok('dump as directory, with two jobs', 'pg_dump', '-Fd', '-j2', '-f', "$dumps/directory", $source);
$node->safe_psql('postgres', 'CREATE DATABASE dir');
client_ok('restore the directory', 'pg_restore', '--exit-on-error', '-d',
	$node->connstr('dir'), "$dumps/directory");
check_copy('dir', 'pg_dump -Fd and pg_restore', 1);

client_ok('dump as INSERT statements', 'pg_dump', '--inserts', '-f', "$dumps/inserts.sql", $source);
$node->safe_psql('postgres', 'CREATE DATABASE inserts');
client_ok('restore the INSERT statements', 'psql', '-Xq', '-o', '/dev/null',
	'-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('inserts'), '-f', "$dumps/inserts.sql");
check_copy('inserts', 'pg_dump --inserts', 1);

# ---------------------------------------------------------------------------
# One schema only, into a database that has the extension.
# ---------------------------------------------------------------------------

client_ok('dump one schema', 'pg_dump', '-Fc', '-n', 'app', '-f', "$dumps/schema", $source);
make_database($node, 'one_schema');
client_ok('restore one schema', 'pg_restore', '-j2', '--exit-on-error',
	'-d', $node->connstr('one_schema'), "$dumps/schema");
check_copy('one_schema', 'pg_dump -n');

# The schema of one tenant, into a database where another tenant has his.
make_database($node, 'tenants', 'tenant');
$node->safe_psql('tenants', q(SELECT es_append('order-1', '[{"type": "mine"}]', 0)));
my $tenant = store_contents($node, 'tenants', 'tenant');
client_ok('dump one schema as text', 'pg_dump', '-n', 'app', '-f', "$dumps/schema.sql", $source);
client_ok('restore it beside another', 'psql', '-Xq', '-o', '/dev/null',
	'-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('tenants'), '-f', "$dumps/schema.sql");
check_copy('tenants', 'pg_dump -n beside another store');
same_contents(store_contents($node, 'tenants', 'tenant'), $tenant, 'the other store is untouched');

# ---------------------------------------------------------------------------
# Definitions first, data later: then the guards are there before the data.
# They refuse, and each of the ways through lets the data in.
# ---------------------------------------------------------------------------

client_ok('dump the definitions', 'pg_dump', '-s', '-n', 'app', '-f', "$dumps/definitions.sql", $source);
client_ok('dump the data', 'pg_dump', '-a', '-n', 'app', '-f', "$dumps/data.sql", $source);
client_ok('dump the data as archive', 'pg_dump', '-a', '-Fc', '-n', 'app', '-f', "$dumps/data", $source);

# User triggers are no concern here and would count the events again.
sub make_empty_copy
{
	my ($db) = @_;

	make_database($node, $db);
	client_ok("$db: restore the definitions", 'psql', '-Xq', '-o', '/dev/null',
		'-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', "$dumps/definitions.sql");
	return;
}

sub restore_data
{
	my ($db, $options) = @_;

	return run_client(
		'psql', '-Xq', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
		'-1', '-d', $node->connstr($db) . " options='$options'", '-f', "$dumps/data.sql");
}

make_empty_copy('refused');
my ($ok, $output) = restore_data('refused', '');
ok(!$ok, 'data alone are refused');
like($output, qr/ERROR:  42501:/, 'by the guard');
is($node->safe_psql('refused', 'SELECT count(*) FROM app.es_events'), '0', 'and nothing is loaded');

make_empty_copy('as_replica');
($ok, $output) = restore_data('as_replica', '-c session_replication_role=replica');
ok($ok && $output eq '', 'data alone, with session_replication_role') or diag($output);
check_copy('as_replica', 'data as a replica');

make_empty_copy('allowed');
$node->safe_psql('allowed', 'ALTER TABLE app.es_events DISABLE TRIGGER count_event');
($ok, $output) = restore_data('allowed', '-c eventstore.allow_direct_writes=on');
ok($ok && $output eq '', 'data alone, with eventstore.allow_direct_writes') or diag($output);
$node->safe_psql('allowed', 'ALTER TABLE app.es_events ENABLE TRIGGER count_event');
check_copy('allowed', 'data with eventstore.allow_direct_writes');

make_empty_copy('disabled');
client_ok('data alone, with --disable-triggers', 'pg_restore', '-a', '--disable-triggers', '--exit-on-error',
	'-d', $node->connstr('disabled'), "$dumps/data");
check_copy('disabled', 'data with --disable-triggers');

# ---------------------------------------------------------------------------
# The ways through are a superuser's: the owner of the store has none of them,
# not even in a session that has not loaded the library yet.
# ---------------------------------------------------------------------------

my $owner = new_session($node, 'source', user => 'regress_es_app');
my $answer = $owner->run(
	"SET eventstore.allow_direct_writes = on;\nDELETE FROM app.es_events");
is($answer->{state}, '42501', 'the owner cannot allow direct writes');
$answer = $owner->run("SET eventstore.allow_direct_writes = on");
is($answer->{state}, '42501', 'nor later');
is($owner->state('SET session_replication_role = replica'), '42501', 'nor be a replica');
$owner->quit;

my $mine = eval {
	new_session($node, 'source', user => 'regress_es_app',
		settings => { 'eventstore.allow_direct_writes' => 'on' });
};
if ($mine)
{
	is($mine->state('DELETE FROM app.es_events'),
		'42501', 'nor when connecting');
	$mine->quit;
}
else
{
	like($@, qr/42501|permission denied/, 'nor when connecting');
}
same_contents(store_contents($node, 'source', 'app'), $expected, 'the source has not changed');

$node->stop;
done_testing();
