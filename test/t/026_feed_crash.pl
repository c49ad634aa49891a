# Crashes at random while appenders write, with asynchronous commit, and readers
# outside the server keep their own cursors: over all crashes they are given the log,
# no more and no less.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreFeed;
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $ROUNDS = 4;
my $SECONDS = 1;

my $node = start_node('main',
	conf => "$EventstoreFeed::CONF\nsynchronous_commit = off\nwal_writer_delay = 10s\nrestart_after_crash = on\n");

make_database($node, 'test', 'app');
$node->safe_psql('test', q(SELECT es_append('hot-0', '[{"type": "t0"}]', 0)));

my $feed = EventstoreFeed->new(node => $node, db => 'test', store => 'app');
$node->safe_psql('test', 'CHECKPOINT');

my %reader = (
	all => { cursor => 0, given => [], query => 'SELECT position, key, version FROM es_read_all(%s, 200)' },
	waiting => { cursor => 0, given => [], query => "CALL es_wait(%1\$s, '10 ms');\nSELECT position, key, version FROM es_read_all(%1\$s, 50)" });

# One page of each; false when the server is gone.
sub read_pages
{
	my $count = 0;

	foreach my $name (sort keys %reader)
	{
		my $r = $reader{$name};
		my $answer = $r->{session}->run(sprintf $r->{query}, $r->{cursor});

		return 0 if $answer->{state} eq 'lost';
		die "$name: $answer->{err}" if $answer->{state} ne '00000';
		# es_wait says its horizon in a line of its own.
		my @page = grep { /\|/ } split /\n/, $answer->{out};
		push @{ $r->{given} }, @page;
		($r->{cursor}) = $page[-1] =~ /^(\d+)/ if @page;
		$count += @page;
	}
	return $count;
}

sub check_readers
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	foreach my $r (sort keys %reader)
	{
		my $log = $node->safe_psql('test', "SELECT position, key, version FROM app.es_events WHERE position <= $reader{$r}{cursor} ORDER BY position");
		ok(join("\n", @{ $reader{$r}{given} }) eq $log, "$name: reader \"$r\" has got the log, no more and no less");
	}
	return;
}

foreach my $round (1 .. $ROUNDS)
{
	$_->{session} = new_session($node, 'test') foreach values %reader;
	$feed->start_appenders(6);

	my $end = time() + $SECONDS + rand(1);
	while (time() < $end)
	{
		read_pages();
		usleep(1000);
	}
	if ($round % 2)
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my $offset = -s $node->logfile;
		kill 9, $reader{all}{session}->pid;
		$node->wait_for_log(qr/reinitializing/, $offset);
		$node->poll_query_until('postgres', 'SELECT true') or die 'server is not back';
	}
	$_->{session}->quit foreach values %reader;
	$feed->appenders_are_gone;
	check_readers("crash $round");
	store_is_sound($node, 'test', 'app', "crash $round");
}

# What was prepared over all that is ended, and everybody comes to the end.
$feed->stop_appenders;
$_->{session} = new_session($node, 'test') foreach values %reader;
1 while read_pages();
check_readers('in the end');
my $last = $node->safe_psql('test', 'SELECT max(position) FROM app.es_events');
is(join(' ', map { $_->{cursor} } values %reader), "$last $last", 'they are at the end');
is($node->safe_psql('test', 'SELECT count(*) FROM es_in_flight'), '0', 'nothing is in flight');
note "$last positions, " . scalar(@{ $reader{all}{given} }) . ' events';
cmp_ok(scalar(@{ $reader{all}{given} }), '>', 100, 'there was something to read');

$_->{session}->quit foreach values %reader;
$node->stop;
done_testing();
