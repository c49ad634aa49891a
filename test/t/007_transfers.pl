# Money moves between accounts in atomic writes to both, under a limit that a
# policy sets and changes meanwhile.  No amount is lost, no account is ever
# overdrawn, no transfer goes by a policy that is no longer in force, and clients
# that lock two accounts in any order never deadlock.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_connections = 40\n");

make_database($node, 'bank', 'app');

# The loop of the documentation: read, decide, append, again on a conflict.
# The transfer expects the versions that it read of both accounts, and guards the
# policy that it decided by.
$node->safe_psql(
	'bank', q(
	CREATE FUNCTION balance(account text, OUT version bigint, OUT amount bigint) LANGUAGE sql AS $$
		SELECT coalesce(max(e.version), 0), coalesce(sum((data->>'amount')::bigint), 0)
		FROM es_read(account) e
	$$;
	CREATE FUNCTION writes(a text, va bigint, b text, vb bigint, amount bigint, vp bigint)
	RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_array(
			jsonb_build_object('key', a, 'expected_version', va, 'events', jsonb_build_array(
				jsonb_build_object('type', 'withdrawn', 'data', jsonb_build_object('amount', -amount, 'policy', vp)))),
			jsonb_build_object('key', 'policy', 'expected_version', vp),
			jsonb_build_object('key', b, 'expected_version', vb, 'events', jsonb_build_array(
				jsonb_build_object('type', 'deposited', 'data', jsonb_build_object('amount', amount, 'policy', vp)))))
	$$;
	CREATE FUNCTION transfer(a text, b text, wanted bigint) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		va bigint; vb bigint; vp bigint; have bigint; allowed bigint;
	BEGIN
		LOOP
			SELECT version, amount INTO va, have FROM balance(a);
			SELECT version INTO vb FROM balance(b);
			SELECT version, (data->>'limit')::bigint INTO vp, allowed
			FROM es_read('policy', max_count => 1, backwards => true);
			IF have < wanted OR wanted > allowed THEN
				RETURN 'declined';
			END IF;
			BEGIN
				PERFORM es_append_many(writes(a, va, b, vb, wanted, vp));
				RETURN 'moved';
			EXCEPTION WHEN SQLSTATE 'VE001' THEN
				NULL;
			END;
		END LOOP;
	END $$;
	CREATE TABLE outcomes (client integer, outcome text);
	SELECT es_append('policy', '[{"type": "set", "data": {"limit": 50}}]', 0);
	SELECT es_append('account-' || n, '[{"type": "opened", "data": {"amount": 100}}]', 0)
	FROM generate_series(1, 6) n));

my %scripts = (
	# retries inside the database
	'loop@4' => q(\set a random(1, 6)
\set b 1 + (:a + random(0, 4)) % 6
\set amount random(1, 60)
INSERT INTO outcomes SELECT :client_id, transfer('account-' || :a, 'account-' || :b, :amount);
),
	# a client that reads, decides, and tries
	'try@5' => q(\set a random(1, 6)
\set b 1 + (:a + random(0, 4)) % 6
\set amount random(1, 60)
SELECT x.version AS va, x.amount AS have, y.version AS vb, p.version AS vp, (p.data->>'limit')::bigint AS allowed
FROM balance('account-' || :a) x, balance('account-' || :b) y, es_read('policy', max_count => 1, backwards => true) p \gset
\if :have >= :amount and :amount <= :allowed
INSERT INTO outcomes
SELECT :client_id, string_agg(status, ' ' ORDER BY entry)
FROM es_try_append_many(writes('account-' || :a, :va, 'account-' || :b, :vb, :amount, :vp));
\endif
),
	# somebody who changes the policy
	'policy@1' => q(\set limit random(20, 60)
INSERT INTO outcomes
SELECT :client_id, 'policy ' || es_append('policy', jsonb_build_array(jsonb_build_object('type', 'set', 'data', jsonb_build_object('limit', :limit))));
));

pgbench_ok($node, 'bank', 'transfers', \%scripts, transactions => 150);

