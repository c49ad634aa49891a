# doc/monitoring.md tells the truth, and so do the exporters: each of the two, where it can be
# had, is run with our queries as a role in pg_monitor, and every metric that it gives is
# compared with the tables of the store.  The dashboard asks for those metrics only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreDocument;
use EventstoreTest;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $top = "$FindBin::RealBin/../..";
my $examples = "$top/examples/monitoring";
my $text = slurp_file("$top/doc/monitoring.md");
my $node = start_node('main', conf => "max_prepared_transactions = 2\n");

# ---------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE doc');
is(run_document($node, 'doc', $text), 1, 'the page has SQL');
store_is_sound($node, 'doc', 'public', 'afterwards');
foreach my $file ($text =~ m{`((?:src|sql|test|bench|expected|doc|examples)/[\w/.-]*)`}g)
{
	ok(-e "$top/$file", "$file is there");
}
my %name = map { $_ => 1 } $text =~ /\b(es_\w+)/g;
is($node->safe_psql('doc', "SELECT string_agg(name, ' ') FROM unnest('{" . join(',', sort keys %name) . "}'::text[]) AS name
	WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name) AND to_regclass(name) IS NULL AND to_regtype(name) IS NULL"),
	'', 'every name on the page exists');
my $columns = join ',', $text =~ /`(\w+)`/g;
is($node->safe_psql('doc', qq~
		SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid IN ('es_stat_store'::regclass, 'es_stat_subscription'::regclass)
		AND attname NOT IN ('store', 'subscription', 'partition') AND NOT attname = ANY ('{$columns}')~),
	'', 'every column is on the page');

# ---------------------------------------------------------------------------
# A store with something of everything
# ---------------------------------------------------------------------------

make_database($node, 'test', 'app', 'other');
$node->safe_psql('test', q(
	SELECT es_append('order-' || n, '[{"type": "placed"}, {"type": "paid"}]', 0, request_id => 'r') FROM generate_series(1, 30) AS n;
	SELECT es_append('order-' || n, '[{"type": "placed"}, {"type": "paid"}]', 0, request_id => 'r') FROM generate_series(1, 5) AS n;
	SELECT es_try_append('order-1', '[{"type": "paid"}]', 1) FROM generate_series(1, 7);
	SELECT es_try_append('order-99', '[{"type": "paid"}]');
	SELECT es_create_subscription('billing', partitions => 2);
	SELECT es_create_subscription('odd "name\ here', after_position => 10);
	SELECT count(*) FROM es_fetch('odd "name\ here', 5, '1 hour');
	SELECT es_park('odd "name\ here', 12, 'no stock');
	BEGIN; SELECT es_append('order-2', '[{"type": "shipped"}]'); ROLLBACK;));
# By a later session: what one has not yet reported is counted twice.
$node->safe_psql('test', 'ANALYZE app.es_aggregates, app.es_events');
$node->safe_psql('test', q(
	BEGIN; SELECT es_append('order-1', '[{"type": "shipped"}]'); PREPARE TRANSACTION 'open';));
