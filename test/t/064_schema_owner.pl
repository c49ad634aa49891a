# A store whose tables belong to somebody else than its schema: what the library looks up
# with the rights of the tables' owner must not be led astray by the schema's owner, who can
# rename the schema and put another one in its place at any time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_prepared_transactions = 5\n");

$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE DATABASE test OWNER mallory');
$node->safe_psql('test', 'CREATE EXTENSION eventstore; CREATE SEQUENCE public.ran; GRANT USAGE ON SEQUENCE public.ran TO PUBLIC');

# A store of the superuser's in a schema of mallory's.  Returns the schema that is hers.
sub make_store
{
	my ($schema, $policies) = @_;

	$node->safe_psql('test', qq(
		CREATE SCHEMA $schema AUTHORIZATION mallory;
		SELECT es_create_store('$schema');
		SELECT es_grant('mallory', 'writer', '$schema'), es_grant('mallory', 'consumer', '$schema');
		SET eventstore.store = '$schema';
		SELECT es_append('order-1', '[{"type": "t", "tags": ["a"]}]', 0);
		SELECT es_create_subscription('s')));
	$node->safe_psql('test', join '', map {
			"ALTER TABLE $schema.$_ ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON $schema.$_ USING (true);"
		} qw(es_aggregates es_events es_tags)) if $policies;
	return;
}

# What mallory puts in the place of a schema: the same names, and code behind them.
sub swap
{
	my ($schema) = @_;

	return qq(
		BEGIN;
		ALTER SCHEMA $schema RENAME TO ${schema}_old;
		CREATE SCHEMA $schema;
		GRANT USAGE ON SCHEMA $schema TO PUBLIC;
		CREATE FUNCTION $schema.evil() RETURNS bigint LANGUAGE plpgsql AS \$\$
		BEGIN
			-- A sequence tells of it even if what calls this is undone in the end.
			IF current_user <> 'mallory' THEN
				PERFORM nextval('public.ran');
			END IF;
			RETURN 1;
		END \$\$;
		CREATE VIEW $schema.es_events AS SELECT $schema.evil() AS position, 1::bigint AS version, now() AS recorded_at, gen_random_uuid() AS id, 'k'::text AS key,
			't'::text AS type, '{}'::jsonb AS data, '{}'::jsonb AS metadata, '{a}'::text[] AS tags, 'r'::text AS request_id;
		CREATE VIEW $schema.es_aggregates AS SELECT 'k'::text AS key, $schema.evil() AS version, 1::bigint AS first_version, NULL::timestamptz AS closed_at, 0::oid AS tableoid, '(0,1)'::tid AS ctid;
		CREATE VIEW $schema.es_tags AS SELECT 'a'::text AS tag, $schema.evil() AS position, 'k'::text AS key, 1::bigint AS version;
		CREATE VIEW $schema.es_watermark AS SELECT $schema.evil() AS position, now() AS updated_at;
		CREATE VIEW $schema.es_subscriptions AS SELECT 's'::text AS subscription, 0 AS partition, 1 AS partitions, $schema.evil() AS position, NULL::text AS claimed_by,
			NULL::timestamptz AS claimed_until, NULL::timestamptz AS advanced_at;
		CREATE VIEW $schema.es_parked_events AS SELECT 's'::text AS subscription, 'k'::text AS key, $schema.evil() AS position;
		COMMIT);
}

# A call may also see that it must not look, and not wait at all.
sub blocked_or_done
{
	my ($session) = @_;

	$node->poll_query_until('postgres', "SELECT state <> 'active' OR wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = " . $session->pid)
	  or die 'still running';
	return;
}

# Let a call wait in the middle, swap, and let it go on.  Returns its answer.
sub attack
{
	my ($schema, $hold, $user, $call) = @_;
	my $holder = new_session($node, 'test', user => 'mallory', settings => { 'eventstore.store' => $schema });
	my $victim = new_session($node, 'test', user => $user, settings => { 'eventstore.store' => $schema });
	my $swapper = new_session($node, 'test', user => 'mallory');
	my $answer;

	$holder->get("BEGIN; $hold");
	$victim->send($call);
	blocked_or_done($victim);
	$swapper->get(swap($schema));
	$holder->get('ROLLBACK');
	$answer = $victim->answer;
	$_->quit foreach $holder, $victim, $swapper;
	return $answer;
}

sub ran_as_others
{
	return $node->safe_psql('test', q(WITH r AS (SELECT is_called FROM public.ran) SELECT is_called, setval('public.ran', 1, false) FROM r)) =~ /^t/ ? 'ran as another' : '';
}

# The first append of a session looks whether the sequence is behind the log.
make_store('s1', 0);
attack('s1', q(SELECT * FROM es_lock('{order-1}')), 'mallory', q(SELECT es_append('order-1', '[{"type": "t"}]')));
is(ran_as_others(), '', 'the look at the end of the log runs nobody\'s code as the owner of the tables');

