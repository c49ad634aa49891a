# CALL es_wait(): who sleeps is woken by whatever lets the log go on, can be
# interrupted, and stands in nobody's way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node('main', conf => "max_prepared_transactions = 5\nautovacuum = off\n");

make_database($node, 'test', 'app');

sub append
{
	my ($key) = @_;
	return "SELECT es_append('$key', '[{\"type\": \"t\"}]', allow_create => true)";
}

sub last_position
{
	return $node->safe_psql('test', 'SELECT last_value FROM app.es_position_seq');
}

# Longer than the test framework has patience.
my $LONG = '10 min';

# Send a call that sleeps, and wait until it does.
sub asleep
{
	my ($session, $sql) = @_;

	$session->send($sql);
	$node->poll_query_until('test',
		"SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = " . $session->pid)
	  or die 'does not sleep';
	return;
}

$node->safe_psql('test', append('k'));
my $waiter = new_session($node, 'test');
my $writer = new_session($node, 'test');

# ---------------------------------------------------------------------------
# What wakes it.
# ---------------------------------------------------------------------------

my $end = last_position();
is($waiter->get("CALL es_wait(0, '$LONG')"), $end, 'what is there needs no waiting');
is($waiter->get("CALL es_wait($end, '20 ms')"), $end, 'the timeout is no error');
is($waiter->get("CALL es_wait($end, '0')"), $end, 'nor is none at all');

asleep($waiter, "CALL es_wait($end, '$LONG')");
$writer->get(append('k'));
is($waiter->answer->{out}, last_position(), 'woken by a commit');

# An append that is open holds the horizon although others commit behind it.
$end = last_position();
$writer->get('BEGIN;' . append('open'));
$node->safe_psql('test', append('k'));
is($waiter->get("CALL es_wait($end, '20 ms')"), $end, 'not while an append is open before it');
asleep($waiter, "CALL es_wait($end, '$LONG')");
$writer->get('ROLLBACK');
is($waiter->answer->{out}, last_position(), 'woken by an abort');

$end = last_position();
$writer->get('BEGIN; SAVEPOINT s;' . append('open'));
$node->safe_psql('test', append('k'));
asleep($waiter, "CALL es_wait($end, '$LONG')");
$writer->get('ROLLBACK TO s');
is($waiter->answer->{out}, last_position(), 'woken after a rollback to a savepoint');
$writer->get('COMMIT');

foreach my $command ('COMMIT', 'ROLLBACK')
{
	$end = last_position();
	$writer->get('BEGIN;' . append('open') . "; PREPARE TRANSACTION 'p'");
	$node->safe_psql('test', append('k'));
	asleep($waiter, "CALL es_wait($end, '$LONG')");
	$writer->get("$command PREPARED 'p'");
	is($waiter->answer->{out}, last_position(), "woken after $command PREPARED");
}

$end = last_position();
asleep($waiter, "CALL es_wait($end, '$LONG')");
my $killed = new_session($node, 'test');
$killed->get('BEGIN;' . append('open'));
$node->safe_psql('test', append('k'));
$node->safe_psql('test', 'SELECT pg_terminate_backend(' . $killed->pid . ')');
is($waiter->answer->{out}, last_position(), 'woken when an appender is terminated');
$killed->quit;

# All of them.
my @waiters = map { new_session($node, 'test') } 1 .. 5;
$end = last_position();
asleep($_, "CALL es_wait($end, '$LONG')") foreach @waiters;
$writer->get(append('k'));
is(join(' ', map { $_->answer->{out} } @waiters), join(' ', (last_position()) x 5), 'all are woken');
$_->quit foreach @waiters;

# Woken at once, not at the next of the looks that it takes each second while
# nothing is in flight.  Under load that may come late; some come soon.
my $soon = 0;
for (1 .. 20)
{
	$end = last_position();
	asleep($waiter, "CALL es_wait($end, '$LONG')");
	my $began = time();
	$writer->get(append('k'));
	$waiter->answer;
	$soon++ if time() - $began < 0.5;
	last if $soon >= 3;
}
cmp_ok($soon, '>=', 3, 'woken at once');

# ---------------------------------------------------------------------------
# While it sleeps.
# ---------------------------------------------------------------------------

my $activity = 'FROM pg_stat_activity WHERE pid = ' . $waiter->pid;

$end = last_position();
asleep($waiter, "CALL es_wait($end, '$LONG')");
is( join(' ', map { $node->safe_psql('test', "SELECT backend_xmin IS NULL AND backend_xid IS NULL $activity") } 1 .. 5),
	't t t t t', 'it holds back no vacuum');
is( $node->safe_psql('test', 'SELECT count(*) FROM pg_locks WHERE relation IS NOT NULL AND pid = ' . $waiter->pid),
	'0', 'it holds no lock on a table');

