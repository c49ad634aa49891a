# What the clients of EventstoreClients were told, compared with the store: loaded into
# the database, as schema "told", and asked by queries that find what is not so.

package EventstoreTold;

use strict;
use warnings;

use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Utils;

my $TOLD_TABLES = q(
DROP SCHEMA IF EXISTS told CASCADE;
CREATE SCHEMA told;
CREATE TABLE told.attempts (att text PRIMARY KEY, tx text, round integer, form text,
	request text, level text, calls integer, block boolean, outcome text, state text,
	commit_state text, tolerated boolean, retries integer);
CREATE TABLE told.entries (att text, entry integer, key text, op text, n integer,
	mode text, guard boolean, expected bigint, conditions boolean, PRIMARY KEY (att, entry));
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
		WHERE (status = 'version_conflict' AND mode <> 'decided' AND (version = expected) IS NOT FALSE)
		   OR (status = 'aggregate_not_found'
			   AND (version <> 0 OR expected IS NOT NULL
					OR (mode <> 'existing' AND NOT guard)))
		   OR (status = 'request_id_reused' AND request IS NULL)
		   OR (status = 'repeated' AND request IS NULL)
		   OR (status = 'checked' AND NOT guard)
		   OR (status IN ('landed', 'appended') AND guard)
		   OR (status = 'condition_failed' AND NOT conditions)
		   OR status NOT IN ('landed', 'appended', 'repeated', 'checked', 'not_written', 'version_conflict',
							 'aggregate_not_found', 'condition_failed', 'request_id_reused'))
	],
	[
		'a call over several aggregates is all or nothing', q(
		SELECT format('%s: %s', att, string_agg(status, ', ' ORDER BY entry))
		FROM told.results r JOIN told.attempts a USING (att)
		WHERE form IN ('many', 'try_many', 'execute_many')
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
			   OR (mode = 'any' AND request IS NULL AND NOT conditions AND status <> 'appended')))
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
		  AND NOT (state = 'VE001' AND form ~ 'execute' AND retries = 0)
		  AND NOT (state = 'VE004' AND (form = 'many' OR (form = 'execute_many' AND retries = 0))
				   AND EXISTS (SELECT FROM told.entries e WHERE e.att = a.att AND conditions))
		  AND NOT (state = 'VE005' AND form IN ('append', 'many') AND request IS NOT NULL)
		  AND NOT (state = '25001' AND level <> 'read committed'
				   AND (form ~ 'execute'
						OR EXISTS (SELECT FROM told.entries e WHERE e.att = a.att AND conditions)))
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
		'what a deciding function did shares the fate of its decision', q(
		SELECT format('%s: %s events, %s notes', op, s.found, n.found)
		FROM (SELECT DISTINCT op FROM told.entries JOIN told.attempts USING (att)
			  WHERE form ~ 'execute' AND NOT guard) e,
			LATERAL (SELECT count(*) AS found FROM STORE.es_events s WHERE data->>'op' = op) s,
			LATERAL (SELECT count(*) AS found FROM clients.notes n WHERE n.op = e.op) n
		WHERE n.found <> least(s.found, 1))
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
			$t->{state}, (grep { /^(?:$tolerate)$/ } @states) ? 't' : 'f', $a->{retries}
		  ];
	}
	$rows{entries} = [
		map { [ @$_{qw(att entry key op n mode guard expected)}, $_->{conditions} ? 't' : 'f' ] }
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
		CREATE INDEX told_note ON clients.notes (op);
		ANALYZE $store.es_events));

	foreach my $check (@CHECKS)
	{
		my ($what, $query) = @$check;

		$query =~ s/\bSTORE\./$store./g;
		my $found = $node->safe_psql($db, "$query LIMIT 5");
		push @findings, "not so: $what: $found" if $found ne '';
	}
	$node->safe_psql($db, "DROP INDEX $store.told_op, $store.told_tx, clients.told_note");
	return join "\n", @findings;
}

1;
