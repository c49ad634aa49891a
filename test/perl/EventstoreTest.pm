# What the TAP tests share: nodes, databases with a store, sessions that can be
# left waiting, and the invariants that every store must satisfy at any time.
#
# Each node's configuration takes extra lines from the environment variable
# EVENTSTORE_TEST_CONF, so that a staged install can be tested, for example
# with extension_destdir and dynamic_library_path (extension_control_path from
# PostgreSQL 18 on).

package EventstoreTest;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  start_node init_node make_database run_sql events_of
  store_contents same_contents store_findings store_is_sound indexes_are_sound
  guards_hold append_continues new_session wait_until_blocked wait_until_up no_deadlocks
  pgbench_ok program
);

# Start a new node.  Options: init (arguments of the node's init), conf (lines).
sub start_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	init_node($node, %opt);
	$node->start;
	return $node;
}

# Make the node's data directory, of the same locale wherever the tests run.
# Logging every statement is the default of the test framework and costs more
# than these tests themselves.
sub init_node
{
	my ($node, %opt) = @_;

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ], %{ $opt{init} || {} });
	$node->append_conf('postgresql.conf', "log_statement = none");
	$node->append_conf('postgresql.conf', $ENV{EVENTSTORE_TEST_CONF})
	  if defined $ENV{EVENTSTORE_TEST_CONF};
	$node->append_conf('postgresql.conf', $opt{conf}) if defined $opt{conf};
	return;
}

# Make a database with the extension, and a store in each of the schemas.  The
# first one becomes the database's default store.
sub make_database
{
	my ($node, $db, @schemas) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION eventstore");
	$node->safe_psql($db, "SELECT es_create_store('$_')") foreach @schemas;
	$node->safe_psql($db,
		"ALTER DATABASE $db SET eventstore.store = '$schemas[0]'")
	  if @schemas;
	return;
}

# Run SQL in a session of its own.  Returns (sqlstate, output, messages); the
# state is 00000, or that of the error at which psql stopped.
sub run_sql
{
	my ($node, $db, $sql, %opt) = @_;
	my ($ret, $out, $err) = $node->psql(
		$db, $sql,
		on_error_die => 0,
		extra_params => [ '-v', 'VERBOSITY=verbose' ],
		%opt);
	my $state = '00000';

	$state = $1 if $err =~ /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5}):/;
	$state = 'unknown' if $ret != 0 && $state eq '00000';
	return ($state, $out, $err);
}

# An SQL expression: n events, numbered in their data, which also holds what is
# given as the name/value pairs.
sub events_of
{
	my ($n, %data) = @_;
	my $pairs = join '', map { ", '$_', '$data{$_}'" } sort keys %data;

	return "(SELECT jsonb_agg(jsonb_build_object('type', 'tested', 'data', "
	  . "jsonb_build_object('n', n$pairs)) ORDER BY n) "
	  . "FROM generate_series(1, $n) n)";
}

# Everything a store holds, in a form that can be compared between databases.
sub store_contents
{
	my ($node, $db, $schema) = @_;

	return $node->safe_psql(
		$db, qq(
		SET TIME ZONE 'UTC';
		SELECT 'events', count(*), md5(string_agg(e::text, E'\\n' ORDER BY position))
		FROM "$schema".es_events e;
		SELECT 'aggregates', count(*), md5(string_agg(a::text, E'\\n' ORDER BY key))
		FROM "$schema".es_aggregates a;
		SELECT 'tags', count(*), md5(string_agg(t::text, E'\\n' ORDER BY tag, position, key))
		FROM "$schema".es_tags t;
		SELECT 'subscriptions', count(*), md5(string_agg(s::text, E'\\n' ORDER BY subscription, partition))
		FROM "$schema".es_subscriptions s;
		SELECT 'parked', count(*), md5(string_agg(p::text, E'\\n' ORDER BY subscription, position))
		FROM "$schema".es_parked_events p;
		SELECT 'snapshots', count(*), md5(string_agg(s::text, E'\\n' ORDER BY key))
		FROM "$schema".es_snapshots s;
		SELECT 'watermark', position FROM "$schema".es_watermark;
		SELECT 'store', count(*), md5(string_agg(s::text, E'\\n'))
		FROM "$schema".es_store s;
		SELECT 'sequence', last_value, is_called FROM "$schema".es_position_seq;
		SELECT 'relation', relname, relkind, relowner::regrole, reloptions,
			   nullif(relacl, acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner))
		FROM pg_class
		WHERE relnamespace = '"$schema"'::regnamespace AND relname ~ '^es_' ORDER BY 2;
		SELECT 'index', indexrelid::regclass, pg_get_indexdef(indexrelid)
		FROM pg_index i JOIN pg_class c ON c.oid = indrelid
		WHERE relnamespace = '"$schema"'::regnamespace ORDER BY 2::text, 3;
		SELECT 'trigger', pg_get_triggerdef(t.oid), tgenabled
		FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
		WHERE relnamespace = '"$schema"'::regnamespace ORDER BY 2;
		SELECT 'comment', relname, objsubid, description
		FROM pg_description d JOIN pg_class c ON c.oid = objoid
		WHERE classoid = 'pg_class'::regclass
		  AND relnamespace = '"$schema"'::regnamespace ORDER BY 2, 3;
	));
}

