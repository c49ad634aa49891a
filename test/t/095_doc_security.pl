# doc/security.md tells the truth: every test it names exists, its links lead somewhere,
# its SQL runs, and its table of functions says what the catalogue says and what roles with
# each set of privileges meet when they try.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreDocument;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $text = slurp_file("$top/doc/security.md");
my $node = start_node('main');

# ---------------------------------------------------------------------------
# Names, links, SQL.
# ---------------------------------------------------------------------------

my @claims = $text =~ /^- (.*?)(?=^- |^\n|\n\n|\z)/msg;
cmp_ok(scalar @claims, '>', 25, 'the page has claims');
foreach my $claim (@claims)
{
	my ($start) = $claim =~ /^(.{1,50})/;

	like($claim, qr/`[\w-]+\.(?:sql|pl|spec)`|By PostgreSQL|What to do/, "a test or a source for: $start");
}

my %place = (sql => 'sql', pl => 't', spec => 'specs');
my %named = map { $_ => 1 } $text =~ /`([\w-]+\.(?:sql|pl|spec))`/g;
foreach my $file (sort keys %named)
{
	my ($kind) = $file =~ /\.(\w+)$/;

	ok(-e "$top/test/$place{$kind}/$file", "$file exists");
}

$node->safe_psql('postgres', 'CREATE DATABASE doc');
run_document($node, 'doc', $text);
my %anchor;
foreach my $heading ($text =~ /^#+ (.*)/mg)
{
	my $name = lc $heading;

	$name =~ s/[^\w -]//g;
	$name =~ s/ /-/g;
	$anchor{$name} = 1;
}
foreach my $link ($text =~ /\]\(([^)\s]+)\)/g)
{
	ok($link =~ /^#(.*)/ ? $anchor{$1} : -e "$top/doc/$link", "link to $link");
}

# ---------------------------------------------------------------------------
# The table of functions.
# ---------------------------------------------------------------------------

my @roles = qw(others reader writer consumer admin owner);
my %row;
foreach my $line ($text =~ /^\| `(es_\w+`.*) \|$/mg)
{
	my ($functions, $execute, @rights) = split / \| /, "`$line";

	is(scalar @rights, scalar @roles, "columns of $functions");
	$row{$_} = { execute => $execute, rights => "@rights" } foreach $functions =~ /`(es_\w+)`/g;
}

make_database($node, 'test');
my %public = map { split /\|/ } split /\n/, $node->safe_psql(
	'test', q(
	SELECT p.proname, CASE WHEN has_function_privilege('public', p.oid, 'EXECUTE') THEN 'PUBLIC' ELSE 'owner' END
		|| CASE WHEN p.prosecdef THEN ' SECURITY DEFINER' ELSE '' END
	FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid JOIN pg_extension AS e ON d.refobjid = e.oid
	WHERE d.deptype = 'e' AND e.extname = 'eventstore'));
is(join(' ', sort keys %row), join(' ', sort keys %public), 'the table has every function of the extension, and no other');
is($row{$_} ? $row{$_}{execute} : undef, $public{$_}, "who may execute $_") foreach sort keys %public;

$node->safe_psql('test', 'CREATE ROLE "owner" LOGIN; CREATE SCHEMA app AUTHORIZATION "owner"; SET ROLE "owner"; '
	  . q(SELECT es_create_store('app'); SET eventstore.store = 'app';
	SELECT es_append('order-1', '[{"type": "t", "tags": ["a"]}]', 0, request_id => 'r-1');
	SELECT es_save_snapshot('order-1', 1, '{}');
	SELECT es_create_subscription('s'), es_create_subscription('p');
	SELECT es_park('p', 1, 'why');
	CREATE FUNCTION app.decide(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"type": "t"}]'::jsonb $$;
	CREATE FUNCTION app.decide_many(command jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[{"key": "order-1", "events": [{"type": "t"}]}]'::jsonb $$;
	GRANT USAGE ON SCHEMA app TO PUBLIC));
foreach my $role (grep { $_ ne 'owner' } @roles)
{
	$node->safe_psql('test', qq(CREATE ROLE "$role" LOGIN));
	$node->safe_psql('test', "SELECT es_grant('$role', '$role', 'app')") if $role ne 'others';
}
$node->safe_psql('test', 'CREATE ROLE somebody');

