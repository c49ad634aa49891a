# Two-phase commit: what a prepared transaction has appended, guarded or locked
# stays so, also over a crash, until it is committed or rolled back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_prepared_transactions = 10\n");

make_database($node, 'test', 'app');

my @events = map { qq('[{"type": "$_"}]') } qw(prepared other);

# A waiting session: sent, and blocked.
sub start_waiting
{
	my ($sql) = @_;
	my $session = new_session($node, 'test');

	$session->send($sql);
	wait_until_blocked($node, $session);
	return $session;
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

my $n = 0;
foreach my $crash (0, 1)
{
	my $when = $crash ? 'after a crash' : 'at once';

	foreach my $end ('COMMIT', 'ROLLBACK')
	{
		my $won = $end eq 'COMMIT';

		# ---- an existing aggregate is appended to ----
		my $key = 'order-' . ++$n;
		$node->safe_psql(
			'test', qq(
			SELECT es_append('$key', $events[1], 0);
			BEGIN;
			SELECT es_append('$key', '[{"type": "prepared", "tags": ["p"]}]', 1, request_id => 'r');
			PREPARE TRANSACTION 'gid'));
		crash() if $crash;

		is($node->safe_psql('test', "SELECT es_version('$key')"), '1', "$when: others see the version before it");
		is( (run_sql($node, 'test', "SET lock_timeout = '1ms'; SELECT es_append('$key', $events[1])"))[0],
			'55P03', "$when: an append waits");
		is( (run_sql($node, 'test', "SELECT * FROM es_lock(ARRAY['$key'], nowait => true)"))[0],
			'55P03', "$when: es_lock with nowait fails");
		my $any = start_waiting("SELECT es_append('$key', $events[1])");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($any->answer->{out}, $won ? '3' : '2', "$when, $end: who waited goes on");
		is( (run_sql($node, 'test', "SELECT es_append('$key', $events[1], 1)"))[0],
			'VE001', "$when, $end: and the version before it is stale");
		is( $node->safe_psql('test', "SELECT version FROM es_find_request('$key', 'r')"),
			$won ? '2' : '', "$when, $end: the request is known if it was committed");
		$any->quit;

		# ---- with the version as it was before ----
		$node->safe_psql(
			'test', qq(
			BEGIN;
			SELECT es_append('$key', $events[0]);
			PREPARE TRANSACTION 'gid'));
		crash() if $crash;
		my $version = $node->safe_psql('test', "SELECT es_version('$key')");
		my $expecting = start_waiting("SELECT es_append('$key', $events[1], $version)");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($expecting->answer->{state}, $won ? 'VE001' : '00000',
			"$when, $end: an append that expects the version before it");
		$expecting->quit;

		# ---- an aggregate is created ----
		$key = 'order-' . ++$n;
		$node->safe_psql(
			'test', qq(
			BEGIN;
			SELECT es_append('$key', $events[0], 0);
			PREPARE TRANSACTION 'gid'));
		crash() if $crash;
		my $creator = start_waiting("SELECT es_append('$key', $events[1], 0)");
		$any = start_waiting("SELECT es_append('$key', $events[1], allow_create => true)");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		if ($won)
		{
			my $answer = $creator->answer;
			is($answer->{state}, 'VE001', "$when, $end: another creator");
			like($answer->{err}, qr/is at version [12], not at the expected version 0/, 'is told why');
			is($any->answer->{out}, '2', "$when, $end: who may create appends");
		}
		else
		{
			# Whoever of the two came first.
			my ($one, $two) = ($creator->answer, $any->answer);
			is( "$one->{state} $one->{out} $two->{out}",
				$one->{state} eq 'VE001' ? 'VE001  1' : '00000 1 2',
				"$when, $end: the others create");
		}
		$_->quit foreach ($creator, $any);

		# ---- guards, for presence and for absence, beside a creation ----
		$key = 'order-' . ++$n;
		$node->safe_psql(
			'test', qq(
			SELECT es_append('$key', $events[1], 0);
			BEGIN;
			SELECT es_append_many('[{"key": "$key", "expected_version": 1}, {"key": "absent-$n", "expected_version": 0},
				{"key": "created-$n", "expected_version": 0, "events": [{"type": "beside"}]}]');
			PREPARE TRANSACTION 'gid'));
		crash() if $crash;
		is( $node->safe_psql(
				'test', qq(SELECT string_agg(status, ' ') FROM es_append_many(
					'[{"key": "$key", "expected_version": 1}, {"key": "absent-$n", "expected_version": 0}]'))),
			'checked checked', "$when: a guard does not hinder a guard");
		my $writer = start_waiting("SELECT es_append('$key', $events[1], 1)");
		$creator = start_waiting("SELECT es_append('absent-$n', $events[1], 0)");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($writer->answer->{out}, '2', "$when, $end: a writer waited for the guard");
		is($creator->answer->{out}, '1', "$when, $end: a creator waited for the guard");
		$_->quit foreach ($writer, $creator);

		# ---- es_lock, and a creation under it that is given up ----
		$key = 'order-' . ++$n;
		$node->safe_psql(
			'test', qq(
			SELECT es_append('$key', $events[1], 0);
			BEGIN;
			SELECT es_lock(ARRAY['$key', 'absent-$n']);
			SAVEPOINT s;
			SELECT es_append('absent-$n', $events[1], 0);
			SELECT es_append('$key', $events[1], 1);
			ROLLBACK TO SAVEPOINT s;
			PREPARE TRANSACTION 'gid'));
		crash() if $crash;
		$writer = start_waiting("SELECT es_append('$key', $events[1], 1)");
		$creator = start_waiting("SELECT es_append('absent-$n', $events[1], 0)");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($writer->answer->{out}, '2', "$when, $end: a writer waited for es_lock");
		is($creator->answer->{out}, '1', "$when, $end: a creator waited for es_lock");
		$_->quit foreach ($writer, $creator);
	}
}

store_is_sound($node, 'test', 'app', 'in the end');
is( $node->safe_psql(
		'test', q(SELECT count(*) FROM app.es_events WHERE type = 'prepared')),
	'6', 'what was prepared is there if it was committed');
is($node->safe_psql('test', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing is left prepared');

# Many absent keys in a prepared transaction: the common root is prepared instead.
$node->safe_psql(
	'test', q(
	BEGIN;
	SELECT count(*) FROM es_append_many((SELECT jsonb_agg(jsonb_build_object(
		'key', 'many-' || n, 'expected_version', 0,
		'events', jsonb_build_array(jsonb_build_object('type', 'prepared')))) FROM generate_series(1, 1000) n));
	PREPARE TRANSACTION 'gid'));
crash();
my $creator = start_waiting("SELECT es_append('many-1', $events[1], 0)");
$node->safe_psql('test', "COMMIT PREPARED 'gid'");
is($creator->answer->{state}, 'VE001', 'many: a creator waited');
is($node->safe_psql('test', q(SELECT count(*) FROM app.es_aggregates WHERE key ~ '^many')), '1000', 'many: all are there');
$creator->quit;

# The same with guards: it is held for them.
$node->safe_psql(
	'test', q(
	BEGIN;
	SELECT count(*) FROM es_append_many('[{"key": "beside-many", "expected_version": 0, "events": [{"type": "beside"}]}]' ||
		(SELECT jsonb_agg(jsonb_build_object('key', 'guarded-' || n, 'expected_version', 0)) FROM generate_series(1, 1000) n));
	PREPARE TRANSACTION 'gid'));
crash();
$creator = start_waiting("SELECT es_append('guarded-1', $events[1], 0)");
$node->safe_psql('test', "COMMIT PREPARED 'gid'");
is($creator->answer->{out}, '1', 'many guards: a creator waited');
$creator->quit;
store_is_sound($node, 'test', 'app', 'many');

$node->stop;
done_testing();
