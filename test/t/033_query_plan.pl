# How es_query and conditions read: by the index on tags and then by the key of each
# event, as the statements themselves explain it while they run; whatever the tables
# held when they were planned.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');

make_database($node, 'test', 'app');
if ((run_sql($node, 'test', q(LOAD 'auto_explain')))[0] ne '00000')
{
	$node->stop;
	plan skip_all => 'auto_explain is not installed';
}

my $session = new_session($node, 'test');
my $query = q(SELECT count(*) FROM es_query('[{"tags": ["all", "one"], "types": ["T0"]}]'));
my $condition = q(SELECT status FROM es_try_append_many('[{"conditions": [{"query": [{"tags": ["all", "one"], "types": ["T1"]}]}]}]'));

# The plans of the statements inside a call, by the server's log.
sub plans_of
{
	my ($sql) = @_;
	my $start = -s $node->logfile;

	$session->get($sql);
	return slurp_file($node->logfile, $start);
}

$session->get(
	q(LOAD 'auto_explain';
	SET auto_explain.log_min_duration = 0;
	SET auto_explain.log_nested_statements = on;
	SET auto_explain.log_analyze = on;
	SET auto_explain.log_timing = off));

# The generic plans are made while there is nothing.
plans_of($query);
plans_of($condition);

$node->safe_psql(
	'test', q(
	SELECT es_append('bulk-' || n, (SELECT jsonb_agg(jsonb_build_object('type', 'T' || m % 10, 'tags',
			ARRAY['all'] || CASE WHEN m = 500 AND n = 50 THEN ARRAY['one'] ELSE ARRAY['bulk:' || n] END) ORDER BY m)
		FROM generate_series(1, 1000) AS m), 0)
	FROM generate_series(1, 100) AS n));

foreach my $when ('planned while empty', 'analyzed')
{
	$node->safe_psql('test', 'VACUUM ANALYZE app.es_events, app.es_tags') if $when eq 'analyzed';
	foreach my $read ([ 'es_query', $query ], [ 'a condition', $condition ])
	{
		my $plans = plans_of($read->[1]);

		like($plans, qr/Index (?:Only )?Scan using es_tags_pkey .*?rows=1(?:\.00)? loops=1.*?Index Cond: .*tag = /s, "$when, $read->[0]: the tags by index, one row of the rarer tag");
		like($plans, qr/Index Scan using es_events_pkey .*?Index Cond: \(\(key = t\.key\) AND \(version = t\.version\)\)/s, "$when, $read->[0]: the events by their key");
		unlike($plans, qr/Seq Scan on es_(?:events|tags)|Bitmap|Hash|Sort/, "$when, $read->[0]: and nothing else");
	}
}

$session->quit;
$node->stop;
done_testing();
