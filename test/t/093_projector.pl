# The example projector and the example process manager, each in both of its forms,
# among writers, while their consumers are terminated at random and begin anew once:
# the read model is what a recount of the events says, every order that was paid has
# one shipment, and every event was projected once and in the order of its aggregate.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $examples = "$FindBin::RealBin/../../examples";
my $seed = $ENV{EVENTSTORE_TEST_SEED} // int(rand(1_000_000_000));
my $orders = 40;
my $writers = 4;
my $transactions = 300;

note "random seed $seed (set EVENTSTORE_TEST_SEED to use it again)";
srand($seed);

# A python3 first on the path need not be the one with the distribution's modules.
my ($python) = grep { IPC::Run::run([ $_, '-c', 'import psycopg' ], '<', \undef, '>', \my $out, '2>', \my $err) }
  grep { /^python3$/ || -x } 'python3', '/usr/bin/python3';
note 'without the Python programs: needs the package python3-psycopg' if !defined $python;

my $node = start_node('main', conf => "max_connections = 50\n");
make_database($node, 'test', 'app');
$node->safe_psql('postgres', 'ALTER DATABASE test SET search_path = app, public');
$node->safe_psql('test', slurp_file("$examples/projector/orders.sql"));
$node->safe_psql('test', slurp_file("$examples/process-manager/shipping.sql"));

# Half of the products have no price until later.
$node->safe_psql('test', q(INSERT INTO products VALUES ('p1', 1), ('p2', 20)));

# Whatever the projector does, an order's events must come to it one after the other.
$node->safe_psql('test', q(
	CREATE FUNCTION check_order() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.version <> (CASE TG_OP WHEN 'UPDATE' THEN OLD.version ELSE 0 END) + 1 THEN
			RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state', MESSAGE = format('projected version %s of %s after %s', NEW.version, NEW.order_key, OLD.version);
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER check_order BEFORE INSERT OR UPDATE ON order_summary FOR EACH ROW EXECUTE FUNCTION check_order()));

delete local @ENV{ grep { /^PG/ } keys %ENV };
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
$ENV{PGDATABASE} = 'test';

# ---------------------------------------------------------------------------
# Consumers
# ---------------------------------------------------------------------------

