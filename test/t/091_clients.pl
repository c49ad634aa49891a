# The example programs in other languages: workers that increment one counter lose
# nothing and decide nothing on old facts, at every isolation level; conflicts are
# met, told with their facts, and handled or given up.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = "$FindBin::RealBin/../../examples/clients";
my $built = PostgreSQL::Test::Utils::tempdir('clients');
my $jars = '/usr/share/java/postgresql.jar:/usr/share/java/gson.jar';
my ($include, $lib) = map { chomp(my $path = qx(pg_config $_)); $path } '--includedir', '--libdir';
my @levels = ('read committed', 'repeatable read', 'serializable');
my $workers = 4;
my $increments = 10;

# How to run each program, and to find out whether it can be run here.  A python3
# first on the path need not be the one with the distribution's modules.
my ($python) = grep { quiet($_, '-c', 'import psycopg') } 'python3', '/usr/bin/python3';
my @go = ('env', 'GO111MODULE=off', 'GOPATH=/usr/share/gocode', "GOCACHE=$built/cache", 'go');
my %client = (
	'C' => {
		build => [
			'cc', '-std=gnu11', '-Wall', '-Wextra', '-Werror', "-I$include", '-o', "$built/counter-c",
			"$folder/counter.c", "-L$lib", "-Wl,-rpath,$lib", '-lpq'
		],
		run => ["$built/counter-c"],
		usable => quiet('cc', '--version') && -e "$include/libpq-fe.h",
		needs => 'gcc, libc6-dev and libpq-dev'
	},
	'Go' => {
		build => [ @go, 'build', '-o', "$built/counter-go", "$folder/counter.go" ],
		run => ["$built/counter-go"],
		usable => quiet(@go, 'list', 'github.com/lib/pq'),
		needs => 'golang-go and golang-github-lib-pq-dev'
	},
	'Java' => {
		build => [ 'javac', '-Xlint:all', '-Werror', '-cp', $jars, '-d', $built, "$folder/Counter.java" ],
		run => [ 'java', '-cp', "$jars:$built", 'Counter' ],
		usable => quiet('javac', '-version') && !grep({ !-e $_ } split /:/, $jars),
		needs => 'default-jdk-headless, libpostgresql-jdbc-java and libgoogle-gson-java'
	},
	'Node' => {
		run => [ 'node', "$folder/counter.js" ],
		usable => quiet('node', '-e', 'require("pg")'),
		needs => 'nodejs and node-pg, or pg from npm on NODE_PATH'
	},
	'Perl' => {
		run => [ 'perl', "$folder/counter.pl" ],
		usable => quiet('perl', '-MDBD::Pg', '-MJSON::PP', '-e', '1'),
		needs => 'libdbd-pg-perl'
	},
	'PHP' => {
		run => [ 'php', "$folder/counter.php" ],
		usable => quiet('php', '-r', 'exit(extension_loaded("pdo_pgsql") && extension_loaded("pcntl") ? 0 : 1);'),
		needs => 'php-cli and php-pgsql'
	},
	'PL/pgSQL' => {
		run => [ 'bash', "$folder/counter.sh" ],
		usable => quiet('bash', '--version') && quiet('psql', '--version'),
		needs => 'bash and postgresql-client'
	},
	'Python' => {
		run => [ $python // 'python3', "$folder/counter.py" ],
		usable => defined $python,
		needs => 'python3-psycopg'
	},
	'Ruby' => {
		run => [ 'ruby', "$folder/counter.rb" ],
		usable => quiet('ruby', '-rpg', '-rjson', '-e', '1'),
		needs => 'ruby and ruby-pg'
	});

sub quiet
{
	my (@command) = @_;
	my $ok = eval { IPC::Run::run(\@command, '<', \undef, '>', \my $out, '2>', \my $err) };

	return $ok;
}

# JDBC knows no sockets.
my $node = start_node('main', conf => "listen_addresses = '127.0.0.1'\nmax_connections = 50\n");
make_database($node, 'test', 'app');

# Conflicts at will, by the end of the key: "stuck" is never without one; COMMIT fails
# always with "busy", twice with "commit".  The sequence counts the attempts, whatever
# becomes of them.
$node->safe_psql('test', q(
	CREATE SEQUENCE attempts;
	CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		attempt bigint := nextval('attempts');
	BEGIN
		IF NEW.key LIKE '%-stuck' THEN
			RAISE EXCEPTION 'stuck' USING ERRCODE = 'VE001',
				DETAIL = '{"conflicts": [{"entry": 1, "key": "k", "status": "version_conflict", "expected": 7, "actual": 8}]}';
		ELSIF NEW.key LIKE '%-busy' OR attempt = 1 THEN
			RAISE EXCEPTION 'busy' USING ERRCODE = '40001';
		ELSIF attempt = 2 THEN
			RAISE EXCEPTION 'busy' USING ERRCODE = '40P01';
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER fail AFTER INSERT ON app.es_events FOR EACH ROW
		WHEN (NEW.key LIKE '%-stuck') EXECUTE FUNCTION fail();
	CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT ON app.es_events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
		WHEN (NEW.key LIKE '%-busy' OR NEW.key LIKE '%-commit') EXECUTE FUNCTION fail()));

delete local @ENV{ grep { /^PG/ } keys %ENV };
$ENV{PGHOST} = '127.0.0.1';
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
$ENV{PGDATABASE} = 'test';
# The default of some drivers is to insist on TLS.
$ENV{PGSSLMODE} = 'disable';

sub options
{
	my ($level) = @_;

	return '-c default_transaction_isolation=' . $level =~ s/ /\\ /r;
}

# Start a program; "finished" waits for it.
sub start_client
{
	my ($language, @arguments) = @_;
	my $run = { out => '' };

	$run->{harness} = IPC::Run::start([ @{ $client{$language}{run} }, @arguments ],
		'<', \undef, '>&', \$run->{out},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $run;
}

sub finished
{
	my ($run) = @_;

	if (!eval { $run->{harness}->finish; 1 })
	{
		my $error = $@;

		# One that hangs must not outlive the test.
		$run->{harness}->kill_kill;
		die $error;
	}
	return $run->{harness}->result(0);
}

# Start a program while somebody else's append to its counter is open, wait until
# all of its workers stand in the queue, and let the other one commit.
sub start_into_conflict
{
	my ($language, $key, @arguments) = @_;
	my $other = new_session($node, 'test');

	$other->get(qq(BEGIN; SELECT es_append('$key', '[{"type": "incremented", "data": {"value": 2}}]', 1)));
	my $run = start_client($language, $key, $workers, @arguments);
	$node->poll_query_until('test',
		"SELECT count(*) = $workers FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
	  or die "the workers do not wait";
	$other->get('COMMIT');
	$other->quit;
	return $run;
}

# The counter is at that value, and every increment was decided on the one before.
sub counter_is
{
	my ($key, $value, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is( $node->safe_psql(
			'test', "SELECT es_version('$key'), count(*) FILTER (WHERE (data->>'value')::bigint = version)
					 FROM es_read('$key')"),
		"$value|$value", $name);
	return;
}

sub works
{
	my ($language) = @_;
	my $total = $workers * $increments;
	my ($run, $status, @told);

	command_ok($client{$language}{build}, "$language: builds") if $client{$language}{build};

	# A race from nothing, with the isolation level that PostgreSQL has by default and
	# the others.  Then PostgreSQL's own errors are among the conflicts.
	foreach my $level (@levels)
	{
		my $key = "$language-$level";
		local $ENV{PGOPTIONS} = options($level);

		$run = start_client($language, $key, $workers, $increments, 100);
		$status = finished($run);
		is($status, 0, "$language, $level: succeeds") or diag($run->{out});
		is(scalar(() = $run->{out} =~ /^worker \d+: $increments increments/mg), $workers, 'all workers report');
		counter_is($key, $total, 'nothing is lost or decided on old facts');

		my $handled = 0;
		$handled += $_ foreach $run->{out} =~ /(\d+) conflicts/g;
		@told = $run->{out} =~ /^conflict: (?:expected version (?:\d+), actual (?:\d+)|SQLSTATE 40\w{3})$/mg;
		is(scalar(@told), $handled, "as many conflicts told as handled: $handled");
	}

	# All workers meet the same conflict, read again, and go on.  What looks like facts in
	# the key does not confuse them.
	foreach my $level (@levels)
	{
		my $key = qq($language-$level "expected": 7, "actual": 8);
		local $ENV{PGOPTIONS} = options($level);

		$node->safe_psql('test', qq(SELECT es_append('$key', '[{"type": "incremented", "data": {"value": 1}}]', 0)));
		$run = start_into_conflict($language, $key, $increments, 100);
		$status = finished($run);
		is($status, 0, "$language, a conflict, $level: is handled") or diag($run->{out});
		# Whoever wakes up late finds the others' increments as well.
		@told = $run->{out} =~ /^conflict: expected version 1, actual (\d+)$/mg;
		is(scalar(@told), $workers, 'each worker tells what it expected and found') or diag($run->{out});
		is(scalar(grep { $_ < 2 } @told), 0, 'and that was the version after the conflict, or a later one');
		counter_is($key, $total + 2, 'every increment is there in the end');
	}

	# With a single attempt they give up, and have written nothing.
	my $key = "$language-giveup";
	$node->safe_psql('test', qq(SELECT es_append('$key', '[{"type": "incremented", "data": {"value": 1}}]', 0)));
	$run = start_into_conflict($language, $key, $increments, 1);
	isnt(finished($run), 0, "$language, given up: fails");
	@told = $run->{out} =~ /^worker \d+ gives up: conflict: (expected version 1, actual 2)$/mg;
	is(scalar(@told), $workers, 'each worker says why');
	counter_is($key, 2, 'nothing is written');

	# With more, they make as many as they were told to, wherever the conflict comes from.
	my %never = (stuck => 'expected version 7, actual 8', busy => 'SQLSTATE 40001');
	foreach my $how (sort keys %never)
	{
		$node->safe_psql('test', 'ALTER SEQUENCE attempts RESTART');
		$run = start_client($language, "$language-$how", 1, 1, 3);
		isnt(finished($run), 0, "$language, $how: fails");
		is(scalar(() = $run->{out} =~ /^conflict: $never{$how}$/mg), 2, 'after trying twice more')
		  or diag($run->{out});
		is(scalar(() = $run->{out} =~ /^worker 1 gives up: conflict: $never{$how}$/mg), 1, 'and says why');
		is($node->safe_psql('test', 'SELECT last_value FROM attempts'), 3, 'there were three attempts');
		counter_is("$language-$how", 0, 'nothing is written');
	}

	# COMMIT is part of the attempt: SERIALIZABLE's errors may come from there.
	$node->safe_psql('test', 'ALTER SEQUENCE attempts RESTART');
	$run = start_client($language, "$language-commit", 1, 2, 100);
	is(finished($run), 0, "$language, COMMIT fails: succeeds in the end") or diag($run->{out});
	is(join(' ', $run->{out} =~ /^conflict: (.*)$/mg), 'SQLSTATE 40001 SQLSTATE 40P01', 'the conflicts are told');
	like($run->{out}, qr/^worker 1: 2 increments, 2 conflicts$/m, 'and counted');
	is($node->safe_psql('test', 'SELECT last_value FROM attempts'), 4, 'there were four attempts');
	counter_is("$language-commit", 2, 'nothing is lost or written twice');

	# An error of another kind is not tried again.
	$run = start_client($language, 'x' x 513, 1, 1, 5);
	isnt(finished($run), 0, "$language, a bad key: fails");
	like($run->{out}, qr/key is too long: 513 bytes/, 'with the error');
	unlike($run->{out}, qr/^conflict/m, 'at once');
	store_is_sound($node, 'test', 'app', $language);
	return;
}

foreach my $language (sort keys %client)
{
  SKIP:
	{
		skip "$language: needs the packages $client{$language}{needs}", 1
		  unless $client{$language}{usable};
		works($language);
	}
}

$node->stop;
done_testing();
