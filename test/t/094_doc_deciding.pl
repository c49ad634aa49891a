# doc/deciding.md tells the truth: its SQL is run, in order, and gives what it shows;
# its links lead somewhere.

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
my $text = slurp_file("$top/doc/deciding.md");
my $node = start_node('main');

$node->safe_psql('postgres', 'CREATE DATABASE doc');
cmp_ok(run_document($node, 'doc', $text), '>', 5, 'the page has SQL');
store_is_sound($node, 'doc', 'public', 'afterwards');

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
	ok($link =~ /^#(.*)/ ? $anchor{$1} : -e "$top/doc/$link", "link to $link");
}
foreach my $file ($text =~ m{`((?:src|sql|test|bench|expected|doc|examples)/[\w/.-]*)`}g)
{
	ok(-e "$top/$file", "$file is there");
}
my %name = map { $_ => 1 } $text =~ /\b(es_\w+)/g;
is($node->safe_psql('doc', "SELECT string_agg(name, ' ') FROM unnest('{" . join(',', sort keys %name) . "}'::text[]) AS name
	WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name) AND to_regclass(name) IS NULL AND to_regtype(name) IS NULL"),
	'', 'every name on the page exists');

# Folding by es_load and a snapshot gives the same as folding all events, wherever the
# snapshot was taken.
is( $node->safe_psql(
		'doc', q(
		SELECT es_append('order-9', '[{"type": "placed", "data": {"customer": "eve"}}, {"type": "line_added", "data": {"price": 1}},
			{"type": "gift_wrapped"}, {"type": "line_added", "data": {"price": 2}}, {"type": "paid"}]', 0);
		CREATE FUNCTION fold(upto bigint) RETURNS jsonb LANGUAGE sql AS $$
			SELECT order_state(e, NULL ORDER BY e.version) FROM es_read('order-9', 1, upto) AS e $$;
		CREATE FUNCTION with_snapshot(v bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
		BEGIN
			DELETE FROM es_snapshots;
			IF v > 0 THEN
				PERFORM es_save_snapshot('order-9', v, fold(v));
			END IF;
			RETURN (SELECT state FROM load_order('order-9'));
		END $$;
		SELECT count(*), bool_and(with_snapshot(v) = fold(5)) FROM generate_series(0, 5) AS v)),
	"5\n6|t", 'a snapshot at any version makes no difference');

$node->stop;
done_testing();