no_deadlocks($node, 'transfers');
store_is_sound($node, 'bank', 'app', 'transfers');
my $query = sub { return $node->safe_psql('bank', $_[0]); };

is($query->(q(SELECT sum((data->>'amount')::bigint) FROM app.es_events WHERE key ~ '^account')),
	'600', 'no amount is lost or made');
is( $query->(
		q(SELECT format('%s version %s: %s', key, version, balance)
		FROM (SELECT key, version, sum((data->>'amount')::bigint) OVER (PARTITION BY key ORDER BY version) AS balance
			  FROM app.es_events WHERE key ~ '^account') b
		WHERE balance < 0 LIMIT 5)),
	'', 'no account was ever overdrawn');

# The guard held the policy still from before the transfer's positions were drawn
# until its end: the next policy's position is higher.
is( $query->(
		q(SELECT format('%s version %s by policy %s', t.key, t.version, t.data->>'policy')
		FROM app.es_events t
			JOIN app.es_events p ON p.key = 'policy' AND p.version = (t.data->>'policy')::bigint
			LEFT JOIN app.es_events n ON n.key = 'policy' AND n.version = p.version + 1
		WHERE t.data ? 'policy'
		  AND (t.position < p.position OR t.position > n.position
			   OR abs((t.data->>'amount')::bigint) > (p.data->>'limit')::bigint)
		LIMIT 5)),
	'', 'every transfer was made under the policy in force');
is( $query->(
		q(SELECT count(*) = (SELECT count(*) FROM outcomes WHERE outcome IN ('moved', 'appended checked appended'))
		FROM app.es_events WHERE type = 'withdrawn')),
	't', 'as many transfers as were acknowledged');
is( $query->(
		q(SELECT DISTINCT outcome FROM outcomes
		WHERE outcome NOT IN ('moved', 'declined', 'appended checked appended')
		  AND outcome !~ '^policy [0-9]+$'
		  AND (outcome !~ 'version_conflict' OR outcome ~ 'appended|checked'
			   OR outcome !~ '^((version_conflict|not_written)( |$)){3}$'))),
	'', 'every other outcome is a refusal of all three entries');

my $happened = $query->(q(SELECT outcome, count(*) FROM outcomes WHERE outcome !~ 'policy' GROUP BY 1 ORDER BY 1));
note $happened;
like($happened, qr/^$_\|/m, "some outcomes were $_")
  foreach ('moved', 'appended checked appended', '(?:version_conflict|not_written) .*');

# Write skew: each of two doctors may leave if the other one has not, decided by a
# guard on the other one.  Nothing but the guards stands in the way.
$node->safe_psql(
	'bank', q(
	CREATE SEQUENCE rounds;
	CREATE TABLE skew (client integer, round bigint, side integer, outcome text)));
pgbench_ok(
	$node, 'bank',
	'guards against write skew',
	{
		# Several clients at a time are at each round.
		skew => q(SELECT r / 4 AS round, r % 2 AS side, 1 - r % 2 AS other FROM nextval('rounds') r \gset
INSERT INTO skew
SELECT :client_id, :round, :side, string_agg(status, ' ' ORDER BY entry)
FROM es_try_append_many(jsonb_build_array(
	jsonb_build_object('key', 'doctor-' || :round || '-' || :side, 'expected_version', 0,
		'events', jsonb_build_array(jsonb_build_object('type', 'left'))),
	jsonb_build_object('key', 'doctor-' || :round || '-' || :other, 'expected_version', 0)));
)
	});
no_deadlocks($node, 'guards');
is( $query->(
		q(SELECT format('%s: %s of both', round, n)
		FROM (SELECT split_part(key, '-', 2) AS round, count(*) AS n
			  FROM app.es_events WHERE type = 'left' GROUP BY 1) d
		WHERE n <> 1 LIMIT 5)),
	'', 'never both');
is( $query->(
		q(SELECT count(*) FILTER (WHERE outcome = 'appended checked') = (SELECT count(*) FROM app.es_events WHERE type = 'left')
		FROM skew)),
	't', 'as many as were acknowledged');
store_is_sound($node, 'bank', 'app', 'in the end');

$node->stop;
done_testing();
