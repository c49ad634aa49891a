# Appenders and readers of the global log, at random and all at once.
#
# Appenders are psqls with scripts of their own, made here: transactions that
# sleep, roll back, use savepoints and exception blocks, append several times or to
# several aggregates, and are prepared and ended by themselves or by somebody else.
#
# Readers are procedures in the server, in sessions of their own (EventstoreReaders).
#
# Afterwards, or at any time, findings() compares all that with the log.

package EventstoreFeed;

use strict;
use warnings;

use EventstoreReaders;
use EventstoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# Settings of a server that takes all of them.
our $CONF = q(
max_connections = 60
max_prepared_transactions = 40
deadlock_timeout = 100ms
autovacuum_naptime = 1s
jit = off
);

# Arguments: node, db, store; settings, a hash for all sessions.
sub new
{
	my ($class, %arg) = @_;
	my $self = {
		seed => $ENV{EVENTSTORE_TEST_SEED} // int(rand(1_000_000_000)),
		directory => PostgreSQL::Test::Utils::tempdir('feed'),
		settings => {},
		round => 0,
		appenders => [],
		readers => [],
		%arg
	};

	note "random seed $self->{seed} (set EVENTSTORE_TEST_SEED to use it again)";
	srand($self->{seed});
	$self->{node}->safe_psql($self->{db}, "SET search_path = $self->{store}, public;\n$EventstoreReaders::SETUP");
	return bless $self, $class;
}

sub _connstr
{
	my ($self, $name, %settings) = @_;
	my %all = (search_path => "$self->{store},public", %{ $self->{settings} }, %settings);
	my @options = map { (my $v = $all{$_}) =~ s/ /\\\\ /g; "-c $_=$v" } sort keys %all;

	return $self->{node}->connstr($self->{db}) . " application_name=$name options='@options'";
}

