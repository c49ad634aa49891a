# A store with something in each of its tables, and whether all of it is in use again after
# the store was moved: dumped and restored, or upgraded.

package EventstoreFilled;

use strict;
use warnings;

use Exporter 'import';
use EventstoreTest;
use PostgreSQL::Test::Cluster;
use Test::More;

our @EXPORT = qw(fill_feed feed_continues);

# Beside the events, which are there: a subscription that is at different places in its
# partitions, in a later epoch, with an event parked; snapshots; a watermark.
sub fill_feed
{
	my ($node, $db, $schema, $key) = @_;

	$node->safe_psql(
		$db, qq(
		SET eventstore.store = '$schema';
		SELECT es_create_subscription('report', '[{"categories": ["order"]}, {"types": ["nothing"]}]', 3);
		SELECT es_create_subscription('idle');
		DO \$\$
		DECLARE
			page record;
		BEGIN
			-- Two of the three partitions.
			FOR i IN 1 .. 2
			LOOP
				SELECT min(partition) AS partition, min(from_position) AS from_position, min(to_position) AS to_position, min(epoch) AS epoch
				INTO page FROM es_fetch('report', 10 * i, '1 hour');
				PERFORM es_advance('report', page.partition, page.from_position, page.to_position, page.epoch);
			END LOOP;
		END
		\$\$;
		SELECT es_park('report', (SELECT position FROM es_read('$key', 2, 2)), 'cannot be handled', '1 hour');
		SELECT es_save_snapshot('$key', 2, '{"events": 2, "note": "größe \\\\ \\""}');
		INSERT INTO "$schema".es_watermark (position) SELECT es_horizon()));
	return;
}

# The log is settled up to its end, the subscription delivers what it has not, once, and
# the aggregate loads with its snapshot.
sub feed_continues
{
	my ($node, $db, $schema, $key, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is( $node->safe_psql(
			$db, qq(
			SET eventstore.store = '$schema';
			SELECT es_horizon() = last_value FROM "$schema".es_position_seq;
			SELECT (SELECT count(*) FROM es_read_all(0, 1000000)) = (SELECT count(*) FROM "$schema".es_events);
			SELECT snapshot_version, state, jsonb_array_length(events) = version - 2 FROM es_load('$key');
			SELECT count(DISTINCT position) > 1, count(*) FILTER (WHERE epoch > 0), sum(parked) > 0 FROM es_subscription_status WHERE subscription = 'report')),
		qq(t\nt\n2|{"note": "größe \\\\ \\"", "events": 2}|t\nt|2|t),
		"$name: horizon, log, snapshot and subscription are as before");
	is( $node->safe_psql(
			$db, qq(
			SET eventstore.store = '$schema';
			CREATE TEMPORARY TABLE wanted AS
				SELECT e.position FROM "$schema".es_events AS e JOIN "$schema".es_subscriptions AS s
					ON s.subscription = 'report' AND s.partition = es_partition(e.key, s.partitions) AND e.position > s.position
				WHERE es_category(e.key) = 'order' AND e.key NOT IN (SELECT key FROM "$schema".es_parked_events);
			CREATE TEMPORARY TABLE given (position bigint);
			DO \$\$
			DECLARE
				page record;
			BEGIN
				-- Each gives up to 10000, so that this drains them.
				FOR i IN 1 .. 6
				LOOP
					SELECT min(partition) AS partition, min(from_position) AS from_position, min(to_position) AS to_position,
						   array_agg(position) FILTER (WHERE position IS NOT NULL) AS positions
					INTO page FROM es_fetch('report', 10000);
					INSERT INTO given SELECT unnest(page.positions);
					PERFORM es_advance('report', page.partition, page.from_position, page.to_position);
				END LOOP;
			END
			\$\$;
			SELECT count(*) > 0, count(*) = (SELECT count(*) FROM given), count(*) = (SELECT count(*) FROM wanted JOIN given USING (position)) FROM wanted;
			SELECT bool_and(lag = 0) FROM es_subscription_status WHERE subscription = 'report')),
		"t|t|t\nt", "$name: the subscription goes on where it was");
	return;
}

1;
