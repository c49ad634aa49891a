# doc/message-db.md tells the truth: its SQL is run, in order, and gives what it shows; its
# links lead somewhere.  The part about moving runs on a database like one of message-db.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreDocument;
use EventstoreMessageDb;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $text = slurp_file("$top/doc/message-db.md");
my ($fresh, $move) = $text =~ /\A(.*^)(## Moving a .*)\z/ms or die 'the page has no part about moving';
my $node = start_node('main');

$node->safe_psql('postgres', 'CREATE DATABASE doc');
cmp_ok(run_document($node, 'doc', $fresh), '>', 3, 'the page has SQL');
store_is_sound($node, 'doc', 'message_store', 'afterwards');
$node->safe_psql('postgres', 'ALTER ROLE message_store RESET ALL');

make_message_db($node, 'old', 5);
cmp_ok(run_document($node, 'old', $move), '>', 1, 'also about moving');
store_is_sound($node, 'old', 'message_store', 'after the move');

my @unchecked = grep { $_->{language} ne 'sql' } fenced_blocks($text);
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
	next if $link =~ /^https:/;
	ok($link =~ /^#(.*)/ ? $anchor{$1} : -e "$top/doc/$link", "link to $link");
}
foreach my $file ($text =~ m{`((?:src|sql|test|bench|expected|doc|examples)/[\w/.-]*)`}g)
{
	ok(-e "$top/$file", "$file is there");
}
my %name = map { $_ => 1 } $text =~ /\b((?:es|get|write)_\w+)/g;
is($node->safe_psql('doc', "SET search_path = message_store, public;
	SELECT string_agg(name, ' ') FROM unnest('{" . join(',', sort keys %name) . "}'::text[]) AS name
	WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name) AND to_regclass(name) IS NULL AND to_regtype(name) IS NULL"),
	'', 'every name on the page exists');

$node->stop;
done_testing();
