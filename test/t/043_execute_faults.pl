# A command that ends in the middle, by whatever fault, leaves nothing behind, neither
# events nor rows nor locks; sent again with its request id it is carried out once.  In
# a prepared transaction it stands until that is committed or rolled back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "restart_after_crash = on\nmax_prepared_transactions = 10\n");

make_database($node, 'faults', 'app');

# The function writes a row, and waits at a gate, at the call that the command names.
$node->safe_psql(
	'faults', q(
	CREATE TABLE notes (note text);
	CREATE SEQUENCE calls;
	CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		call bigint := nextval('calls');
	BEGIN
		INSERT INTO notes VALUES ('call ' || call);
		PERFORM es_append('aside', '[{"type": "aside"}]', allow_create => true);
		IF call < (command->>'gate')::bigint THEN
			-- A conflict, which is undone with the attempt.
			PERFORM es_append(key, '[{"type": "undone"}]', allow_create => true);
		ELSIF call = (command->>'gate')::bigint THEN
			PERFORM pg_advisory_xact_lock(1);
		END IF;
		RETURN jsonb_build_array(jsonb_build_object('type', 'decided', 'tags', '["t"]'::jsonb));
	END $$;
	CREATE FUNCTION decide_many(command jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_array(jsonb_build_object('key', k, 'expected_version', es_version(k), 'events', decide(k, es_version(k), command),
			'conditions', jsonb_build_array(jsonb_build_object('query', '[{"tags": ["never"]}]'::jsonb))))
		FROM (SELECT command->>'key' AS k) x
	$$;
	SELECT es_append('old', '[{"type": "a"}]', 0)));

my $before;
my $gate = new_session($node, 'faults');

sub remember
{
	$before = store_contents($node, 'faults', 'app') . $node->safe_psql('faults', 'SELECT note FROM notes ORDER BY note');
	$node->safe_psql('faults', "SELECT setval('calls', 1, false)");
	return;
}

# Nothing has changed since, and nothing is locked.
sub nothing_left
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	same_contents(store_contents($node, 'faults', 'app') . $node->safe_psql('faults', 'SELECT note FROM notes ORDER BY note'),
		$before, "$name: nothing is left", qr/^sequence/);
	is($node->safe_psql('faults', "SELECT count(*) FROM es_lock(ARRAY['old', 'new', 'aside'], nowait => true)"), '3', "$name: nothing is locked");
	store_is_sound($node, 'faults', 'app', $name);
	return;
}

# Start a command, and return when it waits at the gate in its n-th attempt.
sub start_command
{
	my ($call, $attempt) = @_;
	my $session = new_session($node, 'faults');

	$gate->get('SELECT pg_advisory_lock(1)');
	$session->get('BEGIN');
	$session->get("INSERT INTO notes VALUES ('of the transaction')");
	$session->send($call =~ s/ATTEMPT/$attempt/r);
	wait_until_blocked($node, $session);
	return $session;
}

my %calls = (
	'es_execute' => q(SELECT * FROM es_execute('old', 'decide', '{"gate": ATTEMPT}')),
	'es_execute, new' => q(SELECT * FROM es_execute('new', 'decide', '{"gate": ATTEMPT}')),
	'es_execute, request' => q(SELECT * FROM es_execute('old', 'decide', '{"gate": ATTEMPT}', request_id => 'r-1')),
	'es_execute_many' => q(SELECT * FROM es_execute_many('{old}', 'decide_many', '{"key": "old", "gate": ATTEMPT}')));

foreach my $name (sort keys %calls)
{
	foreach my $attempt (1, 2)
	{
		my $label = "$name, attempt $attempt";

		remember();
		my $session = start_command($calls{$name}, $attempt);
		$node->safe_psql('faults', 'SELECT pg_cancel_backend(' . $session->pid . ')');
		is($session->answer->{state}, '57014', "$label, cancelled: fails");
		$session->get('ROLLBACK');
		$gate->get('SELECT pg_advisory_unlock(1)');
		nothing_left("$label, cancelled");

		# In the same session, in a savepoint, on a timeout of the gate.
		$gate->get('SELECT pg_advisory_lock(1)');
		$session->get("BEGIN; SELECT setval('calls', 1, false); SET LOCAL lock_timeout = '1ms'; SAVEPOINT s");
		is($session->state($calls{$name} =~ s/ATTEMPT/$attempt/r), '55P03', "$label, lock_timeout: fails");
		$gate->get('SELECT pg_advisory_unlock(1)');
		$session->get('ROLLBACK TO s');
		like($session->get("SELECT status FROM es_execute('old', 'decide', '{}')"), qr/^appended$/, "$label, in a savepoint: the transaction goes on");
		$session->get('ROLLBACK');
		nothing_left("$label, lock_timeout");
		$session->quit;

		remember();
		$session = start_command($calls{$name}, $attempt);
		$node->safe_psql('faults', 'SELECT pg_terminate_backend(' . $session->pid . ')');
		is($session->answer->{state}, 'lost', "$label, terminated: the connection is lost");
		$gate->get('SELECT pg_advisory_unlock(1)');
		nothing_left("$label, terminated");
		$session->quit;
	}
}