# A psql of its own, whose messages go to a file.
sub _start_psql
{
	my ($self, $name, $connstr, @arguments) = @_;
	my $log = "$self->{directory}/$name.log";

	return {
		name => $name,
		log => $log,
		run => IPC::Run::start(
			[
				program($self->{node}, 'psql'), '-XAtq', '-v', 'VERBOSITY=verbose',
				'-d', $connstr, @arguments
			],
			'>', '/dev/null', '2>', $log,
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	};
}

# ---------------------------------------------------------------------------
# Appenders
# ---------------------------------------------------------------------------

sub _one_of
{
	return $_[ rand @_ ];
}

sub _events
{
	return "'[" . join(
		', ',
		map { '{"type": "t' . int(rand(4)) . '"' . (rand() < 0.1 ? ', "tags": ["x"]' : '') . '}' }
		  1 .. 1 + int(rand(3))) . "]'";
}

sub _sleep
{
	my ($most) = @_;
	return sprintf "SELECT pg_sleep(%.4f);\n", rand($most);
}

sub _append
{
	my ($key) = @_;
	return "SELECT es_append('$key', " . _events() . ", allow_create => true);\n";
}

# Keys that everybody appends to, in an order that makes no deadlocks.
sub _hot_keys
{
	my ($n) = @_;
	my %chosen = map { ('hot-' . int(rand(8)) => 1) } 1 .. $n;
	return sort keys %chosen;
}

# One transaction of a client.
sub _transaction
{
	my ($name, $n) = @_;
	my $mine = "mine-$name-" . int(rand(3));
	my $kind = rand();
	my ($hot) = _hot_keys(1);

	return _append($hot) if $kind < 0.25;
	if ($kind < 0.35)
	{
		my @writes = map {
			(my $events = _events()) =~ s/'//g;
			qq({"key": "$_", "events": $events, "allow_create": true})
		} _hot_keys(3);
		return "SELECT * FROM es_append_many('[" . join(', ', @writes) . "]');\n";
	}
	if ($kind < 0.50)
	{
		# One hot key at most: two of them, call by call, could deadlock with a call that
		# locks the second, which does not exist yet, before the first, which does.
		return
			"BEGIN;\n"
		  . (rand() < 0.5 ? "INSERT INTO feed.other VALUES (1);\n" : '')
		  . _append($mine)
		  . _sleep(0.02)
		  . join('', map { _append($_) } _hot_keys(int(rand(2))))
		  . (rand() < 0.25 ? "ROLLBACK;\n" : "COMMIT;\n");
	}
	if ($kind < 0.75)
	{
		return
			"BEGIN;\n"
		  . (rand() < 0.3 ? _append($mine) : '')
		  . "SAVEPOINT s;\n"
		  . _append($mine)
		  . (rand() < 0.7 ? "ROLLBACK TO s;\n" : "RELEASE s;\n")
		  . (rand() < 0.5 ? _sleep(0.005) : '')
		  . _append($mine)
		  . _sleep(0.02)
		  . (rand() < 0.2 ? "ROLLBACK;\n" : "COMMIT;\n");
	}
	if ($kind < 0.80)
	{
		return
			"BEGIN;\nSELECT feed.give_up('$hot', "
		  . _events() . ");\n"
		  . _append($mine)
		  . _sleep(0.01)
		  . "COMMIT;\n";
	}

	# Prepared, and ended by this session or left to another.
	my $gid = "$name.$n";
	my $end = rand() < 0.3 ? 'ROLLBACK' : 'COMMIT';
	return
		"BEGIN;\n"
	  . _append($mine)
	  . _sleep(0.005)
	  . "PREPARE TRANSACTION '" . ($kind < 0.92 ? '' : 'left.') . "$gid';\n"
	  . ($kind < 0.92 ? _sleep(0.01) . "$end PREPARED '$gid';\n" : '');
}

sub _script
{
	my ($self, $name, @parts) = @_;
	my $file = "$self->{directory}/$name.sql";

	append_to_file($file,
		join '', map { "$_\nSELECT phase > 0 AS enough FROM feed.control \\gset\n\\if :enough\n\\q\n\\endif\n" } @parts);
	return $file;
}

# Start so many appenders, and one who ends what is left prepared, with so many turns each.
sub start_appenders
{
	my ($self, $count, $turns) = @_;
	my $round = 'r' . ++$self->{round};

	$turns //= 1500;
	foreach my $name (map { "${round}a$_" } 1 .. $count)
	{
		my $file = $self->_script($name, map { _transaction($name, $_) } 1 .. $turns);

		push @{ $self->{appenders} }, $self->_start_psql($name, $self->_connstr($name), '-f', $file);
	}
	my $file = $self->_script("${round}resolver",
		(qq(SELECT format('%s PREPARED %L', CASE WHEN random() < 0.3 THEN 'ROLLBACK' ELSE 'COMMIT' END, gid)
			FROM pg_prepared_xacts WHERE gid LIKE 'left.%' AND prepared < clock_timestamp() - random() * interval '200 ms' \\gexec
			SELECT pg_sleep(0.01);)) x $turns);
	push @{ $self->{appenders} }, $self->_start_psql("${round}resolver", $self->_connstr("${round}resolver"), '-f', $file);
	return;
}

# ---------------------------------------------------------------------------
# Readers
# ---------------------------------------------------------------------------

# kind: poll, filter, wait.  The setting feed.dawdle, in seconds, makes it slow.
sub start_reader
{
	my ($self, $name, $kind, $page, %settings) = @_;

	push @{ $self->{readers} },
	  $self->_start_psql($name, $self->_connstr($name, %settings), '-c', "CALL feed.read_log('$name', '$kind', $page)");
	return;
}

# A session that calls a procedure, and begins anew when it is terminated, as long
# as there is a server.
sub start_consumer
{
	my ($self, $name, $call) = @_;
	my $log = "$self->{directory}/$name.log";

	push @{ $self->{readers} },
	  {
		name => $name,
		log => $log,
		run => IPC::Run::start(
			[
				'sh', '-c', 'f=$1; shift; until "$@"; do [ -e "$f" ] || exit; done',
				'sh', $self->{node}->data_dir . '/postmaster.pid',
				program($self->{node}, 'psql'), '-XAtq', '-v', 'VERBOSITY=verbose',
				'-d', $self->_connstr($name), '-c', $call
			],
			'>', '/dev/null', '2>', $log,
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  };
	return;
}

# Call a procedure that comes to an end when the appenders do.
sub start_helper
{
	my ($self, $name, $call) = @_;

	push @{ $self->{appenders} }, $self->_start_psql($name, $self->_connstr($name), '-c', $call);
	return;
}

# ---------------------------------------------------------------------------
# The end
# ---------------------------------------------------------------------------

sub _finish
{
	my ($self, $sessions) = @_;

	foreach my $session (@$sessions)
	{
		eval { $session->{run}->finish; 1 } or die "$session->{name} did not come to an end: $@";
	}
	return;
}

sub _end_prepared
{
	my ($self, $condition) = @_;

	$self->{node}->psql(
		$self->{db},
		qq(SELECT format('%s PREPARED %L', CASE WHEN random() < 0.3 THEN 'ROLLBACK' ELSE 'COMMIT' END, gid)
			FROM pg_prepared_xacts WHERE database = current_database() AND $condition \\gexec),
		on_error_stop => 0);
	return;
}

# No more appends; what is left prepared is ended.
sub stop_appenders
{
	my ($self) = @_;
	my ($node, $db) = @$self{qw(node db)};

	$node->safe_psql($db, 'UPDATE feed.control SET phase = 1');

	# An appender may wait for an aggregate of a transaction that is left prepared.
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $running;
	do
	{
		usleep(50_000);
		$running = grep { $_->{run}->pumpable && eval { $_->{run}->pump_nb; 1 } } @{ $self->{appenders} };
		$self->_end_prepared("gid LIKE 'left.%'");
	} while ($running > 0 && time() < $end);
	$self->_finish($self->{appenders});
	return;
}

# The server was gone, and they with it.  What they had prepared, to end it
# themselves, is ended; what they left to others still is.
sub appenders_are_gone
{
	my ($self) = @_;

	$self->_finish($self->{appenders});
	$self->{appenders} = [];
	$self->_end_prepared("gid NOT LIKE 'left.%'");
	return;
}

# Let the readers come to the end of the log.
sub drain
{
	my ($self) = @_;

	$self->{node}->safe_psql($self->{db}, 'UPDATE feed.control SET phase = 2');
	$self->_finish($self->{readers});
	return;
}

# Let them go.
sub stop_readers
{
	my ($self) = @_;

	$self->{node}->safe_psql($self->{db},
		'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()');
	$self->_finish($self->{readers});
	$self->{readers} = [];
	return;
}

# How many events have been passed by readers that were not given them.
sub missed
{
	my ($self) = @_;

	return $self->{node}->safe_psql($self->{db}, "SET search_path = $self->{store}, public; SELECT feed.missed()");
}

# Errors that sessions report, but for those that match a pattern.
sub errors
{
	my ($self, $except) = @_;
	my @found;

	foreach my $session (@{ $self->{appenders} }, @{ $self->{readers} })
	{
		push @found, map { "$session->{name}: $_" }
		  grep { /ERROR|FATAL|PANIC/ && !/$except/ } split /\n/, slurp_file($session->{log});
	}
	return join "\n", @found[ 0 .. ($#found < 9 ? $#found : 9) ];
}

# What is wrong, one line for each finding; everybody has come to the end.
sub findings
{
	my ($self) = @_;

	return $self->{node}->safe_psql(
		$self->{db}, qq(
		SET search_path = $self->{store}, public;
		ANALYZE es_events, feed.seen, feed.outside, feed.projection;
		SET enable_nestloop = off;

		SELECT format('readers missed %s events', m) FROM feed.missed() m WHERE m > 0;
		SELECT format('%s is at %s, before the end', reader, position) FROM feed.cursors c
		WHERE position < (SELECT max(position) FROM es_events e WHERE NOT c.filtered OR feed.wanted(e.type, e.key, e.tags));

		SELECT format('%s was given %s events that it did not ask for or that are not there, the first at %s', s.reader, count(*), min(s.position))
		FROM feed.seen s JOIN feed.cursors c USING (reader)
			LEFT JOIN es_events e ON (e.position, e.key, e.version) = (s.position, s.key, s.version)
		WHERE e.position IS NULL OR (c.filtered AND NOT feed.wanted(e.type, e.key, e.tags))
		GROUP BY s.reader;

		SELECT format('%s was given %s after %s', reader, position, before)
		FROM (SELECT reader, position, lag(position) OVER (PARTITION BY reader ORDER BY n) AS before FROM feed.seen) s
		WHERE position <= before ORDER BY 1 LIMIT 10;

		SELECT format('%s was given version %s of %s after %s', reader, version, key, before)
		FROM (SELECT s.reader, key, version, lag(version, 1, 0::bigint) OVER (PARTITION BY s.reader, key ORDER BY n) AS before
			  FROM feed.seen s JOIN feed.cursors c USING (reader) WHERE NOT c.filtered) s
		WHERE version <> before + 1 ORDER BY 1 LIMIT 10;

		SELECT who || ': ' || what FROM feed.complaints ORDER BY 1 LIMIT 10;

		SELECT format('projection of %s has %s events of %s, the last at version %s and position %s', s.subscription, p.events, key, p.version, p.position)
		FROM (SELECT DISTINCT subscription FROM es_subscriptions WHERE subscription ~ '^inside') s
			CROSS JOIN (SELECT key, count(*) AS events, max(version) AS version, max(position) AS position FROM es_events GROUP BY key) e
			LEFT JOIN feed.projection p USING (subscription, key)
		WHERE (p.events, p.version, p.position) IS DISTINCT FROM (e.events, e.version, e.position)
		ORDER BY 1 LIMIT 10;

		SELECT format('%s has not handled %s version %s at position %s', s.subscription, e.key, e.version, e.position)
		FROM (SELECT DISTINCT subscription FROM es_subscriptions WHERE subscription ~ '^outside') s CROSS JOIN es_events e
			LEFT JOIN feed.outside o ON o.subscription = s.subscription AND (o.position, o.key, o.version) = (e.position, e.key, e.version)
		WHERE o.position IS NULL ORDER BY e.position LIMIT 10;

		SELECT format('%s handled version %s of %s after version %s', subscription, version, key, before)
		FROM (SELECT subscription, key, version, lag(version) OVER (PARTITION BY subscription, key ORDER BY n) AS before
			  FROM feed.outside) o
		WHERE version < before ORDER BY 1 LIMIT 10;

		SELECT format('horizon is %s, not %s', es_horizon(), last_value) FROM es_position_seq WHERE last_value <> es_horizon();
		SELECT format('still in flight: %s', to_json(f)) FROM es_in_flight f;
	));
}

# Figures for the log of the test.
sub describe
{
	my ($self) = @_;

	note $self->{node}->safe_psql(
		$self->{db}, qq(
		SELECT 'events ' || count(*) FROM $self->{store}.es_events;
		SELECT 'last position ' || last_value FROM $self->{store}.es_position_seq;
		SELECT reader || ' was given ' || count(*) FROM feed.seen GROUP BY reader ORDER BY 1;
		SELECT subscription || ' projected ' || sum(events) FROM feed.projection GROUP BY subscription ORDER BY 1;
		SELECT subscription || ' handled ' || count(*) || ', again ' || sum(times - 1) FROM feed.outside GROUP BY subscription ORDER BY 1;
		SELECT 'terminated ' || count(*) FROM feed.terminated;
		SELECT 'fenced ' || count(*) FROM feed.fenced));
	return;
}

1;
