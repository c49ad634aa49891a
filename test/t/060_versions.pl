# The SQL and the library of different versions meet, as after a package was upgraded or
# another session has run ALTER EXTENSION: a clear error that says what to do, nothing is
# lost, and all goes on once they fit.  And an update gives the same as a new install.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreInstall;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_worker_processes = 4\n");
my ($scripts) = private_install($node);

if (!defined $scripts)
{
	$node->stop;
	plan skip_all => 'this server cannot look for extensions elsewhere';
}

my $current = slurp_file("$scripts/eventstore.control") =~ /^default_version\s*=\s*'([^']+)'/m ? $1 : die;
my $script = slurp_file("$scripts/eventstore--$current.sql");

# Add a script to the installation.
sub add_script
{
	my ($versions, $text) = @_;

	append_to_file("$scripts/eventstore--$versions.sql", $text);
	return;
}

# ---------------------------------------------------------------------------
# Update and install give the same.
# ---------------------------------------------------------------------------

# All that a script can make: definitions, rights, comments; and its version.
sub objects
{
	my ($db) = @_;

	return $node->safe_psql(
		$db, q(
		SELECT pg_describe_object(d.classid, d.objid, 0), obj_description(d.objid, d.classid::regclass::name),
			CASE d.classid WHEN 'pg_proc'::regclass THEN (SELECT concat_ws(' ', pg_get_functiondef(p.oid), proacl, proowner, prosupport) FROM pg_proc AS p WHERE p.oid = d.objid)
						   WHEN 'pg_class'::regclass THEN (SELECT concat_ws(' ', pg_get_viewdef(c.oid), relacl, relowner, reloptions,
								(SELECT string_agg(concat_ws(' ', attname, atttypid::regtype, col_description(c.oid, attnum)), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid))
								FROM pg_class AS c WHERE c.oid = d.objid)
						   WHEN 'pg_type'::regclass THEN (SELECT concat_ws(' ', typacl, (SELECT string_agg(concat_ws(' ', attname, atttypid::regtype), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = typrelid))
								FROM pg_type AS t WHERE t.oid = d.objid)
						   END
		FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		WHERE d.deptype = 'e' AND e.extname = 'eventstore' ORDER BY pg_describe_object(d.classid, d.objid, 0) COLLATE "C";
		SELECT extversion, extnamespace::regnamespace, extrelocatable, extconfig FROM pg_extension WHERE extname = 'eventstore'));
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION eventstore');
my $expected = objects('fresh');
cmp_ok(length $expected, '>', 10000, 'there is much to compare');

# Versions that are not: the last part of the script came later, and a comment was another.
my ($rest) = $script =~ /^(CREATE FUNCTION \@extschema\@\.es_list_subscriptions.*)/ms;
(my $earlier = $script) =~ s/\Q$rest\E//;
$earlier =~ s/^'Version of an aggregate: /'Once: /m or die;
my ($comment) = $script =~ /^(COMMENT ON FUNCTION \@extschema\@\.es_version.*?;)$/ms;
add_script('0.9', $earlier);
add_script("0.9--$current", "$comment\n\n$rest");
add_script('0.8', $earlier);
add_script("0.8--$current", $rest);

# From every version that can be installed, those above and real ones to come.
# (Not all servers list those of another folder.)
my %installs = map { /eventstore--([^-]+)\.sql$/ ? ($1 => 1) : () } glob("$scripts/eventstore--*.sql");
my @paths = grep { $installs{$_} } split /\n/, $node->safe_psql('postgres', qq(
	SELECT source FROM pg_extension_update_paths('eventstore')
	WHERE target = '$current' AND path IS NOT NULL AND source NOT IN ('$current', '0.8') ORDER BY 1));

cmp_ok(scalar @paths, '>=', 1, 'there are updates to try: ' . join(' ', @paths));
foreach my $old (@paths, '0.8')
{
	$node->safe_psql('postgres', 'CREATE DATABASE updated');
	$node->safe_psql('updated', "CREATE EXTENSION eventstore VERSION '$old'");
	isnt(objects('updated'), $expected, "version $old differs from $current");
	$node->safe_psql('updated', 'ALTER EXTENSION eventstore UPDATE');
	if ($old eq '0.8')
	{
		isnt(objects('updated'), $expected, 'an update that forgets a comment is noticed');
	}
	else
	{
		is(objects('updated'), $expected, "the update from $old gives what an install gives");
	}
	$node->safe_psql('postgres', 'DROP DATABASE updated');
}

# ---------------------------------------------------------------------------
# SQL that is newer than the library, and older.
# ---------------------------------------------------------------------------

# Versions whose scripts change a function, as any would.
add_script("$current--99.1", "COMMENT ON FUNCTION \@extschema\@.es_version(text) IS 'later';\nALTER FUNCTION \@extschema\@.es_version(text) COST 2;\n");
add_script("99.1--$current", "$comment\nALTER FUNCTION \@extschema\@.es_version(text) COST 1;\n");
add_script("0.7--$current", "ALTER FUNCTION \@extschema\@.es_version(text) COST 1;\n");
add_script("$current--0.7", "ALTER FUNCTION \@extschema\@.es_version(text) COST 2;\n");

make_database($node, 'test', 'app');
$node->safe_psql('test', q(
	CREATE FUNCTION decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "t"}]'::jsonb $$;
	SELECT es_append('order-1', '[{"type": "t", "tags": ["a"]}]', 0);
	SELECT es_create_subscription('s')));

my @calls = (
	q(SELECT es_append('order-1', '[{"type": "t"}]')),
	q(SELECT es_append_many('[{"key": "order-1", "events": [{"type": "t"}]}]')),
	q(SELECT es_lock('{order-1}')),
	q(SELECT es_execute('order-1', 'decide')),
	q(SELECT es_version('order-1')),
	q(SELECT es_read('order-1')),
	q(SELECT es_load('order-1')),
	q(SELECT es_read_all()),
	q(SELECT es_query('[{"tags": ["a"]}]')),
	q(SELECT es_horizon()),
	q(SELECT es_fetch('s')),
	q(SELECT es_current_store()),
	q(CALL es_wait(0, '1 second')));

# A session that runs meanwhile, in the middle of a transaction or not, and its plans.
my $session = new_session($node, 'test');
my $open = new_session($node, 'test');
$session->get($_) foreach @calls;
$session->get(q(PREPARE p AS SELECT es_append('order-2', '[{"type": "t"}]', allow_create => true)));
$session->get('EXECUTE p') foreach 1 .. 7;
is($node->safe_psql('test', 'SELECT es_start_worker()'), 't', 'a worker');

sub worker_pid
{
	return $node->safe_psql('test', q(SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'eventstore worker'));
}

my %hint = (
	'99.1' => 'Connect anew. If that does not help, install the library of version 99.1 on this server.',
	'0.7' => 'Update the database with ALTER EXTENSION eventstore UPDATE.');

foreach my $version ('99.1', '0.7')
{
	my $message = qq(extension "eventstore" has version $version in this database, but the library of version $current is loaded);
	my $worker = worker_pid();

	$open->get(q(BEGIN; SELECT es_append('order-3', '[{"type": "t"}]', allow_create => true)));
	$node->safe_psql('test', "ALTER EXTENSION eventstore UPDATE TO '$version'");
	my $before = store_contents($node, 'test', 'app');

	foreach my $call (@calls, 'EXECUTE p')
	{
		my $answer = $session->run($call);
		my ($state, undef, $err) = $call eq 'EXECUTE p' ? ('55000', '', "$message $hint{$version}") : run_sql($node, 'test', $call);

		is("$answer->{state} $state", '55000 55000', "SQL $version: $call is refused, in an old session and a new one");
		like($_, qr/\Q$message\E.*\Q$hint{$version}\E/s, 'and says why and what to do') foreach $answer->{err}, $err;
	}
	# A transaction under way hears of it with the next table that it locks, and may end before.
	like($open->state(q(SELECT es_append('order-3', '[{"type": "t"}]'))), qr/^(00000|55000)$/, 'an open transaction');
	$open->run('ROLLBACK');
	guards_hold($node, 'test', 'app', "SQL $version");
	is($node->safe_psql('test', q(SELECT es_category('order-1'))), 'order', 'what an index may use still works');
	same_contents(store_contents($node, 'test', 'app'), $before, "SQL $version: nothing is lost or changed", qr/^(?:sequence|watermark)/);

	# The worker ends, and the postmaster starts it again, until they fit.
	ok($node->poll_query_until('test', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $worker"), 'the worker does not go on with the old library');

	$node->safe_psql('test', "ALTER EXTENSION eventstore UPDATE TO '$current'");
	is($session->state($_), '00000', "back at $current: $_") foreach @calls, 'EXECUTE p';
	is($open->state(q(SELECT es_append('order-3', '[{"type": "t"}]', allow_create => true))), '00000', 'and the other session goes on');
	store_is_sound($node, 'test', 'app', "back at $current");
	$node->safe_psql('test', q(SELECT es_append('order-4', '[{"type": "t"}]', allow_create => true)));
	ok($node->poll_query_until('test', 'SELECT position = last_value FROM app.es_watermark, app.es_position_seq'), 'the worker is at work again');
}

# A library without a function that the script declares: the update fails as a whole.
add_script("$current--99.2", "CREATE FUNCTION \@extschema\@.es_new() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME';\n");
my ($state, undef, $err) = run_sql($node, 'test', "ALTER EXTENSION eventstore UPDATE TO '99.2'");
is($state, '42883', 'an update that needs a newer library fails');
is($node->safe_psql('test', q(SELECT extversion FROM pg_extension WHERE extname = 'eventstore')), $current, 'as a whole');
is($session->state($calls[0]), '00000', 'and nothing has changed');

$_->quit foreach $session, $open;
$node->safe_psql('test', 'SELECT es_stop_worker()');
$node->stop;
done_testing();
