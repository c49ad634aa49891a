# Many writers of one aggregate: unconditional appends all succeed; of those that
# expect the same version exactly one does, the others are told the truth.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_connections = 40\n");

make_database($node, 'postgres_es', 'app');
my $db = 'postgres_es';

# ---------------------------------------------------------------------------
# Unconditional: never a version error, however many race.
# ---------------------------------------------------------------------------

$node->safe_psql($db, 'CREATE TABLE answers (hot text, version bigint, n integer)');
foreach my $protocol (qw(simple extended prepared))
{
	# From the first event on: who creates the aggregate is decided by the race.
	pgbench_ok(
		$node, $db,
		"unconditional appends, $protocol",
		{ unconditional => qq(\\set n random(1, 4)
INSERT INTO answers
SELECT '$protocol', es_append('hot-$protocol',
	(SELECT jsonb_agg(jsonb_build_object('type', 't', 'tags', jsonb_build_array('tag' || n))) FROM generate_series(1, :n) n),
	allow_create => true), :n;
) },
		protocol => $protocol);
	is( $node->safe_psql(
			$db, qq(
			SELECT count(*), sum(n) = es_version('hot-$protocol') FROM answers WHERE hot = '$protocol')),
		'800|t',
		"$protocol: as many events as were acknowledged");
	is( $node->safe_psql(
			$db, qq(
			SELECT string_agg(version || ' ' || n, ', ')
			FROM (SELECT *, version - lag(version, 1, 0::bigint) OVER (ORDER BY version) AS step
				  FROM answers WHERE hot = '$protocol') s
			WHERE step <> n)),
		'', "$protocol: every append was given versions of its own");
}

# The same from all the functions at once, in transactions that do more.
pgbench_ok(
	$node, $db,
	'unconditional appends mixed',
	{ mixed => q(\set form random(1, 4)
BEGIN;
\if :form = 1
INSERT INTO answers SELECT 'mixed', es_append('mixed', '[{"type": "t"}]', allow_create => true), 1;
\elif :form = 2
INSERT INTO answers SELECT 'mixed', version, 1 FROM es_try_append('mixed', '[{"type": "t"}]', allow_create => true) WHERE status = 'appended';
\elif :form = 3
INSERT INTO answers SELECT 'mixed', version, 1 FROM es_append_many('[{"key": "mixed", "events": [{"type": "t"}], "allow_create": true}]') WHERE status = 'appended';
\else
INSERT INTO answers SELECT 'mixed', version, 1 FROM es_append_each('[{"key": "mixed", "events": [{"type": "t"}], "allow_create": true}]') WHERE status = 'appended';
\endif
COMMIT;
) },
	protocol => 'prepared');
is( $node->safe_psql(
		$db, q(SELECT count(DISTINCT version), min(version), max(version), es_version('mixed')
		FROM answers WHERE hot = 'mixed')),
	'800|1|800|800',
	'mixed: as many events as were acknowledged');

# ---------------------------------------------------------------------------
# The same expected version: clients read the version and race for the next one.
# ---------------------------------------------------------------------------

$node->safe_psql($db,
	'CREATE TABLE outcomes (key text, expected bigint, status text, version bigint, client integer)');
pgbench_ok(
	$node, $db,
	'racing for versions',
	{ versions => q(\set hot random(1, 2)
SELECT es_version('race-' || :hot) AS v \gset
INSERT INTO outcomes
SELECT key, :v, status, version, :client_id FROM es_try_append('race-' || :hot, '[{"type": "t"}]', :v);
) },
	protocol => 'simple', transactions => 200);
is( $node->safe_psql(
		$db, q(
		SELECT format('%s: %s winners of version %s', key, won, expected + 1)
		FROM (SELECT key, expected, count(*) FILTER (WHERE status = 'appended') AS won
			  FROM outcomes GROUP BY key, expected) o
		WHERE won <> 1)),
	'', 'one winner for every version');
is( $node->safe_psql(
		$db, q(
		SELECT status, expected, version FROM outcomes
		WHERE (status, version = expected + 1, version > expected)
			NOT IN (('appended', true, true), ('version_conflict', true, true), ('version_conflict', false, true)))),
	'', 'losers are told the actual version');
is( $node->safe_psql(
		$db, q(
		SELECT count(*) FILTER (WHERE status = 'appended') = (SELECT sum(version) FROM app.es_aggregates WHERE key ~ '^race'),
			   count(*) FILTER (WHERE status = 'version_conflict') > 0
		FROM outcomes)),
	't|t', 'as many events as winners, and there were conflicts');

