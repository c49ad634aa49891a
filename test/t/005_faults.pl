# A statement that ends in the middle of a large append, by whatever fault, leaves
# nothing behind, neither events nor locks; the next append goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "restart_after_crash = on\n");

make_database($node, 'faults', 'app');

# In the middle of an append the user's trigger does what the event says: fails,
# or waits for a lock, so that the fault can come from outside at that point.
$node->safe_psql(
	'faults', q(
	CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.data->>'n' = '5000' THEN
			IF NEW.data->>'trouble' = 'raise' THEN
				RAISE EXCEPTION 'trouble at event %', NEW.version;
			ELSIF NEW.data->>'trouble' = 'wait' THEN
				PERFORM pg_advisory_xact_lock(1);
			END IF;
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER trouble BEFORE INSERT ON app.es_events
		FOR EACH ROW EXECUTE FUNCTION trouble();
	SELECT es_append('old', '[{"type": "a"}, {"type": "b"}]', 0)));

my $fine = events_of(10000);
my $raise = events_of(10000, trouble => 'raise');
my $wait = events_of(10000, trouble => 'wait');
my $before;

sub remember
{
	$before = store_contents($node, 'faults', 'app');
	return;
}

# Nothing has changed since, no lock is left, and appends to both go on.
sub nothing_left
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $version = $node->safe_psql('faults', "SELECT es_version('old')");

	# But for the sequence: positions that were drawn are gone.
	same_contents(store_contents($node, 'faults', 'app'), $before, "$name: nothing is left", qr/^sequence/);
	my ($state, $out, $err) = run_sql(
		$node, 'faults', qq(
		SET lock_timeout = '10s';
		SELECT es_append('old', '[{"type": "next"}]', $version) - $version;
		SELECT version FROM es_try_append('absent', '[{"type": "t"}]', 7);
		SELECT key, version FROM es_lock(ARRAY['absent'], nowait => true)));
	is("$state\n$out$err", "00000\n1\n0\nabsent|0", "$name: the next append goes on");
	store_is_sound($node, 'faults', 'app', $name);
	return;
}

# ---------------------------------------------------------------------------
# Errors of a user's trigger.
# ---------------------------------------------------------------------------

my %calls = (
	'es_append to an existing aggregate' => "SELECT es_append('old', $raise)",
	'es_append to an absent one' => "SELECT es_append('absent', $raise, 0)",
	'es_try_append' => "SELECT * FROM es_try_append('old', $raise)",
	'es_append_many' => qq{SELECT * FROM es_append_many(jsonb_build_array(
		jsonb_build_object('key', 'old', 'events', jsonb_build_array(jsonb_build_object('type', 'first'))),
		jsonb_build_object('key', 'absent', 'allow_create', true, 'events', $raise),
		jsonb_build_object('key', 'third', 'allow_create', true, 'events', jsonb_build_array(jsonb_build_object('type', 't')))))}
);
$calls{es_try_append_many} = $calls{es_append_many} =~ s/es_append_many/es_try_append_many/r;
$calls{es_append_each} = $calls{es_append_many} =~ s/es_append_many/es_append_each/r;

foreach my $name (sort keys %calls)
{
	remember();
	my ($state, $out, $err) = run_sql($node, 'faults', $calls{$name});
	is($state, 'P0001', "$name: the trigger's error comes through");
	like($err, qr/trouble at event/, "$name: as it is");
	nothing_left("$name, failed");
}

# Within a transaction that goes on.
remember();
my $version = $node->safe_psql('faults', "SELECT es_version('old')");
my ($state, $out, $err) = run_sql(
	$node, 'faults', qq(
	BEGIN;
	SELECT es_append('old', '[{"type": "kept"}]', $version) - $version;
	SAVEPOINT s;
	\\set ON_ERROR_STOP 0
	$calls{es_append_many};
	\\set ON_ERROR_STOP 1
	ROLLBACK TO s;
	SELECT es_append('old', '[{"type": "kept"}]', $version + 1) - $version;
	SELECT es_append('absent', '[{"type": "kept"}]', 0);
	ROLLBACK));
is($out, "1\n2\n1", 'in a savepoint: the transaction goes on with the versions of before');
nothing_left('in a savepoint');

remember();
$node->safe_psql(
	'faults', qq(
	DO \$do\$
	DECLARE
		version bigint := es_version('old');
	BEGIN
		FOR i IN 1 .. 3 LOOP
			BEGIN
				PERFORM es_append('old', $raise, version);
				RAISE 'not reached';
			EXCEPTION WHEN raise_exception THEN
				ASSERT SQLERRM ~ 'trouble at event', SQLERRM;
			END;
		END LOOP;
		ASSERT es_append('old', '[{"type": "t"}]', version) = version + 1;
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
	END \$do\$));
nothing_left('in an exception block');

# ---------------------------------------------------------------------------
# Faults from outside, while the append waits in its 5000th event.
# ---------------------------------------------------------------------------

my $gate = new_session($node, 'faults');

# Start the large append, and return when it is in the middle.
sub start_large
{
	my ($key) = @_;
	my $session = new_session($node, 'faults');

	$gate->get('SELECT pg_advisory_lock(1)');
	$session->get('BEGIN');
	$session->get(q(SELECT es_append('old', '[{"type": "lost"}]')));
	$session->send("SELECT es_append('$key', $wait, allow_create => true)");
	wait_until_blocked($node, $session);
	return $session;
}

