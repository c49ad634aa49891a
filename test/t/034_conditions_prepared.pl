# Two-phase commit: what a prepared transaction has written or asked for by tags stays
# locked, also over a crash, until it is committed or rolled back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', conf => "max_prepared_transactions = 10\n");

make_database($node, 'test', 'app');

# A waiting session: sent, and blocked.
sub start_waiting
{
	my ($sql) = @_;
	my $session = new_session($node, 'test');

	$session->send($sql);
	wait_until_blocked($node, $session);
	return $session;
}

# A write with a condition that there is no event with the tag; the same without.
sub conditional
{
	my ($key, $tag) = @_;

	return qq(SELECT status FROM es_try_append_many('[{"key": "$key", "allow_create": true, "events": [{"type": "T", "tags": ["$tag"]}],
		"conditions": [{"query": [{"tags": ["$tag"]}]}]}]'));
}

sub plain
{
	my ($key, @tags) = @_;
	my $tags = join ', ', map { qq("$_") } @tags;

	return qq(SELECT es_append('$key', '[{"type": "T", "tags": [$tags]}]', allow_create => true));
}

# A condition alone, with many tags if there is a number.
sub guard
{
	my ($tag, $many) = @_;

	return qq(SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["$tag"]}]}]}]')) if !$many;
	return q(SELECT status FROM es_append_many(jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query',
		(SELECT jsonb_agg(jsonb_build_object('tags', ARRAY['many-' || n])) FROM generate_series(1, 1000) AS n)))))));
}

sub prepare
{
	my ($sql, $crash) = @_;

	$node->safe_psql('test', "BEGIN; $sql; PREPARE TRANSACTION 'gid'");
	return if !$crash;
	$node->stop('immediate');
	$node->start;
	return;
}

my $n = 0;
foreach my $crash (0, 1)
{
	my $when = $crash ? 'after a crash' : 'at once';

	foreach my $end ('COMMIT', 'ROLLBACK')
	{
		my $won = $end eq 'COMMIT';
		my $tag;

		# ---- a plain writer: conditions and es_query wait for it, writers do not ----
		$tag = 't' . ++$n;
		prepare(plain("w$n", 'other', $tag), $crash);
		is($node->safe_psql('test', plain("x$n", 'other')), '1', "$when: a writer does not wait for a writer");
		is((run_sql($node, 'test', "SET lock_timeout = '1ms'; " . conditional("c$n", $tag)))[0], '55P03', "$when: a condition waits");
		my $query = start_waiting(qq(SELECT count(*) FROM es_query('[{"tags": ["$tag"]}]')));
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($query->answer->{out}, $won ? '1' : '0', "$when, $end: es_query waited for it");
		is($node->safe_psql('test', conditional("c$n", $tag)), $won ? 'condition_failed' : 'appended', "$when, $end: the condition then knows");
		$query->quit;

		# ---- a condition: everybody waits for it ----
		$tag = 't' . ++$n;
		prepare(conditional("c$n", $tag), $crash);
		my $writer = start_waiting(plain("w$n", $tag));
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($writer->answer->{out}, '1', "$when, $end: a writer waited for the condition");
		$writer->quit;

		$tag = 't' . ++$n;
		prepare(conditional("c$n", $tag), $crash);
		my $condition = start_waiting(conditional("d$n", $tag));
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($condition->answer->{out}, $won ? 'condition_failed' : 'appended', "$when, $end: a condition waited for the condition");
		$condition->quit;

		# ---- a guard of conditions alone, which has written nothing ----
		$tag = 't' . ++$n;
		prepare(guard($tag), $crash);
		$writer = start_waiting(plain("w$n", $tag));
		is($node->safe_psql('test', plain("v$n", "disjoint$n")), '1', "$when: a writer of another tag does not wait");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($writer->answer->{out}, '1', "$when, $end: a writer waited for the guard");
		$writer->quit;

		# ---- the root, for many tags ----
		$tag = 't' . ++$n;
		prepare(guard($tag, 1000), $crash);
		$writer = start_waiting(plain("w$n", $tag));
		is($node->safe_psql('test', qq(SELECT es_append('untagged', '[{"type": "T"}]', allow_create => true) > 0)), 't', "$when: an append without tags does not wait");
		$node->safe_psql('test', "$end PREPARED 'gid'");
		is($writer->answer->{out}, '1', "$when, $end: a writer waited for the root");
		$writer->quit;
	}
}

store_is_sound($node, 'test', 'app', 'in the end');
is($node->safe_psql('test', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), '0', 'nothing is left locked');

$node->stop;
done_testing();