# Creators: each key is created once.
pgbench_ok(
	$node, $db,
	'racing for creation',
	{ creation => q(\set new random(1, 150)
INSERT INTO outcomes
SELECT key, 0, status, version, :client_id FROM es_try_append('new-' || :new, '[{"type": "t"}]', 0);
) },
	protocol => 'prepared');
is( $node->safe_psql(
		$db, q(
		SELECT key, count(*) FILTER (WHERE status = 'appended'), min(version), max(version),
			   count(*) FILTER (WHERE status NOT IN ('appended', 'version_conflict'))
		FROM outcomes WHERE key ~ '^new' GROUP BY key
		HAVING (count(*) FILTER (WHERE status = 'appended'), min(version), max(version),
				count(*) FILTER (WHERE status NOT IN ('appended', 'version_conflict'))) <> (1, 1, 1, 0))),
	'', 'every aggregate is created once');

# Several at once, in any order: each group is created once, and nobody waits for
# each other in a circle.
$node->safe_psql(
	$db, q(
	CREATE SEQUENCE groups;
	CREATE TABLE created (number bigint, statuses text)));
pgbench_ok(
	$node, $db,
	'racing for creation of several',
	{ several => q(SELECT nextval('groups') / 8 AS g \gset
INSERT INTO created
SELECT :g, string_agg(DISTINCT status, ' ' ORDER BY status)
FROM es_try_append_many((SELECT jsonb_agg(jsonb_build_object('key', 'group-' || :g || '-' || n, 'expected_version', 0,
	'events', '[{"type": "t"}]'::jsonb) ORDER BY random()) FROM generate_series(1, 20) n));
) },
	transactions => 150, protocol => 'simple');
no_deadlocks($node, 'creation of several');
is( $node->safe_psql(
		$db, q(
		SELECT number, string_agg(DISTINCT statuses, ', '), count(*) FILTER (WHERE statuses = 'appended')
		FROM created GROUP BY number
		HAVING count(*) FILTER (WHERE statuses = 'appended') <> 1
			OR count(*) FILTER (WHERE statuses = 'version_conflict') <> count(*) - 1)),
	'', 'every group is created once');

# ---------------------------------------------------------------------------
# The same request, sent by several clients at about the same time: consecutive
# numbers of a sequence give the same request id.
# ---------------------------------------------------------------------------

$node->safe_psql(
	$db, q(
	CREATE SEQUENCE requests;
	CREATE TABLE resends (request bigint, key text, status text, version bigint, first_position bigint, last_position bigint)));
pgbench_ok(
	$node, $db,
	'resending requests',
	{ 'append@3' => q(SELECT nextval('requests') / 6 AS r \gset
INSERT INTO resends SELECT :r, key, status, version, first_position, last_position
FROM es_try_append('request-' || :r % 3, '[{"type": "a"}, {"type": "b"}]', allow_create => true, request_id => 'r' || :r);
),
	'many@2' => q(SELECT nextval('requests') / 6 AS r \gset
INSERT INTO resends SELECT :r + 1000000, key, status, version, first_position, last_position
FROM es_try_append_many(jsonb_build_array(
	jsonb_build_object('key', 'request-' || :r % 3, 'allow_create', true, 'events', '[{"type": "a"}]'::jsonb),
	jsonb_build_object('key', 'request-' || (:r + 1) % 3, 'allow_create', true, 'events', '[{"type": "b"}]'::jsonb)),
	request_id => 'm' || :r);
),
	'each@2' => q(SELECT nextval('requests') / 6 AS r \gset
BEGIN;
INSERT INTO resends SELECT :r + 2000000, key, status, version, first_position, last_position
FROM es_append_each(jsonb_build_array(
	jsonb_build_object('key', 'request-' || :r % 3, 'allow_create', true, 'events', '[{"type": "a"}]'::jsonb, 'request_id', 'e' || :r),
	jsonb_build_object('key', 'request-' || (:r + 1) % 3, 'allow_create', true, 'events', '[{"type": "b"}]'::jsonb, 'request_id', 'e' || :r)));
COMMIT;
) },
	transactions => 150, protocol => 'simple');
is( $node->safe_psql(
		$db, q(
		SELECT request, key, count(*) FILTER (WHERE status = 'appended') AS landed,
			   count(*) FILTER (WHERE status NOT IN ('appended', 'repeated')) AS refused,
			   count(DISTINCT (version, first_position, last_position)) AS results
		FROM resends GROUP BY request, key
		HAVING (count(*) FILTER (WHERE status = 'appended'),
				count(*) FILTER (WHERE status NOT IN ('appended', 'repeated')),
				count(DISTINCT (version, first_position, last_position))) <> (1, 0, 1))),
	'', 'every request landed once, and all were given its result');