foreach my $key ('old', 'absent')
{
	remember();
	my $session = start_large($key);
	$node->safe_psql('faults', 'SELECT pg_cancel_backend(' . $session->pid . ')');
	is($session->answer->{state}, '57014', "$key, cancelled: the statement fails");
	$gate->get('SELECT pg_advisory_unlock(1)');
	$session->get('ROLLBACK');
	nothing_left("$key, cancelled");
	$session->quit;

	# Cancelled in a savepoint, the rest of the transaction counts.
	$session = new_session($node, 'faults');
	$version = $node->safe_psql('faults', "SELECT es_version('old')");
	$gate->get('SELECT pg_advisory_lock(1)');
	$session->get(qq(BEGIN; SELECT es_append('old', '[{"type": "kept"}]', $version); SAVEPOINT s));
	$session->send("SELECT es_append('$key', $wait, allow_create => true)");
	wait_until_blocked($node, $session);
	$node->safe_psql('faults', 'SELECT pg_cancel_backend(' . $session->pid . ')');
	is($session->answer->{state}, '57014', "$key, cancelled in a savepoint: the statement fails");
	$gate->get('SELECT pg_advisory_unlock(1)');
	is($session->get(qq(ROLLBACK TO s; SELECT es_append('old', '[{"type": "kept"}]', $version + 1))),
		$version + 2, "$key, cancelled in a savepoint: the transaction goes on");
	$session->get('COMMIT');
	is($node->safe_psql('faults', "SELECT es_version('old')"), $version + 2, "$key: and is kept");
	$session->quit;

	remember();
	$session = start_large($key);
	$node->safe_psql('faults', 'SELECT pg_terminate_backend(' . $session->pid . ')');
	is($session->answer->{state}, 'lost', "$key, terminated: the connection is lost");
	$gate->get('SELECT pg_advisory_unlock(1)');
	nothing_left("$key, terminated");
	$session->quit;
}

# ---------------------------------------------------------------------------
# Those who wait for a lock, and those who are waited for.
# ---------------------------------------------------------------------------

foreach my $key ('old', 'absent')
{
	my $holder = new_session($node, 'faults');
	my $waiter = new_session($node, 'faults');
	my $call = qq(SELECT es_append('$key', '[{"type": "t"}]', allow_create => true));

	# The waiter gives up; the holder does not notice.
	$version = $node->safe_psql('faults', "SELECT es_version('$key')");
	$holder->get("BEGIN; $call");
	$waiter->send($call);
	wait_until_blocked($node, $waiter);
	$node->safe_psql('faults', 'SELECT pg_cancel_backend(' . $waiter->pid . ')');
	is($waiter->answer->{state}, '57014', "$key: a waiting append is cancelled");
	$holder->get('ROLLBACK');
	is($node->safe_psql('faults', "SELECT es_version('$key')"), $version, "$key: and leaves nothing");

	$holder->get("BEGIN; $call");
	$waiter->get("SET lock_timeout = '1ms'");
	is($waiter->state($call), '55P03', "$key: lock_timeout works");
	$waiter->get('RESET lock_timeout');
	is($waiter->state("SELECT * FROM es_lock(ARRAY['$key'], nowait => true)"),
		'55P03', "$key: and nowait");

	# The holder dies; the waiter gets its turn as if it had not been.
	$waiter->send(qq(BEGIN; $call));
	wait_until_blocked($node, $waiter);
	$node->safe_psql('faults', 'SELECT pg_terminate_backend(' . $holder->pid . ')');
	is($waiter->answer->{out}, $version + 1, "$key: the holder dies, the waiter goes on");
	is($waiter->state('ROLLBACK'), '00000', "$key: rolled back");
	is($holder->state('SELECT 1'), 'lost', "$key: the holder is gone");
	$_->quit foreach ($holder, $waiter);
	store_is_sound($node, 'faults', 'app', "$key, after waiting");
}

# ---------------------------------------------------------------------------
# The same large append, and the server goes down under it.
# ---------------------------------------------------------------------------

foreach my $key ('old', 'absent')
{
	remember();
	my $session = start_large($key);
	kill 9, $session->pid;
	is($session->answer->{state}, 'lost', "$key, backend killed: the connection is lost");
	is($gate->state("SELECT pg_sleep($PostgreSQL::Test::Utils::timeout_default)"),
		'lost', "$key, backend killed: all connections are");
	$node->poll_query_until('faults', 'SELECT true') or die 'server is not back';
	nothing_left("$key, backend killed");
	$_->quit foreach ($session, $gate);

	$gate = new_session($node, 'faults');
	remember();
	$session = start_large($key);
	$node->stop('immediate');
	$node->start;
	nothing_left("$key, immediate stop");
	$_->quit foreach ($session, $gate);
	$gate = new_session($node, 'faults');
}

# Nothing of all this stands in the way of the append itself.
$version = $node->safe_psql('faults', "SELECT es_version('old')");
is($node->safe_psql('faults', "SELECT es_append('old', $fine, $version)"),
	$version + 10000, 'the large append itself');
is($node->safe_psql('faults', "SELECT es_append('absent', $fine, 0)"), '10000', 'and as a creation');
store_is_sound($node, 'faults', 'app', 'in the end');
indexes_are_sound($node, 'faults', 'app', 'in the end');

$gate->quit;
$node->stop;
done_testing();