# Compare two such contents, leaving out the kinds of lines that match a pattern;
# a failure shows the differing lines only.
sub same_contents
{
	my ($got, $expected, $name, $except) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (%count, @different);

	$except = qr/^$/ if !defined $except;
	$count{$_}++ foreach grep { !/$except/ } split /\n/, $got;
	$count{$_}-- foreach grep { !/$except/ } split /\n/, $expected;
	@different = map { ($count{$_} > 0 ? 'got ' : 'expected ') . $_ }
	  grep { $count{$_} } sort keys %count;
	return is(join("\n", @different), '', $name);
}

# What is wrong with a store: nothing, or one line for each finding.  Beside
# es_check_store this counts for itself, so that neither has to be believed.
sub store_findings
{
	my ($node, $db, $schema) = @_;

	return $node->safe_psql(
		$db, qq(
		SELECT 'es_check_store: ' || finding FROM es_check_store('$schema');

		SELECT format('aggregate %s: version %s, but %s events from %s to %s',
					  key, a.version, n, lo, hi)
		FROM "$schema".es_aggregates a
			FULL JOIN (SELECT key, count(*) AS n, min(version) AS lo, max(version) AS hi
					   FROM "$schema".es_events GROUP BY key) e USING (key)
		WHERE (a.version = n AND lo = 1 AND hi = n AND a.first_version = 1) IS NOT TRUE
		ORDER BY key LIMIT 10;

		SELECT format('aggregate %s: version %s has position %s after %s',
					  key, version, position, before)
		FROM (SELECT key, version, position,
					 lag(position) OVER (PARTITION BY key ORDER BY version) AS before
			  FROM "$schema".es_events) e
		WHERE position <= before
		ORDER BY key, version LIMIT 10;

		SELECT format('position %s is used %s times', position, count(*))
		FROM "$schema".es_events GROUP BY position HAVING count(*) > 1
		ORDER BY position LIMIT 10;

		SELECT format('id %s is used %s times', id, count(*))
		FROM "$schema".es_events GROUP BY id HAVING count(*) > 1 OR id IS NULL
		ORDER BY id LIMIT 10;

		SELECT format('sequence at %s, last position %s', last_value, last)
		FROM "$schema".es_position_seq,
			 (SELECT max(position) AS last FROM "$schema".es_events) e
		WHERE last_value < last OR NOT is_called;

		(SELECT 'tag row missing: ' || t::text
		 FROM (SELECT unnest(tags) AS tag, position, key, version FROM "$schema".es_events
			   EXCEPT SELECT tag, position, key, version FROM "$schema".es_tags) t
		 ORDER BY 1 LIMIT 10)
		UNION ALL
		(SELECT 'tag row without event: ' || t::text
		 FROM (SELECT tag, position, key, version FROM "$schema".es_tags
			   EXCEPT SELECT unnest(tags), position, key, version FROM "$schema".es_events) t
		 ORDER BY 1 LIMIT 10);
	));
}

