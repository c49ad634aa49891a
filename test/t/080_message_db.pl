# Many clients of message-db and of es_append at once, in one category and in others,
# some without the lock of the category, some that roll back: no write fails that should
# not, and a consumer group that reads along misses no message, gets none twice and has
# those of a stream in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_connections = 40\n");
my $members = 3;

$node->safe_psql('postgres', 'CREATE DATABASE test');
$node->safe_psql('test', 'CREATE EXTENSION eventstore');
$node->safe_psql('test', 'CREATE EXTENSION eventstore_message_db');
$node->safe_psql('test', 'SELECT message_store.es_create_message_store()');
$node->safe_psql(
	'test', q(
	CREATE TABLE cursors (member integer PRIMARY KEY, position bigint NOT NULL DEFAULT 0);
	CREATE TABLE seen (n bigserial, member integer, global_position bigint, stream_name text, position bigint);
	CREATE TABLE outcomes (n bigserial, outcome text);
	GRANT ALL ON ALL TABLES IN SCHEMA public TO message_store;
	GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO message_store;
	ALTER TABLE cursors OWNER TO message_store;

	-- As a client does: read, decide, write; in the words of message-db if it was too late.
	CREATE FUNCTION read_and_write(stream varchar) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		version bigint := coalesce((SELECT position FROM message_store.get_last_stream_message(stream)), -1);
		written bigint;
	BEGIN
		PERFORM pg_sleep(0.001);
		written := message_store.write_message(gen_random_uuid()::varchar, stream, 'Decided', '1', NULL, version);
		INSERT INTO outcomes (outcome) VALUES (CASE WHEN written = version + 1 THEN 'written' ELSE 'elsewhere' END);
	EXCEPTION WHEN raise_exception THEN
		INSERT INTO outcomes (outcome) VALUES (regexp_replace(replace(SQLERRM, stream, 'S'), '-?\d+', 'N', 'g'));
	END $$;

	CREATE FUNCTION consume(of_member integer, batch bigint) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		last bigint := (SELECT position FROM cursors WHERE member = of_member FOR UPDATE);
		reached bigint;
	BEGIN
		WITH got AS (
			INSERT INTO seen (member, global_position, stream_name, position)
			SELECT of_member, m.global_position, m.stream_name, m.position
			FROM message_store.get_category_messages('account', last + 1, batch,
				consumer_group_member => of_member, consumer_group_size => (SELECT count(*) FROM cursors)) AS m
			RETURNING global_position)
		SELECT max(global_position) INTO reached FROM got;
		UPDATE cursors SET position = reached WHERE member = of_member AND reached IS NOT NULL;
		RETURN reached;
	END $$;));
$node->safe_psql('test', "INSERT INTO cursors (member) SELECT generate_series(0, $members - 1)");

# The role finds its functions without being told where they are.
my $client = new_session($node, 'test', user => 'message_store');
is($client->get(q(SELECT write_message(gen_random_uuid()::varchar, 'account-0', 'First', '1', NULL, -1))), '0', 'the role can log in and write');
is($client->get(q(SELECT stream_name FROM get_category_messages('account'))), 'account-0', 'and read');
$client->quit;

my $stream = q('account-' || :s || CASE WHEN :s % 2 = 0 THEN '+' || :p ELSE '' END);
my $random = "\\set s random(1, 7)\n\\set p random(1, 3)\n";
my %scripts = (
	'write@4' => "${random}SELECT message_store.write_message(gen_random_uuid()::varchar, $stream, 'Written', '1');\n",
	'free@2' => "${random}BEGIN;\nSET LOCAL message_store.category_lock = off;\n"
	  . "SELECT message_store.write_message(gen_random_uuid()::varchar, $stream, 'Written', '1');\nCOMMIT;\n",
	'decide@4' => "${random}SELECT read_and_write($stream);\n",
	'append@4' => "${random}SELECT es_append($stream, '[{\"type\": \"Appended\"}, {\"type\": \"Appended\"}]', allow_create => true);\n",
	'other@2' => "SELECT message_store.write_message(gen_random_uuid()::varchar, 'order-1', 'Written', '1');\n",
	'two@2' => "${random}BEGIN;\nSELECT message_store.acquire_lock('account-1');\n"
	  . "SELECT es_append($stream, '[{\"type\": \"Appended\"}]', allow_create => true);\n"
	  . "SELECT message_store.write_message(gen_random_uuid()::varchar, $stream, 'Written', '1');\nCOMMIT;\n",
	'rollback@2' => "${random}BEGIN;\nSELECT message_store.write_message(gen_random_uuid()::varchar, $stream, 'Never', '1');\nROLLBACK;\n",
	'consume@6' => "\\set m random(0, $members - 1)\nSELECT consume(:m, 20);\n");

$node->safe_psql('test', q(ALTER ROLE message_store SET search_path = message_store, public));
{
	local $ENV{PGUSER} = 'message_store';
	pgbench_ok($node, 'test', 'mix of writers and consumers', \%scripts, clients => 12, transactions => 150);
}

is($node->safe_psql('test', q(SELECT string_agg(DISTINCT outcome, E'\n' ORDER BY outcome) FROM outcomes)),
	"Wrong expected version: N (Stream: S, Stream Version: N)\nwritten", 'some were written, some were late, nothing else')
  or diag($node->safe_psql('test', 'SELECT outcome, count(*) FROM outcomes GROUP BY 1'));

# What is left.
foreach my $member (0 .. $members - 1)
{
	while ($node->safe_psql('test', "SELECT consume($member, 1000)") ne '') { }
}
is($node->safe_psql('test', q(
	SELECT count(*) FROM message_store.messages WHERE message_store.category(stream_name) = 'account'
	AND global_position NOT IN (SELECT global_position FROM seen))), '0', 'no message was missed');
is($node->safe_psql('test', q(
	SELECT count(*), count(DISTINCT global_position) - count(*), count(*) FILTER (WHERE global_position <= before), count(*) FILTER (WHERE position <> of_stream - 1)
	FROM (SELECT *, lag(global_position) OVER (PARTITION BY member ORDER BY n) AS before,
				 row_number() OVER (PARTITION BY stream_name ORDER BY n) AS of_stream FROM seen) AS s)),
	$node->safe_psql('test', q(SELECT count(*) FROM message_store.messages WHERE message_store.category(stream_name) = 'account')) . '|0|0|0',
	'each came once, in order of the log and of its stream');
cmp_ok($node->safe_psql('test', 'SELECT count(DISTINCT member) FROM seen'), '>', 1, 'more than one member had messages');
is($node->safe_psql('test', q(SELECT count(*) FROM message_store.messages WHERE type = 'Never')), '0', 'what was rolled back is not there');
store_is_sound($node, 'test', 'message_store', 'afterwards');
indexes_are_sound($node, 'test', 'message_store', 'afterwards');
no_deadlocks($node, 'the mix');

$node->stop;
done_testing();
