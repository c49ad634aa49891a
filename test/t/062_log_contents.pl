# What of a payload comes into error messages and the server's log: the data and metadata
# of an event never by an error of ours; keys, types, request ids and versions do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "log_error_verbosity = verbose\nlog_parameter_max_length_on_error = 0\n");

make_database($node, 'test', 'app');
my $secret = 'correct horse battery';
my $event = qq({"type": "t", "data": {"password": "$secret"}, "metadata": {"m": "$secret"}, "tags": ["a"]});

# Run a statement with parameters, as programs should send it.
sub parameters
{
	my ($sql, @values) = @_;
	my $bind = join ' ', map { (my $v = $_) =~ s/'/\\'/g; "'$v'" } @values;

	return run_sql($node, 'test', "$sql \\bind $bind \\g") if $node->pg_version->major >= 16;

	# \bind came later; EXECUTE names the values in its own text, which is not logged here.
	my $n = 0;
	my $types = join ', ', map { /^[\[{]/ ? 'jsonb' : /^\d+$/ ? 'bigint' : 'text' } @values;
	return run_sql($node, 'test', "PREPARE p($types) AS $sql; SET log_min_error_statement = panic; EXECUTE p(" . join(', ', map { (my $v = $_) =~ s/'/''/g; "'$v'" } @values) . ')');
}

$node->safe_psql('test', "SELECT es_append('order-1', '[$event]', 0, request_id => 'r-1')");

my @refused = (
	[ 'VE001', 'SELECT es_append($1, $2, $3)', 'order-1', "[$event]", '7' ],
	[ 'VE002', 'SELECT es_append($1, $2)', 'order-2', "[$event]" ],
	[ 'VE005', 'SELECT es_append($1, $2, 1, false, $3)', 'order-1', qq([{"type": "t", "data": "another $secret"}]), 'r-1' ],
	[ 'VE001', 'SELECT * FROM es_append_many($1)', qq([{"key": "order-1", "events": [$event], "expected_version": 5}]) ],
	[ 'VE004', 'SELECT * FROM es_append_many($1)', qq([{"key": "order-3", "events": [$event], "allow_create": true, "conditions": [{"query": [{"tags": ["a"]}]}]}]) ],
	[ '22023', 'SELECT es_append($1, $2)', 'order-1', qq([{"type": "t", "datta": "$secret"}]) ],
	[ '22023', 'SELECT es_append($1, $2)', 'order-1', qq([{"type": {"x": "$secret"}, "data": 1}]) ],
	[ '22023', 'SELECT es_append($1, $2)', 'order-1', qq([{"type": "t", "id": "$secret"}]) ],
	[ '22023', 'SELECT es_append($1, $2)', 'order-1', qq([{"type": "t", "metadata": "$secret"}]) ],
	[ '22023', 'SELECT es_append($1, $2)', 'order-1', qq([{"type": "t", "tags": ["$secret", ""]}]) ],
	[ '22023', 'SELECT es_append($1, $2)', 'order-1', qq(["$secret"]) ],
	[ '22023', 'SELECT * FROM es_read_all(0, 10, $1)', qq([{"types": "$secret"}]) ]);

my $offset = -s $node->logfile;
foreach my $case (@refused)
{
	my ($code, $sql, @values) = @$case;
	my ($state, $out, $err) = parameters($sql, @values);

	is($state, $code, "$code: $sql");
	unlike("$out$err", qr/\Q$secret\E/, 'its message shows nothing of the payload');
}
my $log = slurp_file($node->logfile, $offset);
like($log, qr/VE001: aggregate "order-1" is at version 1, not at the expected version 7/, 'the log tells of conflicts, with the key');
like($log, qr/request id "r-1" was used for other events of aggregate "order-1"/, 'and the request id');
unlike($log, qr/\Q$secret\E/, 'the log shows nothing of the payload, where it was a parameter');

# PostgreSQL's own ways, which the page tells of: the statement's text, and a row that violates
# a constraint which somebody has put on the table.
$offset = -s $node->logfile;
run_sql($node, 'test', "SELECT es_append('order-1', '[$event]', 7)");
like(slurp_file($node->logfile, $offset), qr/STATEMENT:.*\Q$secret\E/, 'a payload in the text of a statement is logged with it');
$node->safe_psql('test', q(ALTER TABLE app.es_events ADD CONSTRAINT small CHECK (version < 2)));
my (undef, undef, $err) = parameters('SELECT es_append($1, $2)', 'order-1', "[$event]");
like($_, qr/Failing row contains .*\Q$secret\E/, q(a violated constraint of the user's shows the row)) foreach $err, slurp_file($node->logfile, $offset);

$node->stop;
done_testing();