# Each is tried, and undone; what comes to the right to do it counts as done.
my %call = (
	es_advance => q(SELECT es_advance('s', 0, 0, 1)),
	es_append => q(SELECT es_append('order-1', '[{"type": "t"}]', 1)),
	es_append_each => q(SELECT es_append_each('[{"key": "order-1", "events": [{"type": "t"}]}]')),
	es_append_many => q(SELECT es_append_many('[{"key": "order-1", "events": [{"type": "t"}]}]')),
	es_category => q(SELECT es_category('order-1')),
	es_check_position => q(SELECT es_check_position(0)),
	es_check_store => q(SELECT es_check_store('app')),
	es_create_store => q(SELECT es_create_store('other')),
	es_create_subscription => q(SELECT es_create_subscription('s2')),
	es_current_store => q(SELECT es_current_store()),
	es_drop_store => q(SELECT es_drop_store('app')),
	es_drop_subscription => q(SELECT es_drop_subscription('s')),
	es_execute => q(SELECT es_execute('order-1', 'app.decide')),
	es_execute_many => q(SELECT es_execute_many('{order-1}', 'app.decide_many')),
	es_fetch => q(SELECT es_fetch('s')),
	es_find_request => q(SELECT es_find_request('order-1', 'r-1')),
	es_grant => q(SELECT es_grant('somebody', 'reader')),
	es_guard => q(CREATE TEMPORARY TABLE mine (n integer); CREATE TRIGGER t BEFORE INSERT ON mine EXECUTE FUNCTION es_guard()),
	es_horizon => q(SELECT es_horizon()),
	es_inspect_partitions => q(SELECT * FROM es_inspect_partitions('app')),
	es_inspect_store => q(SELECT * FROM es_inspect_store('app')),
	es_list_subscriptions => q(SELECT es_list_subscriptions()),
	es_load => q(SELECT es_load('order-1')),
	es_lock => q(SELECT es_lock('{order-1}')),
	es_lock_partition => q(SELECT es_lock_partition('app', 's', 'order-1')),
	es_make_counters => q(SELECT es_make_counters('app')),
	es_make_guards => q(SELECT es_make_guards('app')),
	es_park => q(SELECT es_park('s', 1, 'why')),
	es_partition => q(SELECT es_partition('order-1', 2)),
	es_query => q(SELECT es_query('[{"tags": ["a"]}]')),
	es_query_condition => q(SELECT es_query_condition('[{"tags": ["a"]}]')),
	es_read => q(SELECT es_read('order-1')),
	es_read_all => q(SELECT es_read_all()),
	es_read_partition => q(SELECT es_read_partition(0, 10, NULL, NULL, 2, 0)),
	es_read_support => q(EXPLAIN SELECT es_read('order-1')),
	es_require_store => q(SELECT es_require_store('app')),
	es_require_subscription => q(SELECT es_require_subscription('app', 's')),
	es_reset_subscription => q(SELECT es_reset_subscription('s')),
	es_save_snapshot => q(SELECT es_save_snapshot('order-1', 1, '{"n": 1}')),
	es_start_worker => q(SELECT es_start_worker()),
	es_stop_worker => q(SELECT es_stop_worker()),
	es_sync_position => q(SELECT es_sync_position()),
	es_try_append => q(SELECT es_try_append('order-1', '[{"type": "t"}]', 1)),
	es_try_append_many => q(SELECT es_try_append_many('[{"key": "order-1", "events": [{"type": "t"}]}]')),
	es_unpark => q(SELECT es_unpark('p', 1)),
	es_upgrade_store => q(SELECT es_upgrade_store('app')),
	es_version => q(SELECT es_version('order-1')),
	es_wait => q(CALL es_wait(0, '1 second')),
	es_wait_for => q(CALL es_wait_for('s', 0, '1 second')));

is(join(' ', sort keys %call), join(' ', sort keys %public), 'every function is tried');
my %met;
foreach my $role (@roles)
{
	my $session = new_session($node, 'test', user => $role, settings => { 'eventstore.store' => 'app' });

	foreach my $function (sort keys %call)
	{
		# Its own worker, or that of the owner.
		$node->safe_psql('test', q(SET eventstore.store = 'app'; SELECT es_start_worker()), extra_params => [ '-U', 'owner' ])
		  if $function eq 'es_stop_worker';
		my $answer = $session->run("BEGIN; $call{$function}");
		my $state = $answer->{state};

		$session->run('ROLLBACK');
		fail("$function as $role: $answer->{err}") if $state !~ /^(?:00000|42501)$/;
		$met{$function} .= ($met{$function} ? ' ' : '') . ($state eq '42501' ? 'no' : 'yes');
		$node->safe_psql('test', q(SET eventstore.store = 'app'; SELECT es_stop_worker())) if $function eq 'es_stop_worker';
	}
	$session->quit;
}
foreach my $function (sort keys %call)
{
	is($row{$function} ? $row{$function}{rights} : undef, $met{$function}, "$function: " . join(' ', @roles));
}

$node->stop;
done_testing();