# Where policies hide rows, more is looked for.
foreach my $call (
	q(SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "t"}]}, {"key": "order-2", "events": [{"type": "t"}], "allow_create": true}]')),
	q(SELECT es_append('order-1', '[{"type": "t"}]', request_id => 'r')),
	q(SELECT * FROM es_append_many('[{"key": "order-1", "events": [{"type": "t"}], "conditions": [{"query": [{"tags": ["b"]}]}]}]')))
{
	my $schema = 'p' . ++$main::n;

	make_store($schema, 1);
	attack($schema, q(SELECT es_append('order-1', '[{"type": "t"}]')), 'mallory', $call);
	is(ran_as_others(), '', "nor $call");
}

# The statistics, for a monitoring role.
foreach my $view (qw(es_stat_store es_stat_subscription))
{
	my $schema = 'm' . ++$main::n;

	make_store($schema, 0);
	my $holder = new_session($node, 'test', user => 'mallory');
	my $victim = new_session($node, 'test', user => 'monitor');
	my $swapper = new_session($node, 'test', user => 'mallory');

	$holder->get("BEGIN; DROP SEQUENCE $schema.es_position_seq");
	$victim->send("SELECT count(*) FROM $view WHERE store = '$schema'");
	blocked_or_done($victim);
	$swapper->send(swap($schema));
	$node->safe_psql('postgres', 'SELECT pg_sleep(0.2)');
	$holder->get('ROLLBACK');
	$swapper->answer;
	$victim->answer;
	$_->quit foreach $holder, $victim, $swapper;
	is(ran_as_others(), '', "nor $view");
}

# In a store of mallory's own the statistics run her code, as her; it can leave nothing
# behind in the session of who looks.
$node->safe_psql('test', q(
	SET SESSION AUTHORIZATION mallory;
	SELECT es_create_store('own');
	SET eventstore.store = 'own';
	CREATE FUNCTION own.evil() RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		IF current_user = 'mallory' THEN
			PERFORM set_config('search_path', 'own, pg_catalog', false), set_config('eventstore.store', 'own', false);
		END IF;
		RETURN 1;
	END $$;
	DROP TABLE own.es_watermark;
	CREATE VIEW own.es_watermark AS SELECT own.evil() AS position, now() AS updated_at;
	GRANT USAGE ON SCHEMA own TO PUBLIC));
my $look = new_session($node, 'test');
$look->get('SET search_path = public');
is($look->get(q(SELECT count(*), min(watermark) FROM es_stat_store WHERE store = 'own')), '1|1', 'her code has run');
is($look->get(q(SHOW search_path)) . '|' . $look->get(q(SELECT current_setting('eventstore.store'))), 'public|', 'and has changed no setting');
$look->quit;
$node->safe_psql('test', 'DROP SCHEMA own CASCADE');

# Where policies hide rows, it says why it does not go on.
make_store('hidden', 1);
my ($state, undef, $err) = run_sql($node, 'test', q(SET SESSION AUTHORIZATION mallory; SET eventstore.store = 'hidden'; SELECT es_append('order-2', '[{"type": "t"}]', 0)));
is($state, '55000', 'hidden rows are not looked for');
like($err, qr/cannot tell hidden rows .*different roles.*ALTER SCHEMA/s, 'and the error says what to do');
$node->safe_psql('test', 'ALTER SCHEMA hidden OWNER TO CURRENT_USER; GRANT USAGE ON SCHEMA hidden TO mallory');
is((run_sql($node, 'test', q(SET SESSION AUTHORIZATION mallory; SET eventstore.store = 'hidden'; SELECT es_append('order-2', '[{"type": "t"}]', 0))))[0],
	'00000', 'done, it works');

# Such a store works, all the same.
make_store('good', 0);
is( $node->safe_psql('test', q(SET SESSION AUTHORIZATION mallory; SET eventstore.store = 'good'; SELECT es_append('order-1', '[{"type": "t", "tags": ["a"]}]', 1); SELECT count(*) FROM es_query('[{"tags": ["a"]}]'))),
	"2\n2", 'a store of one role in the schema of another works');
is( $node->safe_psql('test', q(SET eventstore.store = 'good'; BEGIN; SELECT setval('good.es_position_seq', 1, false))), '1', 'set back');
is((run_sql($node, 'test', q(SELECT setval('good.es_position_seq', 1, false); SET SESSION AUTHORIZATION mallory; SET eventstore.store = 'good'; SELECT es_append('order-1', '[{"type": "t"}]', 2))))[0],
	'55000', 'a sequence that is behind is noticed by who may see the log');

$node->stop;
done_testing();
