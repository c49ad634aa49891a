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
my $jars = '/usr/share/java/postgresql.jar:/usr/share/java/gson.jar';
my $classes = PostgreSQL::Test::Utils::tempdir('classes');
my $workers = 4;
my $increments = 10;

# How to run each program, and to find out whether it can be run here.  A python3
# first on the path need not be the one with the distribution's modules.
my ($python) = grep { quiet($_, '-c', 'import psycopg') } 'python3', '/usr/bin/python3';
my %client = (
	'Python' => {
		run => [ $python // 'python3', "$folder/counter.py" ],
		usable => defined $python,
		needs => 'python3-psycopg'
	},
	'Java' => {
		build => [ 'javac', '-Xlint:all', '-Werror', '-cp', $jars, '-d', $classes, "$folder/Counter.java" ],
		run => [ 'java', '-cp', "$jars:$classes", 'Counter' ],
		usable => quiet('javac', '-version') && !grep({ !-e $_ } split /:/, $jars),
		needs => 'default-jdk-headless, libpostgresql-jdbc-java and libgoogle-gson-java'
	},
	'PHP' => {
		run => [ 'php', "$folder/counter.php" ],
		usable => quiet('php', '-r', 'exit(extension_loaded("pdo_pgsql") && extension_loaded("pcntl") ? 0 : 1);'),
		needs => 'php-cli and php-pgsql'
	});

sub quiet
{
	my (@command) = @_;
	my $ok = eval { IPC::Run::run(\@command, '<', \undef, '>', \my $out, '2>', \my $err) };

	return $ok;
}

plan skip_all => join '; ', map { "$_: needs the packages $client{$_}{needs}" } sort keys %client
  unless grep { $_->{usable} } values %client;

# JDBC knows no sockets.
my $node = start_node('main', conf => "listen_addresses = '127.0.0.1'\nmax_connections = 50\n");
make_database($node, 'test', 'app');

delete local @ENV{ grep { /^PG/ } keys %ENV };
$ENV{PGHOST} = '127.0.0.1';
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
$ENV{PGDATABASE} = 'test';

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

	$run->{harness}->finish;
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
	foreach my $level ('read committed', 'repeatable read', 'serializable')
	{
		my $key = "$language-$level";
		local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . $level =~ s/ /\\ /r;

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

	# All workers meet the same conflict, read again, and go on.
	my $key = "$language-conflict";
	$node->safe_psql('test', qq(SELECT es_append('$key', '[{"type": "incremented", "data": {"value": 1}}]', 0)));
	$run = start_into_conflict($language, $key, $increments, 100);
	$status = finished($run);
	is($status, 0, "$language, a conflict: is handled") or diag($run->{out});
	# Whoever wakes up late finds the others' increments as well.
	@told = $run->{out} =~ /^conflict: expected version 1, actual (\d+)$/mg;
	is(scalar(@told), $workers, 'each worker tells what it expected and found');
	is(scalar(grep { $_ < 2 } @told), 0, 'and that was the version after the conflict, or a later one');
	counter_is($key, $total + 2, 'every increment is there in the end');

	# With a single attempt they give up, and have written nothing.
	$key = "$language-giveup";
	$node->safe_psql('test', qq(SELECT es_append('$key', '[{"type": "incremented", "data": {"value": 1}}]', 0)));
	$run = start_into_conflict($language, $key, $increments, 1);
	isnt(finished($run), 0, "$language, given up: fails");
	@told = $run->{out} =~ /^worker \d+ gives up: conflict: (expected version 1, actual 2)$/mg;
	is(scalar(@told), $workers, 'each worker says why');
	counter_is($key, 2, 'nothing is written');

	# An error of another kind is not tried again.
	$run = start_client($language, 'x' x 513, 1, 1, 100);
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
