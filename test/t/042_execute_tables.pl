# Commands of sixteen clients on one aggregate, whose functions also write rows of the
# user's tables that all of them want: no deadlock, no failure, and each decision that
# counts has written once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_connections = 40\ndeadlock_timeout = 100ms\n");

make_database($node, 'shop', 'app');
my $query = sub { return $node->safe_psql('shop', $_[0]); };

$query->(
	q(
	CREATE TABLE stock (article text PRIMARY KEY, n bigint);
	INSERT INTO stock VALUES ('book', 10000);
	CREATE TABLE sales (key text, version bigint, PRIMARY KEY (key, version));
	-- By update, under a lock, and by insertion into a unique index.
	CREATE FUNCTION sell(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE stock SET n = n - 1 WHERE article = 'book';
		RETURN '[{"type": "sold"}]';
	END $$;
	CREATE FUNCTION register(key text, version bigint, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO sales VALUES (key, version);
		RETURN '[{"type": "registered"}]';
	END $$;
	CREATE FUNCTION reserve(command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		available bigint;
	BEGIN
		SELECT n INTO available FROM stock WHERE article = 'book' FOR UPDATE;
		RETURN jsonb_build_array(jsonb_build_object('key', 'hot', 'expected_version', es_version('hot'),
			'events', jsonb_build_array(jsonb_build_object('type', 'reserved', 'data', available))));
	END $$;
	CREATE TABLE answers (how text, status text)));

pgbench_ok(
	$node, 'shop',
	'user tables',
	{
		'sell@2' => "INSERT INTO answers SELECT 'sell', status FROM es_execute('hot', 'sell');\n",
		'reserve@2' => "INSERT INTO answers SELECT 'reserve', status FROM es_execute_many('{hot}', 'reserve');\n"
	},
	clients => 16,
	transactions => 60);
is($query->(q(SELECT count(*), min(status), max(status) FROM answers)), '960|appended|appended', 'user tables: every call succeeded');
is($query->(q(SELECT version FROM app.es_aggregates)), '960', 'user tables: each has appended once');
is($query->(q(SELECT 10000 - n - (SELECT count(*) FROM app.es_events WHERE type = 'sold') FROM stock)), '0', 'each sale is counted once');

# Rows that follow from the version: two commands that decide on the same one would
# insert the same row.
pgbench_ok(
	$node, 'shop',
	'unique rows',
	{ register => "INSERT INTO answers SELECT 'register', status FROM es_execute('hot', 'register');\n" },
	clients => 16,
	transactions => 60);
is($query->(q(SELECT count(*), min(status), max(status) FROM answers WHERE how = 'register')), '960|appended|appended', 'unique rows: every call succeeded');
is( $query->(
		q(SELECT (SELECT count(*) FROM (SELECT version + 1 FROM sales EXCEPT SELECT version FROM app.es_events WHERE type = 'registered') x),
				 (SELECT count(*) FROM (SELECT version FROM app.es_events WHERE type = 'registered' EXCEPT SELECT version + 1 FROM sales) x))),
	'0|0', 'each registration is there once, of its version');
no_deadlocks($node, 'user tables');
store_is_sound($node, 'shop', 'app', 'in the end');
$node->stop;
done_testing();
