-- What a successful append returns: the new version, and from es_try_append a row
-- that agrees with what is stored.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_result;
CREATE SCHEMA t_append_result AUTHORIZATION regress_es_append_result;
SET ROLE regress_es_append_result;
SELECT es_create_store('t_append_result');
SET eventstore.store = 't_append_result';

-- es_append returns the new version: the number of events ever appended.
SELECT es_append('order-1', '[{"type": "OrderPlaced"}]', 0) AS version;
SELECT es_append('order-1', '[{"type": "LineAdded"}, {"type": "LineAdded"}, {"type": "LineAdded"}]', 1) AS version;
SELECT es_append('order-1', '[{"type": "OrderShipped"}]') AS version;
SELECT es_append(key => 'order-2', events => '[{"type": "OrderPlaced"}]', allow_create => true) AS version;
SELECT es_version('order-1'), es_version('order-2'), es_version('order-3');

-- es_try_append returns the version, the positions and the time.
SELECT entry, key, status, version,
	   first_position > (SELECT max(position) FROM es_read('order-1')) AS after_order_1,
	   last_position - first_position AS span,
	   recorded_at BETWEEN transaction_timestamp() AND clock_timestamp() AS recorded_now
FROM es_try_append('order-3', '[{"type": "OrderPlaced"}, {"type": "LineAdded"}]', 0);
CREATE TEMPORARY TABLE result AS
	SELECT * FROM es_try_append('order-3', '[{"type": "LineAdded"}, {"type": "LineAdded"}, {"type": "OrderShipped"}]', 2);
SELECT r.entry, r.key, r.status, r.version,
	   array_agg(e.version ORDER BY e.position) AS versions,
	   min(e.position) = r.first_position AS first_position_is_stored,
	   max(e.position) = r.last_position AS last_position_is_stored,
	   bool_and(e.recorded_at = r.recorded_at) AS recorded_at_is_stored
FROM result AS r JOIN es_read('order-3', 3) AS e USING (key)
GROUP BY r.entry, r.key, r.status, r.version, r.first_position, r.last_position, r.recorded_at;

-- A refused append returns the actual version and nothing else.
SELECT * FROM es_try_append('order-3', '[{"type": "OrderPlaced"}]', 0);
SELECT * FROM es_try_append('order-3', '[{"type": "OrderPlaced"}]', 6, true);
SELECT * FROM es_try_append('order-4', '[{"type": "OrderPlaced"}]');
SELECT * FROM es_try_append('order-4', '[{"type": "OrderPlaced"}]', 1, true);

-- Positions are unique in the store, and ascend with the version and with the order of the appends.
SELECT key, version, type, rank() OVER (ORDER BY position)
FROM t_append_result.es_events
ORDER BY position;

-- The version of an aggregate counts its events; the first one has version 1.
SELECT a.key, a.version, a.first_version, a.closed_at, count(e.version) AS events, min(e.version), max(e.version)
FROM t_append_result.es_aggregates AS a JOIN t_append_result.es_events AS e USING (key)
GROUP BY a.key, a.version, a.first_version, a.closed_at
ORDER BY a.key;

DROP TABLE result;
SELECT es_drop_store('t_append_result');
RESET ROLE;
DROP SCHEMA t_append_result;
DROP ROLE regress_es_append_result;
