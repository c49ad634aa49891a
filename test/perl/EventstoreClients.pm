# Clients that append at random and keep a record of what they were told.
#
# Each client is a psql that runs a script of its own, made here: random
# transactions of random calls at random isolation levels.  It writes to its own
# log what it sent and every answer that it got, so that the record survives
# whatever happens to the server.  Afterwards the logs of all clients are loaded
# into the database (schema "told") and compared with the store:
#
# - what was acknowledged by a commit is there, exactly once, where the answer
#   said it would be;
# - what was refused, failed, rolled back or never committed is not;
# - where the answer to the commit was lost, everything of the transaction is
#   there, or nothing;
# - the answers themselves keep the contract: which SQLSTATE can come from what,
#   all or nothing, versions, guards that nobody overtook.
#
# Several runs (rounds) may follow each other over the same store, with crashes
# between them; requests whose fate is unknown are sent again.

package EventstoreClients;

use strict;
use warnings;

use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my @LEVELS = ('read committed', 'repeatable read', 'serializable');

# Arguments: node, db, store (schema); keys (how many aggregates everybody
# fights for), seed.
sub new
{
	my ($class, %arg) = @_;
	my $self = {
		keys => 6,
		round => 0,
		requests => {},
		attempts => [],
		entries => [],
		transactions => {},
		seed => $ENV{EVENTSTORE_TEST_SEED} // int(rand(1_000_000_000)),
		directory => PostgreSQL::Test::Utils::tempdir('clients'),
		%arg
	};

	note "random seed $self->{seed} (set EVENTSTORE_TEST_SEED to use it again)";
	srand($self->{seed});
	return bless $self, $class;
}