my @procedure = (program($node, 'psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c');
my @consumers = (
	{ name => 'projector 1', command => [ @procedure, "CALL project_orders(7, '100 milliseconds')" ] },
	{ name => 'projector 2', command => [ @procedure, "CALL project_orders(20, '100 milliseconds')" ] },
	{ name => 'shipping 1', command => [ @procedure, "CALL run_shipping(3, '100 milliseconds')" ] });
push @consumers,
  { name => 'projector 3', command => [ $python, "$examples/projector/orders.py" ] },
  { name => 'projector 4', command => [ $python, "$examples/projector/orders.py" ] },
  { name => 'shipping 2', command => [ $python, "$examples/process-manager/shipping.py" ] },
  { name => 'shipping 3', command => [ $python, "$examples/process-manager/shipping.py" ] }
  if defined $python;

sub start_consumer
{
	my ($consumer) = @_;
	local $ENV{PGAPPNAME} = $consumer->{name};

	$consumer->{log} = '' if !defined $consumer->{log};
	$consumer->{run} = IPC::Run::start($consumer->{command}, '<', \undef, '>&', \$consumer->{log});
	return;
}

# Start again those that came to an end.
sub revive_consumers
{
	foreach my $consumer (@consumers)
	{
		$consumer->{run}->pump_nb if $consumer->{run}->pumpable;
		next if $consumer->{run}->pumpable;
		eval { $consumer->{run}->finish };
		start_consumer($consumer);
	}
	return;
}

# End a consumer: mostly its session, sometimes the program.
sub terminate_one
{
	my $consumer = $consumers[ rand @consumers ];

	if (rand() < 0.3)
	{
		$consumer->{run}->signal('KILL');
		return 1;
	}
	return $node->safe_psql('postgres',
		"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '$consumer->{name}'") > 0;
}

# ---------------------------------------------------------------------------
# Writers
# ---------------------------------------------------------------------------

my $scripts = PostgreSQL::Test::Utils::tempdir('writers');
my %script = (
	'add@6' => q(
		BEGIN;
		SELECT status FROM es_try_append('order-' || :n, '[{"type": "placed"}]', 0);
		SELECT es_append('order-' || :n, jsonb_build_array(jsonb_build_object('type', 'item_added',
			'data', jsonb_build_object('product', 'p' || :p, 'quantity', :q))));
		COMMIT;),
	'add_slowly@2' => q(
		BEGIN;
		SELECT status FROM es_try_append('order-' || :n, '[{"type": "placed"}, {"type": "noted"}]', 0);
		\sleep :q ms
		SELECT es_append('order-' || :n, jsonb_build_array('{"type": "noted"}'::jsonb, jsonb_build_object('type', 'item_added',
			'data', jsonb_build_object('product', 'p' || :p, 'quantity', :q))));
		COMMIT;),
	'change_mind@2' => q(
		BEGIN;
		SELECT status FROM es_try_append('order-' || :n, '[{"type": "placed"}]', 0);
		SAVEPOINT s;
		SELECT status FROM es_try_append('order-' || :n, '[{"type": "paid"}]', request_id => 'pay');
		ROLLBACK TO s;
		SELECT status FROM es_try_append('order-' || :n, '[{"type": "noted"}]');
		ROLLBACK;),
	'pay@1' => q(SELECT status FROM es_try_append('order-' || :n, '[{"type": "paid"}]', request_id => 'pay');));
my @files;

foreach my $name (sort keys %script)
{
	my ($file, $weight) = split /@/, $name;

	append_to_file("$scripts/$file", "\\set n random(1, $orders)\n\\set p random(1, 4)\n\\set q random(1, 9)\n$script{$name}\n");
	push @files, '-f', "$scripts/$file\@$weight";
}

start_consumer($_) foreach @consumers;

my ($out, $err) = ('', '');
my $pgbench = IPC::Run::start(
	[
		program($node, 'pgbench'), '--no-vacuum', '-c', $writers, '-j', 2, '-t', $transactions,
		'--random-seed', $seed, '--rate', 250, @files
	],
	'<', \undef, '>', \$out, '2>', \$err,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

my $terminated = 0;
my $reset = 0;
while ($pgbench->pumpable || $terminated < 20)
{
	$pgbench->pump_nb if $pgbench->pumpable;
	usleep(20_000 + rand(100_000));
	$terminated += terminate_one();
	revive_consumers();

	# Build the read model anew, and let every payment come once more, among all this.
	next if $reset || $terminated < 10;
	$node->safe_psql('test', q(
		BEGIN;
		SELECT es_reset_subscription('orders');
		TRUNCATE order_summary;
		COMMIT;
		SELECT es_reset_subscription('shipping')));
	$reset = 1;
}
$pgbench->finish;
my $total = $writers * $transactions;
ok($out =~ m{actually processed: $total/$total\b} && $err !~ /error|aborted/i, 'all writers succeeded')
  or diag("$out$err");

# ---------------------------------------------------------------------------
# Catching up
# ---------------------------------------------------------------------------

# Orders with products that have no price are parked, and their events behind them.
ok($node->poll_query_until('test', 'SELECT count(*) > 0 FROM es_parked_events WHERE attempts > 0'),
	'orders with unknown prices are parked');
$node->safe_psql('test', q(INSERT INTO products VALUES ('p3', 300), ('p4', 4000)));

my $end = time() + $PostgreSQL::Test::Utils::timeout_default;
my $behind = q(
	SELECT count(*) FROM es_subscription_status
	WHERE position < (SELECT max(position) FROM es_events) OR parked > 0);
while ($node->safe_psql('test', $behind) > 0)
{
	if (time() > $end)
	{
		fail('consumers caught up');
		diag($node->safe_psql('test', 'TABLE es_subscription_status; TABLE es_parked_events'));
		diag("$_->{name}: $_->{log}") foreach @consumers;
		last;
	}
	usleep(100_000);
	revive_consumers();
}
foreach my $consumer (@consumers)
{
	$consumer->{run}->kill_kill;
}

# ---------------------------------------------------------------------------
# Recount
# ---------------------------------------------------------------------------

is($node->safe_psql('test', q(
	SELECT order_key, s, r
	FROM order_summary AS s
	FULL JOIN (
		SELECT key AS order_key, max(version) AS version, CASE WHEN bool_or(type = 'paid') THEN 'paid' ELSE 'placed' END AS status,
			   coalesce(sum((data->>'quantity')::integer * price), 0) AS total
		FROM es_events LEFT JOIN products ON product = data->>'product'
		WHERE key ~ '^order-' GROUP BY key) AS r USING (order_key)
	WHERE (s.version, s.status, s.total) IS DISTINCT FROM (r.version, r.status, r.total)
	ORDER BY 1)),
	'', 'the read model is what the events say');
is($node->safe_psql('test', "SELECT count(*) FROM es_events WHERE key ~ '^shipment-' AND version > 1"), 0,
	'no order is shipped twice');
is($node->safe_psql('test', q(
	SELECT e.key, s.key FROM (SELECT * FROM es_events WHERE type = 'paid') AS e
	FULL JOIN (SELECT * FROM es_events WHERE type = 'requested') AS s ON s.metadata->>'causation_id' = e.id::text AND s.data->>'order' = e.key
	WHERE e.key IS NULL OR s.key IS NULL)),
	'', 'every order that was paid is shipped, and no other');
cmp_ok($node->safe_psql('test', "SELECT count(*) FROM es_events WHERE type = 'requested'"), '>', $orders / 4, 'there were orders to ship');
unlike(join('', map { $_->{log} } @consumers), qr/projected version/, 'each event was projected once, after the one before it');
store_is_sound($node, 'test', 'app', 'afterwards');

note sprintf('%s events, %d consumers, %d terminations', $node->safe_psql('test', 'SELECT count(*) FROM es_events'), scalar @consumers, $terminated);
$node->stop;
done_testing();