is( $node->safe_psql(
		$db, q(
		SELECT count(*) FILTER (WHERE status = 'repeated') > 0,
			   count(*) FILTER (WHERE status = 'appended')
				   = (SELECT count(DISTINCT (key, request_id)) FROM app.es_events WHERE request_id IS NOT NULL)
		FROM resends)),
	't|t', 'there were repeats, and nothing else is there');

# ---------------------------------------------------------------------------
# All at the same moment: the sessions wait at a barrier, are let go together,
# and all expect the same version.
# ---------------------------------------------------------------------------

my $barrier = new_session($node, $db);
my $racers = 6;

foreach my $level ('read committed', 'repeatable read', 'serializable')
{
	my $key = "barrier-" . $level =~ tr/ /-/r;
	my @sessions = map {
		new_session($node, $db, settings => { default_transaction_isolation => $level })
	} 1 .. $racers;
	my @bad;

	foreach my $round (1 .. 8)
	{
		my $expected = $round - 1;
		my ($won, $lost) = (0, 0);

		$barrier->get('SELECT pg_advisory_lock(1)');
		foreach my $s (@sessions)
		{
			$s->send(
				"SELECT pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1);\n"
				  . qq(SELECT es_append('$key', '[{"type": "t"}]', $expected)));
		}
		wait_until_blocked($node, $_) foreach @sessions;
		$barrier->get('SELECT pg_advisory_unlock(1)');

		foreach my $s (@sessions)
		{
			my $answer = $s->answer;
			my ($state, $err) = @$answer{qw(state err)};

			# psql prints the row of the barrier first.
			if ($state eq '00000' && $answer->{out} =~ /\n$round$/)
			{
				$won++;
			}
			elsif ($state eq 'VE001'
				&& $err =~ /aggregate "$key" is at version $round, not at the expected version $expected/
				&& $err =~ /"expected": $expected, "actual": $round\b/)
			{
				$lost++;
			}
			# SERIALIZABLE's own failure may come from any statement.
			elsif ($state eq '40001' && $level eq 'serializable')
			{
				$lost++;
			}
			else
			{
				push @bad, "round $round: $state $answer->{out} $err";
			}
		}
		push @bad, "round $round: $won won, $lost lost"
		  if $won != 1 || $lost != $racers - 1;
	}
	is(join("\n", @bad), '', "$level: one of $racers wins each round");
	is($node->safe_psql($db, "SELECT es_version('$key')"), '8', "$level: one event for each round");
	$_->quit foreach @sessions;
}
$barrier->quit;

# ---------------------------------------------------------------------------
# Transactions of several calls.
# ---------------------------------------------------------------------------

# Two that create many aggregates each, one after the other, have nothing to do
# with each other, and fill no lock table.
my @loaders = map { new_session($node, $db, settings => { lock_timeout => '20s' }) } 1 .. 2;
foreach my $i (0, 1)
{
	my $load = $loaders[$i]->run(
		qq(BEGIN; SELECT count(es_append('loaded-$i-' || n, '[{"type": "t"}]', 0)) FROM generate_series(1, 2000) n));

	is("$load->{state} $load->{out}$load->{err}", '00000 2000', "loader $i creates what it likes");
	cmp_ok(
		$node->safe_psql($db,
			"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = " . $loaders[$i]->pid),
		'<', 100, 'and does not hold a lock for each');
}
foreach my $i (0, 1)
{
	is($loaders[$i]->state('COMMIT'), '00000', "loader $i commits");
	$loaders[$i]->quit;
}

# A transaction that holds an aggregate may hold it once more while a writer waits.
my @holds = (
	q(SELECT count(*) FROM es_append_many('[{"key": "policy", "expected_version": 1}]')),
	q(SELECT count(*) FROM es_lock(ARRAY['policy'])));
$node->safe_psql($db, q(SELECT es_append('policy', '[{"type": "t"}]', 0)));
foreach my $first (@holds)
{
	foreach my $second (@holds)
	{
		my ($holder, $writer) = map { new_session($node, $db) } 1 .. 2;

		$holder->get("BEGIN; $first");
		$writer->get('BEGIN');
		$writer->send(q(SELECT es_append('policy', '[{"type": "t"}]', 1)));
		wait_until_blocked($node, $writer);
		is($holder->run($second)->{out}, '1', 'held twice');
		$holder->get('COMMIT');
		is($writer->answer->{out}, '2', 'the writer goes on');
		$writer->get('ROLLBACK');
		$_->quit foreach ($holder, $writer);
	}
}

no_deadlocks($node, 'all');
store_is_sound($node, $db, 'app', 'all');
indexes_are_sound($node, $db, 'app', 'all');

$node->stop;
done_testing();
