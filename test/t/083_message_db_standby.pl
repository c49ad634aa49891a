# Clients of message-db read from a standby: streams as they are there, categories up to
# the watermark, past no write that is still open on the primary; they write after it is
# promoted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_node('primary', init => { allows_streaming => 1 });

$primary->safe_psql('postgres', 'CREATE DATABASE test');
$primary->safe_psql('test', 'CREATE EXTENSION eventstore');
$primary->safe_psql('test', 'CREATE EXTENSION eventstore_message_db');
$primary->safe_psql('test', 'SELECT message_store.es_create_message_store()');
$primary->backup('copy');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

my $writer = new_session($primary, 'test', user => 'message_store');
my $reader = new_session($standby, 'test', user => 'message_store');
my $category = q(SELECT string_agg(stream_name || ' ' || position, ', ') FROM get_category_messages('account'));

sub put
{
	my ($stream) = @_;

	return "SELECT write_message(gen_random_uuid()::varchar, '$stream', 'T', '{}')";
}

$writer->get(put('account-1'));
$primary->wait_for_catchup($standby);
is($reader->get(q(SELECT position FROM get_stream_messages('account-1'))), '0', 'a stream is read');
is($reader->get(q(SELECT stream_version('account-1'), count(*) FROM messages)), '0|1', 'so are versions and messages');
is($reader->state($category), '55000', 'a category is not, without a watermark');
is($reader->state(put('account-1')), '25006', 'nothing is written');

$primary->safe_psql('test', q(SET eventstore.store = 'message_store'; SELECT es_start_worker()));
$standby->poll_query_until('test', 'SELECT position = 1 FROM message_store.es_watermark') or die 'no watermark';
is($reader->get($category), 'account-1 0', 'with one it is');

# An open write on the primary is not passed by a later one that commits first.
my $open = new_session($primary, 'test', user => 'message_store');
$open->get('BEGIN; SET LOCAL message_store.category_lock = off;' . put('account-2'));
$writer->get(put('order-1'));
$writer->get('SET message_store.category_lock = off;' . put('account-3'));
$primary->wait_for_catchup($standby);
is($reader->get($category), 'account-1 0', 'what comes after an open write waits');
is($reader->get(q(SELECT count(*) FROM get_stream_messages('account-3'))), '1', 'though its stream has it');
$open->get('COMMIT');
$standby->poll_query_until('test', 'SELECT position = 4 FROM message_store.es_watermark') or die 'the watermark stands still';
is($reader->get($category), 'account-1 0, account-2 0, account-3 0', 'and nothing is missed');

$_->quit foreach $writer, $open;
$primary->stop;
$standby->promote;
is($reader->get(put('account-1')), '1', 'promoted, it is written to');
is($reader->get($category), 'account-1 0, account-2 0, account-3 0, account-1 1', 'and read without a watermark');
$reader->quit;
store_is_sound($standby, 'test', 'message_store', 'the promoted standby');

$standby->stop;
done_testing();