$node->safe_psql('postgres', 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor');

# What the metrics must be, by the tables themselves; they do not change any more.
# What is prepared is counted by the server when it is committed or rolled back.
my $expected = $node->safe_psql('test', q(
	SELECT json_build_object(
		'aggregates', (SELECT count(*) FROM app.es_aggregates), 'events', (SELECT count(*) FROM app.es_events),
		'bytes', (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'),
		'appends_total', 30 + 1, 'appended_events_total', 60 + 1,
		'conflicts_total', 7, 'refusals_total', 1, 'repeats_total', 5,
		'last_position', (SELECT last_value FROM app.es_position_seq),
		'horizon', (SELECT bound FROM es_in_flight), 'horizon_lag', 1, 'in_flight', 1,
		'watermark_lag', 'NaN', 'watermark_seconds', 'NaN')));
my %expected = %{ decode_json($expected) };
my %subscription = (
	'billing 0' => { position => 0, lag => 61, parked => 0, claimed => 0 },
	'billing 1' => { position => 0, lag => 61, parked => 0, claimed => 0 },
	'odd "name\ here 0' => { position => 10, lag => 51, parked => 1, claimed => 1 });
cmp_ok($expected{bytes}, '>', 100_000, 'there is something to show');
is($expected{events}, 60, 'and to count');
is($expected{horizon}, 61, 'and a transaction in flight');

# ---------------------------------------------------------------------------
# Exporters
# ---------------------------------------------------------------------------

# The samples of a page of metrics: [name, {label => value}, value].
sub samples
{
	my ($page) = @_;
	my @found;

	foreach my $line (grep { !/^#/ } split /\n/, $page)
	{
		my ($name, $labels, $value) = $line =~ /^(\w+)(?:\{(.*)\})? (\S+)$/ or next;
		my %label;

		while (defined $labels && $labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g)
		{
			my ($key, $text) = ($1, $2);

			$text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
			$label{$key} = $text;
		}
		push @found, [ $name, \%label, $value ];
	}
	return @found;
}

# Run an exporter until it gives the metrics of our subscriptions, and return the page.
sub scrape
{
	my ($command, $port, $wanted, %environment) = @_;
	my ($log, $page) = ('', '');
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;
	local %ENV = (%ENV, %environment);
	my $run = IPC::Run::start($command, '<', \undef, '>&', \$log);

	until ($page =~ $wanted || time() > $end || !$run->pumpable)
	{
		usleep(100_000);
		$run->pump_nb;
		$page = HTTP::Tiny->new(timeout => 10)->get("http://127.0.0.1:$port/metrics")->{content};
	}
	$run->kill_kill;
	diag($log) if $page !~ $wanted;
	return ($page, $log);
}

# Compare metrics, as a hash of "store" or "subscription partition" to a hash of names to
# values, with the store.
sub metrics_are_right
{
	my ($exporter, $stores, $subscriptions) = @_;

	is(join(' ', sort keys %$stores), 'app other', "$exporter: all stores");
	is(join(', ', sort keys %$subscriptions), join(', ', sort keys %subscription), 'all subscriptions');
	my %app = %{ $stores->{app} || {} };
	my $age = delete $app{in_flight_seconds};
	ok(defined $age && $age > 0 && $age < 3600, 'the age of the open transaction');
	is_deeply({ map { $_ => $app{$_} =~ /^NaN$/i ? 'NaN' : $app{$_} + 0 } keys %app }, \%expected, 'every metric of the store');
	foreach my $name (sort keys %subscription)
	{
		my %got = %{ $subscriptions->{$name} || {} };
		my $waits = delete $got{waiting_seconds};

		ok(defined $waits && $waits > 0 && $waits < 3600, "$name: how long the first event waits");
		is_deeply({ map { $_ => $got{$_} + 0 } keys %got }, $subscription{$name}, 'every other metric of it');
	}
	return;
}

# Programs are in the path, or in a system folder that need not be.
sub find_program
{
	my ($name) = @_;

	return (grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/bin')[0];
}

my $directory = PostgreSQL::Test::Utils::tempdir('exporter');
my $host = $node->host;
my %metric;

SKIP:
{
	my $program = find_program('prometheus-postgres-exporter');
	my $port = PostgreSQL::Test::Cluster::get_free_port();

	skip 'postgres_exporter: needs the package prometheus-postgres-exporter', 1 if !defined $program;
	my ($page, $log) = scrape(
		[
			$program, '--disable-default-metrics', '--disable-settings-metrics',
			"--extend.query-path=$examples/postgres_exporter.yml", "--web.listen-address=127.0.0.1:$port"
		],
		$port, qr/^eventstore_subscription_lag/m,
		DATA_SOURCE_NAME => "host=$host port=" . $node->port . ' user=monitor dbname=test sslmode=disable');
	my (%stores, %subscriptions);

	foreach my $sample (grep { $_->[0] =~ /^eventstore_/ } samples($page))
	{
		my ($name, $label, $value) = @$sample;

		is($label->{datname}, 'test', "$name: the database") if $label->{datname} ne 'test';
		$metric{$name} = 1;
		if (defined $label->{subscription})
		{
			$subscriptions{"$label->{subscription} $label->{partition}"}{ $name =~ s/^eventstore_subscription_//r } = $value;
		}
		else
		{
			$stores{ $label->{store} }{ $name =~ s/^eventstore_//r } = $value;
		}
	}
	metrics_are_right('postgres_exporter', \%stores, \%subscriptions);
	is(() = $page =~ /^# TYPE eventstore_\w+_total counter$/mg, 5, 'counters are counters');
	unlike($log, qr/level=error/, 'no error');

	# The dashboard, and the page, ask for metrics that there are.
	my $dashboard = slurp_file("$examples/dashboard.json");
	ok(eval { decode_json($dashboard)->{panels}[0] }, 'the dashboard is JSON');
	is(join(' ', grep { !$metric{$_} } $dashboard =~ /\b(eventstore_\w+)/g), '', 'the dashboard asks for what there is');
	is(join(' ', grep { !$metric{$_} } $text =~ /\b(eventstore_\w+)/g), '', 'so does the page');
}

SKIP:
{
	my $program = find_program('prometheus-sql-exporter');
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $configuration = slurp_file("$examples/sql_exporter.yml");

	skip 'sql_exporter: needs the package prometheus-sql-exporter', 1 if !defined $program;
	ok($configuration =~ s{'postgres://.*'}{"'postgres://monitor@/test?host=$host&port=" . $node->port . "&sslmode=disable'"}e, 'its connection');
	$configuration =~ s/interval: \d+s/interval: 1s/;
	append_to_file("$directory/sql_exporter.yml", $configuration);
	my ($page, $log) = scrape([ $program, '-config.file', "$directory/sql_exporter.yml", '-web.listen-address', "127.0.0.1:$port" ],
		$port, qr/^sql_eventstore_subscription\{/m);
	my (%stores, %subscriptions);

	foreach my $sample (samples($page))
	{
		my ($name, $label, $value) = @$sample;

		$stores{ $label->{store} }{ $label->{col} } = $value if $name eq 'sql_eventstore';
		$subscriptions{"$label->{subscription} $label->{partition}"}{ $label->{col} } = $value if $name eq 'sql_eventstore_subscription';
	}
	metrics_are_right('sql_exporter', \%stores, \%subscriptions);
	unlike($log, qr/"level":"error"/, 'no error');
}

$node->safe_psql('test', "ROLLBACK PREPARED 'open'");
$node->stop;
done_testing();
