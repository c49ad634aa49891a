# Sixteen clients move money between ten accounts, by es_execute_many, es_execute and
# es_append_many.  Each command has a request id and is sent several times, mostly by
# two clients at once; some transactions are rolled back and sent again.  The sum stays
# the same, no account is overdrawn, nobody deadlocks, and every command is carried out
# exactly once.

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

# An account has a balance, and savings that money moves to and back.  What a command does is decided by its number,
# so that whoever sends it sends the same.
$node->safe_psql(
	'bank', q(
	CREATE FUNCTION balance(account text, OUT version bigint, OUT amount bigint, OUT saved bigint) LANGUAGE sql STABLE AS $$
		SELECT coalesce(max(e.version), 0), coalesce(sum((data->>'amount')::bigint), 0), coalesce(sum((data->>'saved')::bigint), 0)
		FROM es_read(account) e
	$$;
	CREATE FUNCTION write(account text, expected bigint, type text, amount bigint, saved bigint) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_object('key', account, 'expected_version', expected, 'events',
			jsonb_build_array(jsonb_build_object('type', type, 'data', jsonb_build_object('amount', amount, 'saved', saved))))
	$$;
	-- Declined is an error or nothing, by the command's number.
	CREATE FUNCTION transfer(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		a text := command->>'from'; b text := command->>'to'; wanted bigint := command->>'amount';
		va bigint; vb bigint; have bigint;
	BEGIN
		SELECT version, amount INTO va, have FROM balance(a);
		SELECT version INTO vb FROM balance(b);
		IF have < wanted THEN
			IF (command->>'n')::bigint % 2 = 0 THEN
				RAISE 'declined' USING ERRCODE = 'BK001';
			END IF;
			RETURN '[]';
		END IF;
		RETURN jsonb_build_array(write(a, va, 'withdrawn', -wanted, 0), write(b, vb, 'deposited', wanted, 0));
	END $$;
	CREATE FUNCTION save(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
	DECLARE
		wanted bigint := command->>'amount';
		now record := balance(key);
	BEGIN
		IF now.version <> version THEN
			RAISE 'told version %, seen %', version, now.version;
		ELSIF now.amount < wanted OR now.saved < -wanted THEN
			RETURN NULL;
		END IF;
		RETURN write(key, NULL, 'saved', -wanted, wanted)->'events';
	END $$;
	CREATE FUNCTION command(n bigint) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_object('n', n, 'from', 'account-' || a, 'to', 'account-' || (a + b) % 10,
			'amount', CASE n % 10 WHEN 5 THEN -amount ELSE amount END)
		FROM (SELECT hash % 10 AS a, 1 + hash / 10 % 9 AS b, 1 + hash / 90 % 40 AS amount
			  FROM (SELECT hashint8(n) & 2147483647 AS hash) h) x
	$$;
	CREATE TABLE answers (client integer, how text, n bigint, answer text);
	CREATE SEQUENCE commands;
	SELECT es_append('account-' || n, '[{"type": "opened", "data": {"amount": 100, "saved": 0}}]', 0)
	FROM generate_series(0, 9) n;

	CREATE FUNCTION by_execute(n bigint) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		c jsonb := command(n);
	BEGIN
		IF n % 5 = 0 THEN
			RETURN (SELECT status FROM es_execute(c->>'from', 'save', c, request_id => 'command-' || n));
		END IF;
		RETURN coalesce((SELECT string_agg(status, ' ') FROM es_execute_many(ARRAY[c->>'from', c->>'to'], 'transfer', c, request_id => 'command-' || n)), 'not_written');
	EXCEPTION WHEN SQLSTATE 'BK001' THEN
		RETURN 'declined';
	END $$;
	-- The loop of a handler of its own: look, decide, append, again on a conflict.
	CREATE FUNCTION by_append(n bigint) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		c jsonb := command(n);
		writes jsonb;
	BEGIN
		IF n % 5 = 0 THEN
			RETURN by_execute(n);
		END IF;
		LOOP
			BEGIN
				IF EXISTS (SELECT FROM es_find_request(c->>'from', 'command-' || n)) THEN
					RETURN 'repeated';
				END IF;
				writes := transfer(c);
				IF writes = '[]' THEN
					RETURN 'not_written';
				END IF;
				RETURN (SELECT string_agg(status, ' ') FROM es_append_many(writes, 'command-' || n));
			EXCEPTION
				WHEN SQLSTATE 'VE001' THEN NULL;
				-- Decided otherwise than the first time.
				WHEN SQLSTATE 'VE005' THEN RETURN 'repeated';
				WHEN SQLSTATE 'BK001' THEN RETURN 'declined';
			END;
		END LOOP;
	END $$));

# Numbers are drawn in pairs, so that two clients send each command at about the same
# time; every third command is sent twice by each.
my $send = q(SELECT nextval('commands') / 2 AS n \gset
INSERT INTO answers SELECT :client_id, 'how', :n, by_how(:n);
\set again :n % 3
\if :again = 0
INSERT INTO answers SELECT :client_id, 'how again', :n, by_how(:n);
\endif
);
my %scripts = (
	'execute@5' => $send =~ s/how/execute/gr,
	'append@3' => $send =~ s/how/append/gr,
	# Rolled back first, then sent again.
	'rollback@2' => q(SELECT nextval('commands') / 2 AS n \gset
BEGIN;
SELECT by_execute(:n);
ROLLBACK;
INSERT INTO answers SELECT :client_id, 'execute after rollback', :n, by_execute(:n);
));

pgbench_ok($node, 'bank', 'transfers', \%scripts, clients => 16, transactions => 120);

no_deadlocks($node, 'transfers');
store_is_sound($node, 'bank', 'app', 'transfers');
my $query = sub { return $node->safe_psql('bank', $_[0]); };

is($query->(q(SELECT sum((data->>'amount')::bigint + (data->>'saved')::bigint) FROM app.es_events)), '1000', 'the sum is the same');
is( $query->(
		q(SELECT format('%s version %s: %s', key, version, balance)
		FROM (SELECT key, version, sum((data->>'amount')::bigint) OVER (PARTITION BY key ORDER BY version) AS balance FROM app.es_events) b
		WHERE balance < 0 LIMIT 5)),
	'', 'no account was ever overdrawn');

# Exactly once: what the log has of each command is one withdrawal and one deposit, or
# one saving, as the command says.
is( $query->(
		q(SELECT format('%s: %s', request_id, events)
		FROM (SELECT request_id, string_agg(concat_ws(' ', key, type, data->>'amount'), ', ' ORDER BY version, type DESC) AS events,
					 array_agg(concat_ws(' ', key, type, data->>'amount') ORDER BY type DESC) AS found
			  FROM app.es_events WHERE type <> 'opened' GROUP BY request_id) e,
			LATERAL (SELECT command(substr(request_id, 9)::bigint) AS c) x
		WHERE found IS DISTINCT FROM CASE WHEN (c->>'n')::bigint % 5 = 0
			THEN ARRAY[concat_ws(' ', c->>'from', 'saved', -(c->>'amount')::bigint)]
			ELSE ARRAY[concat_ws(' ', c->>'from', 'withdrawn', '-' || (c->>'amount')), concat_ws(' ', c->>'to', 'deposited', c->>'amount')] END
		LIMIT 5)),
	'', 'each command is in the log once, and whole');

# One answer of each of those says "appended", all later ones "repeated", and nobody
# was told of something that is not there.
is( $query->(
		q(SELECT format('command %s: %s times appended, %s times repeated, %s times in the log', n, appended, repeated, logged)
		FROM (SELECT n, count(*) FILTER (WHERE answer ~ '^appended') AS appended, count(*) FILTER (WHERE answer ~ '^repeated') AS repeated
			  FROM answers GROUP BY n) a
			LEFT JOIN (SELECT substr(request_id, 9)::bigint AS n, count(DISTINCT request_id) AS logged FROM app.es_events WHERE request_id IS NOT NULL GROUP BY 1) e USING (n)
		WHERE appended <> coalesce(logged, 0) OR (repeated > 0 AND logged IS NULL)
		LIMIT 5)),
	'', 'each was acknowledged as appended once');
is($query->(q(SELECT count(*) FROM app.es_events e WHERE request_id IS NOT NULL AND NOT EXISTS (SELECT FROM answers WHERE n = substr(e.request_id, 9)::bigint))),
	'0', 'no command is in the log that nobody was answered');
is($query->(q(SELECT DISTINCT answer FROM answers WHERE answer !~ '^(appended|repeated)( appended| repeated)?$' AND answer NOT IN ('not_written', 'declined'))),
	'', 'no other answers');
# Sent once more, one at a time, all say the same: carried out is carried out.
is( $query->(
		q(SELECT format('command %s: %s', n, answer)
		FROM (SELECT n, by_execute(n) AS answer FROM (SELECT DISTINCT n FROM answers WHERE answer ~ '^(appended|repeated)' ORDER BY n) a OFFSET 0) b
		WHERE answer !~ '^repeated' LIMIT 5)),
	'', 'sent again, each is a repeat');

my $happened = $query->(q(SELECT how, answer, count(*) FROM answers GROUP BY 1, 2 ORDER BY 1, 2));
note $happened;
like($happened, qr/^$_\|/m, "some were answered so: $_")
  foreach ('execute\|appended', 'execute\|repeated', 'execute\|appended appended', 'execute\|repeated repeated', 'execute\|not_written', 'execute\|declined',
	'append\|appended appended', 'append\|repeated', 'execute again\|repeated', 'execute after rollback\|appended');

$node->stop;
done_testing();
