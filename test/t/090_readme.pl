# README tells the truth: its SQL is run, in order, and gives what it shows; its
# code in other languages is in the example programs; its signatures, settings,
# tables, make targets and links are those that exist.
#
# In its SQL, "-- => x" after a statement is the one value that it returns.  A
# "text" block holds the whole remaining output of the SQL block before it; an SQL
# block without one has no output but void.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $readme = slurp_file("$top/README.md");
my @blocks = fenced_blocks($readme);

my $node = start_node('main');
$node->safe_psql('postgres', 'CREATE DATABASE readme');

# The fenced blocks of a text: language, code, line number, and for SQL the output
# shown below it.
sub fenced_blocks
{
	my ($text) = @_;
	my @found;
	my ($block, $n);

	foreach my $line (split /\n/, $text)
	{
		$n++;
		if ($block && $line eq '```')
		{
			if ($block->{language} eq 'text' && @found && $found[-1]{end} == $block->{line} - 1)
			{
				$found[-1]{output} = $block->{code};
				$found[-1]{end} = $n;
			}
			else
			{
				push @found, { %$block, end => $n };
			}
			undef $block;
		}
		elsif ($block)
		{
			$block->{code} .= "$line\n";
		}
		elsif ($line =~ /^```(\w*)$/)
		{
			$block = { language => $1, line => $n, code => '' };
		}
	}
	return @found;
}

# The statements of an SQL block: their text, whether they are psql's, and what
# they return according to "-- =>".
sub statements
{
	my ($code) = @_;
	my @found;
	my $statement = '';
	my $quoted = 0;

	foreach my $line (split /\n/, $code)
	{
		$statement .= "$line\n";
		$quoted ^= 1 foreach $line =~ /\$\$/g;
		next if $quoted;
		if ($line =~ /^\\/)
		{
			push @found, { text => $statement, meta => 1 };
			$statement = '';
		}
		elsif ($line =~ /;\s*(?:-- => (.*\S)|--.*)?\s*$/)
		{
			push @found, { text => $statement, value => $1 };
			$statement = '';
		}
	}
	push @found, { text => $statement } if $statement =~ /\S/;
	return @found;
}

# Run statements in one session, and note the state and output of each.
sub run_statements
{
	my ($db, @statements) = @_;
	my $script = '';
	my $output = '';

	foreach my $n (0 .. $#statements)
	{
		$script .= "$statements[$n]{text}\\echo end of $n :SQLSTATE\n";
	}
	# From stdin, so that messages do not begin with a file's name.
	IPC::Run::run(
		[ $node->installed_command('psql'), '-Xq', '-d', $node->connstr($db) ],
		'<', \$script, '>&', \$output);
	foreach my $n (0 .. $#statements)
	{
		$output =~ s/\A(.*?)^end of $n (\w+)\n//ms or die "psql stopped: $output";
		@{ $statements[$n] }{ 'output', 'state' } = ($1, $2);
	}
	return;
}

# Output as it is compared: without what differs from run to run, or is nothing.
sub comparable
{
	my ($output) = @_;

	$output =~ s/^ \w+ *\n-+\n *\n\(1 row\)\n//mg;
	$output =~ s/^LOCATION: .*\n//mg;
	$output =~ s/[ \t]+$//mg;
	$output =~ s/^\n//mg;
	$output =~ s/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/UUID/g;
	$output =~ s/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*/TIME/g;
	$output =~ s/ {2,}/ /g, $output =~ s/-{2,}/--/g if $output =~ /UUID|TIME/;
	return $output;
}

# The one value in psql's output.
sub value_of
{
	my ($output) = @_;

	return $output =~ /^.*\n-+\n *(.*?) *\n\(1 row\)\n/ ? $1 : $output;
}

# ---------------------------------------------------------------------------
# SQL
# ---------------------------------------------------------------------------

my @sql = grep { $_->{language} eq 'sql' } @blocks;
foreach my $block (@sql)
{
	$block->{statements} = [ statements($block->{code}) ];
}
run_statements('readme', map { @{ $_->{statements} } } @sql);

cmp_ok(scalar @sql, '>', 15, 'README has SQL examples');
foreach my $block (@sql)
{
	my $rest = '';

	foreach my $statement (@{ $block->{statements} })
	{
		if (defined $statement->{value})
		{
			is(value_of($statement->{output}), $statement->{value},
				"line $block->{line}: " . (split /\n/, $statement->{text})[-1]);
		}
		else
		{
			$rest .= $statement->{output};
		}
		is($statement->{state}, '00000', "line $block->{line}: succeeds") or diag($statement->{output})
		  unless $statement->{meta} || defined $block->{output};
	}
	is(comparable($rest), comparable($block->{output} // ''), "line $block->{line}: output of the block");
}
store_is_sound($node, 'readme', 'public', 'afterwards');

# The loop in PL/pgSQL meets a conflict, and decides again.
my $holder = new_session($node, 'readme');
my $waiter = new_session($node, 'readme');
my $version = $holder->get("SELECT es_version('account-1')");

$holder->get(qq(BEGIN; SELECT es_append('account-1', '[{"type": "withdrawn", "data": {"amount": 25}}]', $version)));
$waiter->send("SELECT withdraw('account-1', 20)");
wait_until_blocked($node, $waiter);
$holder->get('COMMIT');
like($waiter->answer->{err}, qr/there is only 5 on account-1/, 'withdraw() decides anew after a conflict');
$holder->get(qq(BEGIN; SELECT es_append('account-1', '[{"type": "deposited", "data": {"amount": 1}}]', $version + 1)));
$waiter->send("SELECT withdraw('account-1', 5)");
wait_until_blocked($node, $waiter);
$holder->get('COMMIT');
is($waiter->answer->{out}, $version + 3, 'and appends to what is there now');
$_->quit foreach ($holder, $waiter);

# ---------------------------------------------------------------------------
# Other languages
# ---------------------------------------------------------------------------

my %program = (python => 'counter.py', java => 'Counter.java', php => 'counter.php');

sub without_indentation
{
	my ($code) = @_;

	$code =~ s/^[ \t]+//mg;
	return $code;
}

foreach my $language (sort keys %program)
{
	my $source = without_indentation(slurp_file("$top/examples/clients/$program{$language}"));
	my @code = grep { $_->{language} eq $language } @blocks;

	ok(scalar @code, "README has $language");
	foreach my $block (@code)
	{
		ok(index("\n$source", "\n" . without_indentation($block->{code})) >= 0,
			"line $block->{line}: is in $program{$language}");
	}
}
my @unchecked = grep { !$program{ $_->{language} } && $_->{language} !~ /^(?:sql|sh)$/ } @blocks;
is(join(' ', map { "line $_->{line}: $_->{language}" } @unchecked), '', 'README has no code that is not checked');

# ---------------------------------------------------------------------------
# Signatures, settings, tables
# ---------------------------------------------------------------------------

sub plain_signature
{
	my ($signature) = @_;

	$signature =~ s/::[a-z]+//g;
	$signature =~ s/\s+/ /g;
	$signature =~ s/TABLE \(/TABLE(/;
	return lc $signature;
}

my %documented;
while ($readme =~ /^\*\*`(es_\w+)\(([^`]*)\) → ([^`]*)`\*\*/mg)
{
	$documented{$1} = plain_signature("($2) -> $3");
}
my %actual = map { /^(\w+)(.*)$/ ? ($1 => plain_signature($2)) : () } split /\n/, $node->safe_psql(
	'readme', q(
	SELECT format('%s(%s) -> %s', proname, pg_get_function_arguments(p.oid), coalesce(pg_get_function_result(p.oid), ''))
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore')
	  AND prorettype <> 'trigger'::regtype AND obj_description(p.oid, 'pg_proc') NOT LIKE 'Internal:%'));
my ($arguments) = $actual{es_append} =~ /^(\(.*\))/;
s/^\(the same arguments\)/$arguments/ foreach values %documented;
cmp_ok(scalar keys %documented, '>', 15, 'README has signatures');
foreach my $function (sort keys %documented)
{
	is($documented{$function}, $actual{$function}, "README knows the arguments and the result of $function");
}
is(join(' ', grep { $readme !~ /\b$_\(/ } sort keys %actual), '', 'README has every function');

my ($section) = $readme =~ /^### Settings\n(.*?)^##/ms;
is( join(' ', sort $section =~ /^\| `([\w.]+)`/mg),
	$node->safe_psql('readme', q(
		LOAD 'eventstore';
		SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'eventstore.%')),
	'README has every setting');

($section) = $readme =~ /^### Tables\n(.*?)^##/ms;
foreach my $table (qw(es_aggregates es_events es_tags es_subscriptions es_parked_events es_watermark es_store))
{
	my ($columns) = $section =~ /^\| `$table` \| (.*) \|$/m;

	is( join(' ', sort $columns =~ /`(\w+)`/g),
		$node->safe_psql('readme', qq(
			SELECT string_agg(attname, ' ' ORDER BY attname COLLATE "C") FROM pg_attribute
			WHERE attrelid = '$table'::regclass AND attnum > 0)),
		"README has every column of $table");
}

# ---------------------------------------------------------------------------
# Targets of make, links
# ---------------------------------------------------------------------------

my %target = map { $_ => 1 } qw(all install installcheck uninstall clean),
  map { split ' ' } slurp_file("$top/Makefile") =~ /^([a-z][a-z ]*):(?!=)/mg;
my @used = map { $_->{code} =~ /^(?:sudo )?make +([a-z]+)/mg } grep { $_->{language} eq 'sh' } @blocks;

cmp_ok(scalar @used, '>', 4, 'README uses make');
is(join(' ', grep { !$target{$_} } @used), '', 'and targets that exist');

my %anchor;
foreach my $heading ($readme =~ /^#+ (.*)/mg)
{
	my $name = lc $heading;

	$name =~ s/[^\w -]//g;
	$name =~ s/ /-/g;
	$anchor{$name} = 1;
}
foreach my $link ($readme =~ /\]\(([^)\s]+)\)/g)
{
	ok($link =~ /^#(.*)/ ? $anchor{$1} : -e "$top/$link", "link to $link");
}
foreach my $file ($readme =~ m{`((?:src|sql|test|bench|expected|doc|examples)/[\w/.-]*)`}g)
{
	ok(-e "$top/$file", "$file is there");
}

$node->stop;
done_testing();
