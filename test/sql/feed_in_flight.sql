-- es_in_flight shows the transactions that have appended and are still open: here the session's own.
SET client_min_messages = warning;
SELECT es_create_store('t_feed_in_flight');
SELECT es_create_store('t_feed_in_flight_2');
SET eventstore.store = 't_feed_in_flight';
CREATE VIEW pg_temp.flights AS
SELECT store, bound, pid = pg_backend_pid() AS own_process, gid, since = transaction_timestamp() AS this_transaction, role = session_user AS own_role,
	   application_name = current_setting('application_name') AS own_application, state
FROM es_in_flight WHERE store ~ '^t_feed_in_flight';

SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT * FROM pg_temp.flights;

BEGIN;
-- Reading, locking and refusals do not count.
SELECT count(*) FROM es_read_all();
SELECT * FROM es_lock(ARRAY['order-1', 'order-2']);
SELECT status FROM es_try_append('order-1', '[{"type": "Shipped"}]', 7);
SELECT status FROM es_append_many('[{"key": "order-1", "expected_version": 2}]');
SELECT * FROM pg_temp.flights;
SAVEPOINT a;
SELECT es_append('order-1', '[{"type": "Shipped"}]', 2);
SELECT * FROM pg_temp.flights;
-- The bound stays that of the first append.
SELECT es_append('order-1', '[{"type": "Delivered"}]', 3);
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT store, bound FROM pg_temp.flights;
-- A savepoint that is rolled back ends it, and the next append begins anew.
ROLLBACK TO a;
SELECT store, bound FROM pg_temp.flights;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0);
SELECT store, bound FROM pg_temp.flights;
-- A savepoint that is released, or rolled back later, does not.
SAVEPOINT b;
SELECT es_append('order-2', '[{"type": "Paid"}]', 1);
RELEASE b;
SAVEPOINT c;
SELECT es_append('order-2', '[{"type": "Shipped"}]', 2);
ROLLBACK TO c;
SELECT store, bound FROM pg_temp.flights;
COMMIT;
SELECT store, bound FROM pg_temp.flights;

-- A repeated request draws no position.
SELECT es_append('order-3', '[{"type": "Placed"}]', 0, request_id => 'r');
BEGIN;
SELECT es_append('order-3', '[{"type": "Placed"}]', 0, request_id => 'r');
SELECT store, bound FROM pg_temp.flights;
COMMIT;

-- Every store of the database, each with its own positions.
BEGIN;
SELECT es_append('order-3', '[{"type": "Paid"}]', 1);
SET LOCAL eventstore.store = 't_feed_in_flight_2';
SELECT es_append('order-3', '[{"type": "Placed"}]', 0);
SELECT store, bound FROM pg_temp.flights ORDER BY store;
ROLLBACK;
SELECT store, bound FROM pg_temp.flights;

-- Bounds beyond 32 bits.
SELECT setval('t_feed_in_flight.es_position_seq', 4294967295);
BEGIN;
SELECT es_append('order-4', '[{"type": "Placed"}]', 0);
SELECT store, bound, es_horizon() FROM pg_temp.flights;
COMMIT;
SELECT setval('t_feed_in_flight.es_position_seq', 9007199254740993);
BEGIN;
SELECT es_append('order-4', '[{"type": "Paid"}]', 1);
SELECT store, bound, es_horizon() FROM pg_temp.flights;
COMMIT;
SELECT position FROM es_read_all(9);

-- Whoever may connect may look, whatever rights he has on which store.
CREATE ROLE regress_es_feed_in_flight;
SELECT es_grant('regress_es_feed_in_flight', 'reader', 't_feed_in_flight_2');
BEGIN;
SELECT es_append('order-4', '[{"type": "Shipped"}]', 2);
SET LOCAL eventstore.store = 't_feed_in_flight_2';
SELECT es_append('order-4', '[{"type": "Placed"}]', 0);
SET LOCAL ROLE regress_es_feed_in_flight;
SELECT store FROM es_in_flight WHERE store ~ '^t_feed_in_flight' ORDER BY store;
ROLLBACK;

SELECT es_drop_store('t_feed_in_flight'), es_drop_store('t_feed_in_flight_2');
DROP SCHEMA t_feed_in_flight, t_feed_in_flight_2;
DROP ROLE regress_es_feed_in_flight;
DROP VIEW pg_temp.flights;