# Start a round.  Options: clients, transactions (of each client), calls (at
# most, in one transaction), levels (isolation levels to choose from), tolerate
# (a pattern of SQLSTATEs that the faults of this round may cause).
sub start
{
	my ($self, %opt) = @_;
	my $round = ++$self->{round};

	%opt = (
		clients => 8,
		transactions => 100,
		calls => 1,
		levels => \@LEVELS,
		tolerate => '-',
		%opt);
	$self->{tolerate}{$round} = $opt{tolerate};
	$self->{running} = [];

	# All scripts first, so that the clients start together.
	foreach my $client (1 .. $opt{clients})
	{
		my $name = "r${round}c$client";
		my $script = '';

		foreach my $n (1 .. $opt{transactions})
		{
			$script .= $self->_transaction("$name.$n", $round, $n, \%opt);
		}
		append_to_file("$self->{directory}/$name.sql", $script);
	}
	foreach my $client (1 .. $opt{clients})
	{
		my $name = "r${round}c$client";
		my $base = "$self->{directory}/$name";
		my $connstr = $self->{node}->connstr($self->{db})
		  . " application_name=$name options='-c eventstore.store=$self->{store}'";

		push @{ $self->{running} },
		  {
			log => "$base.log",
			run => IPC::Run::start(
				[
					program($self->{node}, 'psql'),
					'-XAt', '-F', ' ', '-v', 'VERBOSITY=verbose',
					'-d', $connstr, '-f', "$base.sql"
				],
				'>', "$base.log",
				'2>', "$base.err",
				IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
		  };
	}
	return;
}

# Wait until the store has so many events more than at the time of the call.
# False if all clients came to an end before.
sub wait_for_events
{
	my ($self, $n) = @_;
	my $count = sub {
		return $self->{node}->safe_psql($self->{db}, "SELECT count(*) FROM $self->{store}.es_events");
	};
	my $wanted = $count->() + $n;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	while ($count->() < $wanted)
	{
		return 0 if !grep { $_->{run}->pumpable } @{ $self->{running} };
		die 'no progress' if time() > $end;
		usleep(20_000);
	}
	return 1;
}

# Wait for all clients and read their logs.  Returns the number of clients that
# lost their connection.
sub finish
{
	my ($self) = @_;
	my $lost = 0;

	foreach my $client (@{ $self->{running} })
	{
		$client->{run}->finish;
		my $result = $client->{run}->result(0);

		# 2: connection lost; anything but 0 besides is no client any more.
		$lost++ if $result == 2;
		die "client ended with $result: $client->{log}"
		  if $result != 0 && $result != 2;
		$self->_read_log($client->{log});
	}
	$self->{running} = [];

	# What no client came to is forgotten.  Should there be events of it, they
	# are found as nobody's.
	foreach my $list (qw(attempts entries))
	{
		$self->{$list} =
		  [ grep { $self->{reached}{ $_->{att} =~ s{/.*}{}r } } @{ $self->{$list} } ];
	}
	$self->{unknown_requests} = [
		map { $_->{request} }
		  grep {
			defined $_->{request}
			  && $self->{transactions}{ $_->{tx} }{outcome} eq 'unknown'
		  } @{ $self->{attempts} }
	];
	return $lost;
}

# ---------------------------------------------------------------------------
# Making scripts
# ---------------------------------------------------------------------------

sub _one_of
{
	return $_[ rand @_ ];
}

# A transaction: what is around the calls.
sub _transaction
{
	my ($self, $tx, $round, $n, $opt) = @_;
	my $level = _one_of(@{ $opt->{levels} });
	my $calls = 1 + int(rand($opt->{calls}));
	my $block = $calls > 1 || rand() < 0.5;
	my $script = '';

	$self->{transactions}{$tx} = {
		round => $round,
		level => $level,
		calls => $calls,
		block => $block,
		outcome => 'aborted'
	};

	# A client whose SET, BEGIN or ROLLBACK failed (it may be cancelled) would do
	# something else from then on than what is remembered here.
	my $give_up = "\\if :ERROR\n\\quit\n\\endif\n";

	if (!$block)
	{
		$script .= "SET default_transaction_isolation = '$level';\n$give_up"
		  . $self->_call($tx, 1, $n, "\\echo T $tx\n")
		  . "\\echo E $tx :SQLSTATE\n";
		return $script;
	}

	$script .= "BEGIN ISOLATION LEVEL $level;\n$give_up";
	foreach my $call (1 .. $calls)
	{
		# Half of the calls in savepoints, some of which are given up though
		# the call was answered.
		if (rand() < 0.5)
		{
			my $if = rand() < 0.2 ? "\\if true" : "\\if :ERROR";

			$script .= "SAVEPOINT s;\n"
			  . $self->_call($tx, $call, $n, '')
			  . "$if\nROLLBACK TO SAVEPOINT s;\n\\echo X $tx/$call\n\\endif\n"
			  . "RELEASE SAVEPOINT s;\n";
		}
		else
		{
			$script .= $self->_call($tx, $call, $n, '');
		}
	}
	if (rand() < 0.15)
	{
		$script .= "ROLLBACK;\n$give_up";
	}
	else
	{
		$script .= "\\echo T $tx\nCOMMIT;\n\\echo E $tx :SQLSTATE\n";
	}
	return $script;
}

# A key: mostly of those that everybody fights for, else one that the clients
# come by at about the same time and that does not exist before.
sub _key
{
	my ($self, $n) = @_;

	return 'hot-' . int(rand($self->{keys})) if rand() < 0.75;
	return "new-$self->{round}-" . int($n / 3 + rand(3));
}

# The events of one entry, as JSON.  The operation they belong to is in their
# data, the transaction in their metadata, which a resend need not repeat.
sub _events
{
	my ($op, $tx, $n) = @_;

	return '[' . join(
		', ',
		map {
			my $tags = $_ % 2 ? qq(, "tags": ["t$_", "op"]) : '';
			qq({"type": "op", "data": {"op": "$op", "n": $_}, "metadata": {"tx": "$tx"}$tags})
		} 1 .. $n) . ']';
}

# One call: what is read before it, the call, and the record of its answer.
# $before comes right before the call itself.
sub _call
{
	my ($self, $tx, $call, $n, $before) = @_;
	my $att = "$tx/$call";
	my $form = _one_of(
		qw(append append try_append try_append many many try_many try_many
		  each lock request request));

	return $self->_request_call($att, $tx, $n, $before) if $form eq 'request';

	my $count = $form =~ /append|lock/ ? 1 : 1 + int(rand(4));
	my @entries;
	my @reads;
	my $record = '';

	foreach my $i (1 .. $count)
	{
		my $mode = _one_of(qw(any any exact exact exact stale absent existing));
		my %entry = (
			entry => $i,
			key => $self->_key($n),
			op => "$att.$i",
			n => 1 + int(rand(3)),
			mode => $mode,
			guard => $form =~ /many/ && rand() < 0.3 ? 1 : 0);

		if ($mode eq 'exact' || $mode eq 'stale')
		{
			my $read = "es_version('$entry{key}')";

			$entry{variable} = "x$i";
			push @reads,
			  ($mode eq 'stale' ? "abs($read - 1)" : $read) . " AS x$i";
			$record .= "\\echo V $att $i :x$i\n";
		}
		elsif ($mode eq 'absent')
		{
			$record .= "\\echo V $att $i 0\n";
		}
		push @entries, \%entry;
	}

	my $reads = '';
	if (@reads && $form ne 'lock')
	{
		$reads = join '', map { "\\set x$_ 0\n" } 1 .. $count;
		$reads .= "SELECT " . join(', ', @reads) . " \\gset\n";
	}

	if ($form eq 'lock')
	{
		return $self->_lock_call($att, $tx, $before, @entries);
	}
	$self->_remember($att, $tx, $form, undef, @entries);
	return "$reads$record$before" . _statement($att, $tx, $form, undef, @entries);
}

# The call itself and the record of its answer.
sub _statement
{
	my ($att, $tx, $form, $request, @entries) = @_;
	my $columns = "'R', '$att', entry, key, status, coalesce(version::text, '-'), "
	  . "coalesce(first_position::text, '-'), coalesce(last_position::text, '-')";
	my $request_arg = defined $request ? ", request_id => '$request'" : '';
	my $statement;

	if ($form =~ /append/)
	{
		my $e = $entries[0];
		my $expected =
			$e->{variable} ? ":$e->{variable}"
		  : $e->{mode} eq 'absent' ? '0'
		  : 'NULL';
		my $create = $e->{mode} eq 'any' ? 'true' : 'false';
		my $call = "es_$form('$e->{key}', '"
		  . _events($e->{op}, $tx, $e->{n})
		  . "', $expected, $create$request_arg)";

		$statement =
		  $form eq 'append'
		  ? "SELECT 'R', '$att', 1, '$e->{key}', 'landed', $call, '-', '-';\n"
		  : "SELECT $columns FROM $call;\n";
	}
	else
	{
		my $function =
			$form eq 'many' ? 'es_append_many'
		  : $form eq 'try_many' ? 'es_try_append_many'
		  : 'es_append_each';
		my @writes = map {
			my $e = $_;
			my @fields = (qq("key": "$e->{key}"));

			push @fields, '"events": ' . _events($e->{op}, $tx, $e->{n})
			  if !$e->{guard};
			push @fields, qq("expected_version": ' || :$e->{variable} || ')
			  if $e->{variable};
			push @fields, '"expected_version": 0' if $e->{mode} eq 'absent';
			push @fields, '"allow_create": true'
			  if $e->{mode} eq 'any' && !$e->{guard};
			push @fields, qq("request_id": "$request")
			  if defined $request && $form eq 'each';
			'{' . join(', ', @fields) . '}'
		} @entries;

		$request_arg = '' if $form eq 'each';
		$statement = "SELECT $columns FROM $function(('["
		  . join(', ', @writes)
		  . "]')::jsonb$request_arg) ORDER BY entry;\n";
	}
	return "${statement}\\echo D $att :SQLSTATE\n";
}

# Lock first, then append what the lock says: inside a transaction that never
# fails for the version.  As a statement of its own the lock is gone with it, so
# the append follows in the same transaction only in a block.
sub _lock_call
{
	my ($self, $att, $tx, $before, $entry) = @_;
	my $t = $self->{transactions}{$tx};

	$entry->{mode} = $t->{block} ? 'locked' : 'any';
	$entry->{variable} = $t->{block} ? 'x1' : undef;
	$self->_remember($att, $tx, 'append', undef, $entry);
	return $before . _statement($att, $tx, 'append', undef, $entry)
	  if !$t->{block};

	# If the lock or the look after it fails, so does the rest of the transaction;
	# the version is then recorded as -1.
	return
		"SELECT 'L', '$att', key, version FROM es_lock(ARRAY['$entry->{key}']);\n"
	  . "\\set x1 -1\n"
	  . "SELECT es_version('$entry->{key}') AS x1 \\gset\n"
	  . "\\echo V $att 1 :x1\n"
	  . _statement($att, $tx, 'append', undef, $entry);
}

# A request: what it writes is decided once, then it is sent by anybody, as often
# as it happens, sometimes with other events by mistake (variant b: other data,
# variant c: also one more).
sub _request_call
{
	my ($self, $att, $tx, $n, $before) = @_;
	my $unknown = $self->{unknown_requests} || [];
	my $name = @$unknown
	  && rand() < 0.5 ? _one_of(@$unknown) : "req-$self->{round}-" . int($n / 4 + rand(3));
	my $variant = rand() < 0.9 ? 'a' : _one_of('b', 'c');
	my $request = $self->{requests}{$name} ||= {
		count => rand() < 0.6 ? 1 : 2 + int(rand(2)),
		keys => [ map { $self->_key($n) } 1 .. 3 ],
		n => [ map { 1 + int(rand(3)) } 1 .. 3 ]
	};
	my $form =
	  $request->{count} > 1
	  ? _one_of(qw(many try_many))
	  : _one_of(qw(append try_append each));
	my @entries = map {
		{
			entry => $_,
			key => $request->{keys}[ $_ - 1 ],
			op => "$name$variant.$_",
			n => $request->{n}[ $_ - 1 ] + ($variant eq 'c' ? 1 : 0),
			mode => 'any',
			guard => 0
		}
	} 1 .. $request->{count};

	$self->_remember($att, $tx, $form, $name, @entries);
	return $before . _statement($att, $tx, $form, $name, @entries);
}

sub _remember
{
	my ($self, $att, $tx, $form, $request, @entries) = @_;

	push @{ $self->{attempts} },
	  { att => $att, tx => $tx, form => $form, request => $request };
	$self->{attempt}{$att} = $self->{attempts}[-1];
	foreach my $e (@entries)
	{
		$e->{att} = $att;
		push @{ $self->{entries} }, $e;
		$self->{entry}{"$att.$e->{entry}"} = $e;
	}
	return;
}

# ---------------------------------------------------------------------------
# Reading logs
# ---------------------------------------------------------------------------

# The lines of a log:
#   V attempt entry version   what the attempt expects
#   R attempt ...             a row of the answer
#   L attempt key version     a row of the answer of es_lock
#   D attempt sqlstate        the answer is complete
#   X attempt                 rolled back to the savepoint before it
#   T transaction             the commit (or the only statement) is sent
#   COMMIT, ROLLBACK          as psql prints them
#   E transaction sqlstate    the commit is answered
sub _read_log
{
	my ($self, $log) = @_;
	my $tag = '';

	open my $fh, '<', $log or die "$log: $!";
	while (my $line = <$fh>)
	{
		chomp $line;
		my ($kind, $name, @rest) = split / /, $line;

		next if !defined $kind;

		# No SQLSTATE: the connection was lost while psql waited, which is no
		# answer.  It notices with the next statement at the latest.
		next if $kind =~ /^[DE]$/ && !@rest;
		$self->{reached}{ $name =~ s{/.*}{}r } = 1 if defined $name;
		if ($kind eq 'V')
		{
			$self->{entry}{"$name.$rest[0]"}{expected} = $rest[1];
		}
		elsif ($kind eq 'R')
		{
			push @{ $self->{results} }, [ $name, @rest ];
		}
		elsif ($kind eq 'L')
		{
			push @{ $self->{locks} }, [ $name, @rest ];
		}
		elsif ($kind eq 'D')
		{
			$self->{attempt}{$name}{state} = $rest[0];
		}
		elsif ($kind eq 'X')
		{
			$self->{attempt}{$name}{dropped} = 1;
		}
		elsif ($kind eq 'T')
		{
			$self->{transactions}{$name}{outcome} = 'unknown';
			$tag = '';
		}
		elsif ($kind eq 'E')
		{
			my $t = $self->{transactions}{$name};

			$t->{state} = $rest[0];
			$t->{outcome} =
			  $rest[0] eq '00000' && (!$t->{block} || $tag eq 'COMMIT')
			  ? 'committed'
			  : 'aborted';
		}
		$tag = $kind;
	}
	close $fh;
	return;
}

# ---------------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------------

my $TOLD_TABLES = q(
DROP SCHEMA IF EXISTS told CASCADE;
CREATE SCHEMA told;
CREATE TABLE told.attempts (att text PRIMARY KEY, tx text, round integer, form text,
	request text, level text, calls integer, block boolean, outcome text, state text,
	commit_state text, tolerated boolean);
CREATE TABLE told.entries (att text, entry integer, key text, op text, n integer,
	mode text, guard boolean, expected bigint, PRIMARY KEY (att, entry));
CREATE TABLE told.results (att text, entry integer, key text, status text,
	version bigint, first_position bigint, last_position bigint,
	PRIMARY KEY (att, entry));
CREATE TABLE told.locks (att text, key text, version bigint);
);

# Every check is a query that finds nothing.
my @CHECKS = (
	[
		'an answer row belongs to what was sent', q(
		SELECT format('%s entry %s: %s', att, entry, r.key)
		FROM told.results r LEFT JOIN told.entries e USING (att, entry)
		WHERE e.key IS DISTINCT FROM r.key)
	],
	[
		'a complete answer has a row for each entry', q(
		SELECT format('%s entry %s', att, entry)
		FROM told.attempts a JOIN told.entries e USING (att)
			LEFT JOIN told.results r USING (att, entry)
		WHERE a.state = '00000' AND r.status IS NULL)
	],
	[
		'acknowledged events are there, where the answer said', q(
		SELECT format('%s %s entry %s: %s %s at version %s, positions %s to %s: found %s, %s to %s',
					  a.outcome, att, entry, key, op, r.version, r.first_position,
					  r.last_position, f.found, f.lo, f.hi)
		FROM told.attempts a JOIN told.entries e USING (att) JOIN told.results r USING (att, entry, key),
			LATERAL (SELECT count(*) AS found, min(position) AS lo, max(position) AS hi
					 FROM STORE.es_events s
					 WHERE s.key = e.key AND data->>'op' = op
					   AND version = r.version - e.n + (data->>'n')::integer) f
		WHERE outcome = 'committed' AND status IN ('landed', 'appended', 'repeated')
		  AND (found <> e.n
			   OR coalesce(r.first_position, lo) <> lo OR coalesce(r.last_position, hi) <> hi))
	],
	[
		'acknowledged events are there once, and nothing is there in part', q(
		SELECT format('%s: %s of %s events', op, found, n)
		FROM (SELECT DISTINCT key, op, n FROM told.entries WHERE NOT guard) e,
			LATERAL (SELECT count(*) AS found FROM STORE.es_events s
					 WHERE s.key = e.key AND data->>'op' = op) f
		WHERE found NOT IN (0, n))
	],
	[
		'what was not acknowledged is not there', q(
		SELECT format('%s', op)
		FROM told.entries e JOIN told.attempts a USING (att)
			LEFT JOIN told.results r USING (att, entry)
		WHERE NOT guard
		GROUP BY op
		HAVING NOT bool_or(outcome = 'unknown')
		   AND NOT coalesce(bool_or(outcome = 'committed'
									AND status IN ('landed', 'appended', 'repeated')), false)
		   AND EXISTS (SELECT FROM STORE.es_events WHERE data->>'op' = op))
	],
	[
		'a commit without an answer is there as a whole or not at all', q(
		SELECT tx
		FROM told.attempts a JOIN told.entries e USING (att) JOIN told.results r USING (att, entry)
		WHERE outcome = 'unknown' AND NOT guard AND request IS NULL
		  AND status IN ('landed', 'appended')
		GROUP BY tx
		HAVING count(DISTINCT EXISTS (SELECT FROM STORE.es_events WHERE data->>'op' = op)) > 1
		UNION ALL
		SELECT att
		FROM told.attempts a JOIN told.entries e USING (att)
		WHERE outcome = 'unknown' AND state IS NULL AND form IN ('many', 'try_many')
		  AND NOT guard AND request IS NULL
		GROUP BY att
		HAVING count(DISTINCT EXISTS (SELECT FROM STORE.es_events WHERE data->>'op' = op)) > 1)
	],
	[
		'every event was sent by somebody', q(
		SELECT format('%s version %s: %s', key, version, data)
		FROM STORE.es_events s
		WHERE type = 'op'
		  AND NOT EXISTS (SELECT FROM told.entries e
						  WHERE e.key = s.key AND op = data->>'op' AND NOT guard))
	],
	[
		'a request landed once, with one set of events', q(
		SELECT format('%s %s', key, request_id)
		FROM STORE.es_events
		WHERE request_id IS NOT NULL
		GROUP BY key, request_id
		HAVING count(DISTINCT split_part(data->>'op', '.', 1)) > 1)
	],
	[
		'an append lands where it expected', q(
		SELECT format('%s entry %s: expected %s, %s events, version %s', att, entry, expected, n, version)
		FROM told.entries e JOIN told.results r USING (att, entry)
		WHERE (status IN ('landed', 'appended') AND version <> expected + n)
		   OR (status = 'checked' AND version <> expected))
	],
	[
		'a refusal says the truth', q(
		SELECT format('%s entry %s: %s, expected %s, version %s', att, entry, status, expected, version)
		FROM told.entries e JOIN told.results r USING (att, entry) JOIN told.attempts a USING (att)
		WHERE (status = 'version_conflict' AND (version = expected) IS NOT FALSE)
		   OR (status = 'aggregate_not_found'
			   AND (version <> 0 OR expected IS NOT NULL
					OR (mode <> 'existing' AND NOT guard)))
		   OR (status = 'request_id_reused' AND request IS NULL)
		   OR (status = 'repeated' AND request IS NULL)
		   OR (status = 'checked' AND NOT guard)
		   OR (status IN ('landed', 'appended') AND guard)
		   OR status NOT IN ('landed', 'appended', 'repeated', 'checked', 'not_written',
							 'version_conflict', 'aggregate_not_found', 'request_id_reused'))
	],
	[
		'a call over several aggregates is all or nothing', q(
		SELECT format('%s: %s', att, string_agg(status, ', ' ORDER BY entry))
		FROM told.results r JOIN told.attempts a USING (att)
		WHERE form IN ('many', 'try_many')
		GROUP BY att
		HAVING bool_or(status IN ('appended', 'repeated', 'checked'))
		   AND bool_or(status NOT IN ('appended', 'repeated', 'checked'))
			OR bool_and(status = 'not_written'))
	],
	[
		'an append that asks for nothing is not refused for another one', q(
		SELECT format('%s entry %s: %s', att, entry, status)
		FROM told.results r JOIN told.entries e USING (att, entry) JOIN told.attempts a USING (att)
		WHERE form IN ('try_append', 'each')
		  AND (status = 'not_written'
			   OR (mode = 'any' AND request IS NULL AND status <> 'appended')))
	],
	[
		'an error is one that the call may give', q(
		SELECT format('%s %s, %s, %s of %s: %s', form, att, level, calls, outcome, state)
		FROM told.attempts a
		WHERE state <> '00000' AND NOT tolerated
		  AND NOT (state = 'VE001' AND form IN ('append', 'many')
				   AND EXISTS (SELECT FROM told.entries e WHERE e.att = a.att AND expected IS NOT NULL))
		  AND NOT (state = 'VE002' AND form IN ('append', 'many')
				   AND EXISTS (SELECT FROM told.entries e
							   WHERE e.att = a.att AND expected IS NULL
								 AND (mode = 'existing' OR guard)))
		  AND NOT (state = 'VE005' AND form IN ('append', 'many') AND request IS NOT NULL)
		  AND NOT (state = '40001' AND level <> 'read committed')
		  AND NOT (state = '40P01'
				   AND (SELECT max(calls) FROM told.attempts o WHERE o.round = a.round) > 1)
		  AND NOT (state = '25P02' AND block))
	],
	[
		'a commit fails only when it is serializable', q(
		SELECT format('%s, %s: %s', tx, level, commit_state)
		FROM told.attempts
		WHERE block AND commit_state <> '00000' AND NOT tolerated
		  AND NOT (commit_state = '40001' AND level = 'serializable'))
	],
	[
		'what was read under the lock is what the append expects', q(
		SELECT format('%s: locked at %s, then %s: %s', att, l.version, expected, state)
		FROM told.locks l JOIN told.attempts a USING (att) JOIN told.entries e USING (att, key)
		WHERE (expected >= 0 AND l.version <> expected) OR state = 'VE001')
	],
	[
		'nobody overtook a guard', q(
		SELECT format('%s: %s held at version %s, but version %s has position %s, before %s',
					  att, s.key, s.version - 1, s.version, s.position, w.position)
		FROM (SELECT att, key, version, tx FROM told.results r JOIN told.attempts USING (att)
			  WHERE status = 'checked' AND outcome = 'committed'
			  UNION ALL
			  SELECT att, key, version, tx FROM told.locks JOIN told.attempts USING (att)
			  WHERE outcome = 'committed') g
			JOIN STORE.es_events s ON s.key = g.key AND s.version = g.version + 1
			JOIN STORE.es_events w ON w.metadata->>'tx' = g.tx
		WHERE s.metadata->>'tx' <> g.tx AND s.position < w.position)
	],
	[
		'nobody came between a guard and the writes it is for', q(
		SELECT format('%s: %s checked at version %s with position %s, after the writes from %s',
					  att, s.key, s.version, s.position, w.first_position)
		FROM told.results g JOIN told.attempts USING (att)
			JOIN told.results w USING (att)
			JOIN STORE.es_events s ON s.key = g.key AND s.version = g.version
		WHERE g.status = 'checked' AND w.status = 'appended' AND outcome = 'committed'
		  AND s.metadata->>'tx' <> tx AND s.position > w.first_position)
	],
);

# Load what the clients were told and run all checks; returns the findings.
sub findings
{
	my ($self) = @_;
	my ($node, $db, $store) = @$self{qw(node db store)};
	my (%rows, @findings);

	foreach my $a (@{ $self->{attempts} })
	{
		my $t = $self->{transactions}{ $a->{tx} };
		my $tolerate = $self->{tolerate}{ $t->{round} };
		my $outcome = $a->{dropped} ? 'dropped' : $t->{outcome};
		my @states = grep { defined } ($a->{state}, $t->{state});

		push @{ $rows{attempts} },
		  [
			@$a{qw(att tx)}, $t->{round}, @$a{qw(form request)},
			@$t{qw(level calls)}, $t->{block} ? 't' : 'f',
			$outcome, $a->{state},
			$t->{state}, (grep { /^(?:$tolerate)$/ } @states) ? 't' : 'f'
		  ];
	}
	$rows{entries} = [
		map { [ @$_{qw(att entry key op n mode guard expected)} ] }
		  @{ $self->{entries} }
	];
	$rows{results} = $self->{results} || [];
	$rows{locks} = $self->{locks} || [];

	my $load = $TOLD_TABLES;
	foreach my $table (qw(attempts entries results locks))
	{
		$load .= "COPY told.$table FROM STDIN;\n"
		  . join('',
			map { join("\t", map { defined $_ && $_ ne '-' ? $_ : '\N' } @$_) . "\n" }
			  @{ $rows{$table} })
		  . "\\.\n";
	}
	my $file = "$self->{directory}/told_$self->{round}.sql";
	append_to_file($file, $load);
	my $connstr = $node->connstr($db);
	IPC::Run::run([ program($node, 'psql'), '-Xqq', '-v', 'ON_ERROR_STOP=1', '-d', $connstr, '-f', $file ])
	  or die "could not load what the clients were told";
	$node->safe_psql(
		$db, qq(
		ANALYZE told.attempts, told.entries, told.results, told.locks;
		CREATE INDEX told_op ON $store.es_events ((data->>'op'));
		CREATE INDEX told_tx ON $store.es_events ((metadata->>'tx'));
		ANALYZE $store.es_events));

	foreach my $check (@CHECKS)
	{
		my ($what, $query) = @$check;

		$query =~ s/\bSTORE\./$store./g;
		my $found = $node->safe_psql($db, "$query LIMIT 5");
		push @findings, "not so: $what: $found" if $found ne '';
	}
	$node->safe_psql($db, "DROP INDEX $store.told_op, $store.told_tx");
	return join "\n", @findings;
}

# How often each status or error was the answer: for coverage, and as a note.
sub answers
{
	my ($self) = @_;
	my %count;

	$count{ $_->[3] }++ foreach @{ $self->{results} };
	$count{ $_->{state} // 'lost' }++ foreach @{ $self->{attempts} };
	$count{"tx $_->{outcome}"}++ foreach values %{ $self->{transactions} };
	return \%count;
}

1;
