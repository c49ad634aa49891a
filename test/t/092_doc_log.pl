# doc/reading-the-log.md tells the truth: its SQL is run, in order, and gives what
# it shows; its links lead somewhere.

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
my $text = slurp_file("$top/doc/reading-the-log.md");

# The publication warns otherwise.
my $node = start_node('main', conf => "wal_level = logical\n");
$node->safe_psql('postgres', 'CREATE DATABASE doc');

# The worker has to keep up before the block that reads by the watermark.
sub wait_for_watermark
{
	my ($block) = @_;

	return if $block->{code} !~ /REPEATABLE READ/;
	$node->poll_query_until('doc', 'SELECT count(*) = 1 FROM es_watermark WHERE position = es_horizon()')
	  or die 'the worker does not work';
	return;
}

cmp_ok(run_document($node, 'doc', $text, \&wait_for_watermark), '>', 20, 'the page has SQL');
store_is_sound($node, 'doc', 'public', 'afterwards');

my @unchecked = grep { $_->{language} !~ /^(?:sql|properties)$/ } fenced_blocks($text);
is(join(' ', map { "line $_->{line}: $_->{language}" } @unchecked), '', 'the page has no code that is not checked');

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
foreach my $file ($text =~ m{`((?:src|sql|test|bench|expected|doc|examples)/[\w/.-]*)`}g)
{
	ok(-e "$top/$file", "$file is there");
}
foreach my $function ($text =~ /\b(es_\w+)/g)
{
	$anchor{$function} = 1;
}
is($node->safe_psql('doc', "SELECT string_agg(name, ' ') FROM unnest('{" . join(',', grep { /^es_/ } keys %anchor) . "}'::text[]) AS name
	WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name) AND to_regclass(name) IS NULL AND to_regtype(name) IS NULL"),
	'', 'every name on the page exists');

$node->stop;
done_testing();
