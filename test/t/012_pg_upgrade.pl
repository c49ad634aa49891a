# pg_upgrade keeps every event and the sequence.
#
# From the server under test to itself, unless EVENTSTORE_OLD_INSTALL names the
# installation of an older one (the folder above its bin), which needs the
# extension as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFilled;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @old = defined $ENV{EVENTSTORE_OLD_INSTALL} ? (install_path => $ENV{EVENTSTORE_OLD_INSTALL}) : ();
my $old = PostgreSQL::Test::Cluster->new('old', @old);
my $new = PostgreSQL::Test::Cluster->new('new');

init_node($_) foreach ($old, $new);

# Server 18 makes data checksums by default, and both must agree.
foreach my $node ($old, $new)
{
	my ($out, $err) = run_command([ program($node, 'pg_controldata'), $node->data_dir ]);
	run_log([ program($node, 'pg_checksums'), '--disable', '-N', '-D', $node->data_dir ])
	  if $out =~ /checksum version: +[1-9]/;
}

$old->start;
make_database($old, 'test', 'app');
$old->safe_psql(
	'test', q(
	SELECT es_append('order-' || n % 20, jsonb_build_array(jsonb_build_object(
		'type', 't', 'data', jsonb_build_object('n', n), 'tags', jsonb_build_array('n' || n % 7))),
		allow_create => true, request_id => 'r' || n)
	FROM generate_series(1, 500) n;
	CREATE INDEX by_category ON app.es_events (es_category(key), position)));
fill_feed($old, 'test', 'app', 'order-1');
my $expected = store_contents($old, 'test', 'app');
my $last = $old->safe_psql('test', 'SELECT last_value FROM app.es_position_seq');
$old->stop;

my ($bindir) = run_command([ 'pg_config', '--bindir' ]);
my $old_bindir = @old ? "$old[1]/bin" : $bindir;
my @command = (
	program($new, 'pg_upgrade'), '--no-sync',
	'-d', $old->data_dir, '-D', $new->data_dir,
	'-b', $old_bindir, '-B', $bindir,
	'-s', $new->host, '-p', $old->port, '-P', $new->port);

# pg_upgrade leaves its scripts in the current directory.
chdir PostgreSQL::Test::Utils::tempdir('upgrade') or die $!;
my ($out, $err) = ('', '');
my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
ok($ok, 'pg_upgrade') or diag("$out$err");
if (!$ok)
{
	done_testing();
	exit;
}

$new->start;
same_contents(store_contents($new, 'test', 'app'), $expected, 'nothing is missing or different');
store_is_sound($new, 'test', 'app', 'upgraded');
guards_hold($new, 'test', 'app', 'upgraded');
is( $new->safe_psql(
		'test', q(SELECT es_append('order-1', '[{"type": "t", "data": {"n": 1}}]', request_id => 'r1'))),
	'1', 'a repeat is known');
append_continues($new, 'test', 'app', 'order-1', 'upgraded');
feed_continues($new, 'test', 'app', 'order-1', 'upgraded');
is($new->safe_psql('test', "SELECT position > $last FROM es_read('order-1', 26)"), 't', 'positions go on');
indexes_are_sound($new, 'test', 'app', 'upgraded');

$new->stop;
done_testing();
