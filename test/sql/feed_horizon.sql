-- es_horizon is the position up to which the log is settled; the caller's own open appends do not hold it back.
SET client_min_messages = warning;
CREATE ROLE regress_es_feed_horizon;
CREATE SCHEMA t_feed_horizon AUTHORIZATION regress_es_feed_horizon;

SET ROLE regress_es_feed_horizon;
SELECT es_create_store('t_feed_horizon');
SET eventstore.store = 't_feed_horizon';
SELECT es_horizon();
SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT es_horizon();
-- A refused append draws no position, one that is rolled back does.
\set VERBOSITY sqlstate
SELECT es_append('order-1', '[{"type": "Shipped"}]', 1);
\set VERBOSITY default
SELECT es_horizon();
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT es_horizon();
SELECT position, type FROM es_read_all(2);
ROLLBACK;
SELECT es_horizon();
SELECT * FROM es_read_all(2);

-- Savepoints.
BEGIN;
SAVEPOINT a;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
ROLLBACK TO a;
SELECT es_horizon(), (SELECT count(*) FROM es_read_all(2)) AS events;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SAVEPOINT b;
SELECT es_append('order-2', '[{"type": "Paid"}]', 1);
RELEASE b;
SELECT es_horizon(), (SELECT count(*) FROM es_read_all(2)) AS events;
COMMIT;
SELECT es_horizon(), (SELECT count(*) FROM es_read_all(2)) AS events;
SELECT position, key, type FROM es_read_all(2);

-- It moves while a cursor or an older snapshot of the same session is open.
BEGIN;
DECLARE c CURSOR FOR SELECT type FROM t_feed_horizon.es_events;
FETCH 1 FROM c;
SELECT es_append('order-2', '[{"type": "Shipped"}]', 2);
SELECT es_horizon(), (SELECT max(position) FROM es_read_all(2)) AS last;
COMMIT;

-- Within one statement that appends, too.
SELECT (SELECT es_append('order-2', '[{"type": "Delivered"}]', 3)) AS version, es_horizon() AS horizon;
SELECT version, ARRAY(SELECT type FROM es_read_all(version + 3)) AS types FROM es_append('order-2', '[{"type": "Returned"}]', 4) AS version;

-- Positions that another sequence user draws by mistake are gaps.
SELECT nextval('t_feed_horizon.es_position_seq');
SELECT es_horizon();
SELECT position, type FROM es_read_all(8);

SELECT es_drop_store('t_feed_horizon');
RESET ROLE;
DROP SCHEMA t_feed_horizon;
DROP ROLE regress_es_feed_horizon;