sub store_is_sound
{
	my ($node, $db, $schema, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(store_findings($node, $db, $schema), '', "$name: store is sound");
}

# Compare every index of a store with its table, where contrib/amcheck is there.
sub indexes_are_sound
{
	my ($node, $db, $schema, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

  SKIP:
	{
		my ($state) =
		  run_sql($node, $db, "CREATE EXTENSION IF NOT EXISTS amcheck");
		skip "amcheck is not installed", 1 if $state ne '00000';

		my ($result, undef, $err) = run_sql(
			$node, $db, qq(
			SELECT bt_index_check(i.indexrelid, true)
			FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
			WHERE c.relnamespace = '"$schema"'::regnamespace AND amname = 'btree'));
		is("$result$err", '00000', "$name: indexes agree with their tables");
	}
	return;
}

# The guards refuse every kind of direct write, and nothing is changed by trying.
sub guards_hold
{
	my ($node, $db, $schema, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = store_contents($node, $db, $schema);
	my @open;

	foreach my $table (qw(es_events es_aggregates es_tags))
	{
		foreach my $command (
			qq(INSERT INTO "$schema".$table SELECT * FROM "$schema".$table LIMIT 1),
			qq(UPDATE "$schema".$table SET version = version + 1),
			qq(DELETE FROM "$schema".$table),
			qq(TRUNCATE "$schema".$table))
		{
			my ($state) = run_sql($node, $db, $command);
			push @open, "$state: $command" if $state ne '42501';
		}
	}
	is(join("\n", @open), '', "$name: direct writes are refused");
	same_contents(store_contents($node, $db, $schema),
		$before, "$name: refused writes changed nothing");
	return;
}

# The next append to an aggregate takes the next version and a new position.
# Leaves one more event behind.
sub append_continues
{
	my ($node, $db, $schema, $key, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($state, $out, $err) = run_sql(
		$node, $db, qq(
		SET eventstore.store = '$schema';
		SELECT es_version('$key') AS v,
			   (SELECT coalesce(max(position), 0) FROM "$schema".es_events) AS p \\gset
		SELECT es_append('$key', '[{"type": "continued"}]', :v, request_id => NULL) - :v;
		SELECT bool_and(position > :p), count(*) FROM es_read('$key', :v + 1);
	));

	is("$state $out $err", "00000 1\nt|1 ", "$name: append continues");
	return;
}

# No deadlock was reported by any session of the node.
sub no_deadlocks
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return unlike(slurp_file($node->logfile),
		qr/deadlock detected/, "$name: no deadlock");
}

# The command of a client program of the node's installation.
sub program
{
	my ($node, $name) = @_;

	# Servers before 14 cannot be of another installation.
	return $node->can('installed_command') ? $node->installed_command($name) : $name;
}

# Run scripts (name => text; a name may end in @weight) with pgbench.  Every
# transaction of every client must succeed.  Options: clients, transactions (of
# each client), protocol.
sub pgbench_ok
{
	my ($node, $db, $name, $scripts, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $clients = $opt{clients} || 8;
	my $transactions = $opt{transactions} || 100;
	my $total = $clients * $transactions;
	my $directory = PostgreSQL::Test::Utils::tempdir('pgbench');
	my @files;
	my ($out, $err) = ('', '');

	foreach my $script (sort keys %$scripts)
	{
		my ($file, $weight) = split /@/, $script;

		append_to_file("$directory/$file", $scripts->{$script});
		push @files, '-f', "$directory/$file" . (defined $weight ? "\@$weight" : '');
	}
	IPC::Run::run(
		[
			program($node, 'pgbench'), '--no-vacuum', '-c', $clients, '-j', 2,
			'-t', $transactions, '-M', $opt{protocol} || 'simple',
			@files, '-h', $node->host, '-p', $node->port, $db
		],
		'>', \$out,
		'2>', \$err);
	ok($out =~ m{actually processed: $total/$total\b} && $err !~ /error|aborted/i,
		"$name: no client failed")
	  or diag("$out$err");
	return;
}

sub new_session
{
	return EventstoreTest::Session->new(@_);
}

# Wait until the session is blocked by a lock.
sub wait_until_blocked
{
	my ($node, $session) = @_;

	$node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = "
		  . $session->pid)
	  or die "session " . $session->pid . " is not blocked";
	return;
}

# Wait until the server takes connections again.  Not by poll_query_until: its psql may
# be gone before it was given the query, which kills the test.
sub wait_until_up
{
	my ($node) = @_;
	my @command = (program($node, 'psql'), '-XAt', '-d', $node->connstr('postgres'), '-c', 'SELECT true');
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	until (IPC::Run::run(\@command, '<', \undef, '>', \my $out, '2>', \my $err))
	{
		die "server is not back: $err" if time() > $end;
		usleep(20_000);
	}
	return;
}

# A psql that stays connected.  Unlike BackgroundPsql it can be left waiting for
# its answer, reports SQLSTATEs, survives the loss of its server, and is the
# same under all server versions.
package EventstoreTest::Session;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

# Connect.  Options: user; settings, a hash of what to pass at connection time.
sub new
{
	my ($class, $node, $db, %opt) = @_;
	my $connstr = $node->connstr($db);
	my $self = { node => $node, count => 0, in => '', out => '', err => '' };

	$connstr .= " user=$opt{user}" if $opt{user};
	if (my $settings = $opt{settings})
	{
		# A backslash protects a space, once for the option and once for libpq.
		my @options = map {
			(my $v = $settings->{$_}) =~ s/ /\\\\ /g;
			"-c $_=$v"
		} sort keys %$settings;
		$connstr .= " options='@options'";
	}

	$self->{timer} = IPC::Run::timer($PostgreSQL::Test::Utils::timeout_default);
	$self->{run} = IPC::Run::start(
		[
			EventstoreTest::program($node, 'psql'), '-XAtq', '-v',
			'VERBOSITY=verbose', '-d', $connstr, '-f', '-'
		],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		$self->{timer});
	bless $self, $class;

	my $answer = $self->run('SELECT pg_backend_pid()');
	die "could not connect: $answer->{err}" if $answer->{state} ne '00000';
	$self->{pid} = $answer->{out};
	return $self;
}

sub pid
{
	my ($self) = @_;
	return $self->{pid};
}

# Send SQL and do not wait for the answer.
sub send
{
	my ($self, $sql) = @_;
	my $n = ++$self->{count};

	$sql .= ';' unless $sql =~ /(?:;|\\\w+)\s*$/;
	$self->{in} .= "$sql\n\\echo answered $n :SQLSTATE\n\\warn answered $n\n";
	$self->{run}->pump_nb while $self->{in} ne '' && $self->{run}->pumpable;
	return;
}

# Wait for the answer: state (of the last statement; "lost" if the connection
# was), out and err.
sub answer
{
	my ($self) = @_;
	my $n = $self->{count};
	my %answer = (state => 'lost');

	$self->{timer}->start($PostgreSQL::Test::Utils::timeout_default);
	until ($self->{out} =~ /^answered $n \w*\n/m
		&& $self->{err} =~ /^.*answered $n\n/m)
	{
		die "timed out waiting for psql: $self->{out} $self->{err}"
		  if $self->{timer}->is_expired;
		last unless $self->{run}->pumpable;
		eval { $self->{run}->pump; 1 } or last;
	}
	$self->{timer}->reset;

	# An empty SQLSTATE: psql lost the connection while it waited, and goes on
	# until it notices.
	$answer{state} = $1 || 'lost' if $self->{out} =~ s/^answered $n (\w*)\n//m;
	$self->{err} =~ s/^.*answered $n\n//m;
	chomp($self->{out}, $self->{err});
	@answer{ 'out', 'err' } = @$self{ 'out', 'err' };
	@$self{ 'out', 'err' } = ('', '');
	return \%answer;
}

sub run
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->answer;
}

# The output of SQL that must succeed.
sub get
{
	my ($self, $sql) = @_;
	my $answer = $self->run($sql);

	die "failed: $sql: $answer->{err}" if $answer->{state} ne '00000';
	return $answer->{out};
}

# The SQLSTATE of SQL.
sub state
{
	my ($self, $sql) = @_;
	return $self->run($sql)->{state};
}

sub quit
{
	my ($self) = @_;

	$self->{in} .= "\\q\n" if $self->{run}->pumpable;
	eval { $self->{run}->finish; };
	return;
}

1;