# A crash in the middle; what was not acknowledged is sent again, and carried out once.
foreach my $attempt (1, 2)
{
	remember();
	my $session = start_command($calls{'es_execute, request'}, $attempt);
	$node->stop('immediate');
	$node->start;
	$_->quit foreach ($session, $gate);
	nothing_left("crash in attempt $attempt");
	$gate = new_session($node, 'faults');
}
is($node->safe_psql('faults', q(SELECT status, version FROM es_execute('old', 'decide', '{}', request_id => 'r-1'))), 'appended|2', 'sent again: carried out');
$node->stop('immediate');
$node->start;
$gate->quit;
is($node->safe_psql('faults', q(SELECT status, version FROM es_execute('old', 'decide', '{}', request_id => 'r-1'))),
	'repeated|2', 'and again, after a crash: a repeat');

# Those who wait for an aggregate: one gives up, the one that is waited for dies.
foreach my $key ('old', 'new')
{
	my $holder = new_session($node, 'faults');
	my $waiter = new_session($node, 'faults');
	my $call = qq(SELECT status FROM es_execute('$key', 'decide', '{}'));

	remember();
	$holder->get(qq(BEGIN; SELECT es_append('$key', '[{"type": "t"}]', allow_create => true)));
	$waiter->send($call);
	wait_until_blocked($node, $waiter);
	$node->safe_psql('faults', 'SELECT pg_cancel_backend(' . $waiter->pid . ')');
	is($waiter->answer->{state}, '57014', "$key: a waiting command is cancelled");
	$waiter->get("SET lock_timeout = '1ms'");
	is($waiter->state($call), '55P03', "$key: lock_timeout works");
	$waiter->get('RESET lock_timeout');
	$holder->get('ROLLBACK');
	nothing_left("$key, given up");

	$holder->get(qq(BEGIN; SELECT es_append('$key', '[{"type": "t"}]', allow_create => true)));
	$waiter->send("BEGIN; $call");
	wait_until_blocked($node, $waiter);
	$node->safe_psql('faults', 'SELECT pg_terminate_backend(' . $holder->pid . ')');
	is($waiter->answer->{out}, 'appended', "$key: the holder dies, the waiter goes on");
	is($waiter->state('ROLLBACK'), '00000', "$key: rolled back");
	$_->quit foreach ($holder, $waiter);
	nothing_left("$key, after waiting");
}

# Cancelled, a command with a request id does not wait for who might be carrying it out.
{
	my $holder = new_session($node, 'faults');

	$gate = new_session($node, 'faults');
	remember();
	$holder->get(q(BEGIN; SELECT es_append('old', '[{"type": "t"}]')));
	my $session = start_command(q(SELECT * FROM es_execute('old', 'decide', '{"gate": ATTEMPT}', request_id => 'r-9')), 1);
	$node->safe_psql('faults', 'SELECT pg_cancel_backend(' . $session->pid . ')');
	is($session->answer->{state}, '57014', 'cancelled while another holds the aggregate: fails at once');
	$gate->get('SELECT pg_advisory_unlock(1)');
	$holder->get('ROLLBACK');
	$_->quit foreach ($holder, $session, $gate);
	nothing_left('cancelled while another holds the aggregate');
}

# Prepared transactions, over a crash.
my $version = $node->safe_psql('faults', "SELECT es_version('old')");
$node->safe_psql(
	'faults', q(
	BEGIN;
	SELECT setval('calls', 1, false);
	SELECT * FROM es_execute('old', 'decide', '{"gate": 2}', request_id => 'r-2');
	SELECT * FROM es_execute_many('{new}', 'decide_many', '{"key": "new", "gate": 0}', request_id => 'r-2');
	PREPARE TRANSACTION 'commit'));
$node->stop('immediate');
$node->start;
my @waiters = map { new_session($node, 'faults') } 1 .. 3;
$waiters[0]->send(q(SELECT status, version FROM es_execute('old', 'decide', '{}', request_id => 'r-2')));
$waiters[1]->send(q(SELECT status, version FROM es_execute_many('{new}', 'decide_many', '{"key": "new", "gate": 0}', request_id => 'r-2')));
$waiters[2]->send(q(SELECT count(*) FROM es_query('[{"tags": ["never"]}]')));
wait_until_blocked($node, $_) foreach @waiters;
is($node->safe_psql('faults', "SELECT es_version('old'), es_version('new')"), "$version|0", 'prepared: nothing to be seen yet');
$node->safe_psql('faults', "COMMIT PREPARED 'commit'");
is($waiters[0]->answer->{out}, 'repeated|' . ($version + 1), 'prepared and committed: the resend is a repeat');
is($waiters[1]->answer->{out}, 'repeated|1', 'prepared and committed: of es_execute_many, too');
is($waiters[2]->answer->{out}, '0', 'prepared and committed: the tag of its condition is free');
$version = $node->safe_psql('faults', "SELECT es_version('old')");

$node->safe_psql(
	'faults', q(
	BEGIN;
	SELECT * FROM es_execute('old', 'decide', '{}', request_id => 'r-3');
	PREPARE TRANSACTION 'rollback'));
$waiters[0]->send(q(SELECT status, version FROM es_execute('old', 'decide', '{}', request_id => 'r-3')));
wait_until_blocked($node, $waiters[0]);
$node->safe_psql('faults', "ROLLBACK PREPARED 'rollback'");
is($waiters[0]->answer->{out}, 'appended|' . ($version + 1), 'prepared and rolled back: the resend is the first');
$_->quit foreach @waiters;

store_is_sound($node, 'faults', 'app', 'in the end');
indexes_are_sound($node, 'faults', 'app', 'in the end');
is($node->safe_psql('faults', q(SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'tuple'))), '0', 'no lock is left');
$node->stop;
done_testing();