# Its locks are gone after an interruption, and the session works on.
sub interrupted
{
	my ($name, $answer) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($answer->{state}, '57014', "interrupted: $name");
	is( $node->safe_psql('test', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
		'0', "$name: no lock is left");
	is($waiter->get("CALL es_wait(0, '$LONG')"), last_position(), "$name: the session works");
	return;
}

$node->safe_psql('test', "SELECT pg_cancel_backend(pid) $activity");
interrupted('cancelled', $waiter->answer);

$waiter->get("SET statement_timeout = '50ms'");
my $answer = $waiter->run("CALL es_wait($end, '$LONG')");
$waiter->get('RESET statement_timeout');
interrupted('statement_timeout', $answer);

my $gone = new_session($node, 'test');
asleep($gone, "CALL es_wait($end, '$LONG')");
$node->safe_psql('test', 'SELECT pg_terminate_backend(' . $gone->pid . ')');
is($gone->answer->{state}, 'lost', 'terminated');
$gone->quit;

# The store goes away meanwhile: nobody has to wait for the sleeper.
$node->safe_psql('test', q(SELECT es_create_store('passing')));
$gone = new_session($node, 'test', settings => { 'eventstore.store' => 'passing' });
asleep($gone, "CALL es_wait(0, '$LONG')");
is((run_sql($node, 'test', q(SET lock_timeout = '30s'; SELECT es_drop_store('passing'))))[0], '00000', 'its store can be dropped');
like($gone->answer->{state}, qr/^(42P01|55000)$/, 'it is told so');
is($gone->get("SET eventstore.store = 'app'; CALL es_wait(0, '$LONG')"), last_position(), 'and works on');
$gone->quit;

# ---------------------------------------------------------------------------
# Where it cannot end the transaction it waits briefly and returns.
# ---------------------------------------------------------------------------

$end = last_position();
$waiter->get(
	qq(
	CREATE FUNCTION app.wait_in_function() RETURNS bigint LANGUAGE plpgsql
	AS \$\$ DECLARE h bigint; BEGIN CALL es_wait($end, '$LONG', h); RETURN h; END \$\$;
	CREATE TABLE app.notes (note text);
	CREATE PROCEDURE app.wait_in_procedure() LANGUAGE plpgsql
	AS \$\$ DECLARE h bigint; BEGIN INSERT INTO app.notes VALUES ('before'); COMMIT; CALL es_wait($end, '$LONG', h);
		INSERT INTO app.notes VALUES ('after ' || h); END \$\$));
is($waiter->get("BEGIN;\nCALL es_wait($end, '$LONG');\nSAVEPOINT s;\nCALL es_wait($end, '$LONG');\nROLLBACK TO s;\nCOMMIT"), "$end\n$end", 'in a transaction block');
is($waiter->get('SELECT app.wait_in_function()'), $end, 'in a function');
is($waiter->get(qq(DO \$\$ BEGIN PERFORM app.wait_in_function(); END \$\$; SELECT 1)), '1', 'in a block');
is($waiter->get("BEGIN;\n" . append('own') . ";\nCALL es_wait($end, '$LONG');\nROLLBACK"), "1\n" . last_position(), 'where own events count');

# A procedure may end its transaction, and so may one that it calls.
$end = last_position();
$waiter->get(qq(CREATE OR REPLACE PROCEDURE app.wait_in_procedure() LANGUAGE plpgsql
	AS \$\$ DECLARE h bigint; BEGIN INSERT INTO app.notes VALUES ('before'); COMMIT; CALL es_wait($end, '$LONG', h);
		INSERT INTO app.notes VALUES ('after ' || h); END \$\$));
asleep($waiter, 'CALL app.wait_in_procedure()');
is($node->safe_psql('test', "SELECT backend_xmin IS NULL $activity"), 't', 'in a procedure it holds back no vacuum either');
$writer->get(append('k'));
is($waiter->answer->{state}, '00000', 'in a procedure it waits, and is woken');
is($node->safe_psql('test', 'SELECT string_agg(note, $$ $$ ORDER BY note) FROM app.notes'), 'after ' . last_position() . ' before', 'and goes on there');

# ---------------------------------------------------------------------------
# es_wait_for(): until a subscription has got to a position.
# ---------------------------------------------------------------------------

$end = last_position();
$node->safe_psql('test', q(SELECT es_create_subscription('s', NULL, 2)));
asleep($waiter, "CALL es_wait_for('s', $end, '$LONG')");
$node->poll_query_until('test', "SELECT backend_xmin IS NULL AND wait_event_type = 'Extension' $activity") or die 'holds a snapshot';
$node->safe_psql('test', "SELECT es_advance('s', 0, 0, $end)");
is($node->safe_psql('test', "SELECT state $activity"), 'active', 'one partition is not enough');
$node->safe_psql('test', "SELECT es_advance('s', 1, 0, $end)");
is($waiter->answer->{state}, '00000', 'es_wait_for ends when all partitions are there');
asleep($waiter, "CALL es_wait_for('s', $end + 1, '$LONG')");
$node->safe_psql('test', "SELECT pg_cancel_backend(pid) $activity");
is($waiter->answer->{state}, '57014', 'es_wait_for is cancelled');
is($waiter->state("CALL es_wait_for('s', $end + 1, '20 ms')"), '57014', 'es_wait_for runs out of time');

store_is_sound($node, 'test', 'app', 'in the end');
$_->quit foreach ($waiter, $writer);
$node->stop;
done_testing();
