-- How to test a decider with pgTAP: given what has happened, when it is asked to
-- do something, then these are the new events, or this is the refusal.
--
-- Copy this file, put your own decider in the place of the example, and run it:
--
--     pg_prove -d mydatabase test/decider.sql
--
-- Everything happens in a transaction that is rolled back, in a store of its own.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS eventstore;
SELECT es_create_store('test_decider');
SET LOCAL eventstore.store = 'test_decider';

-- The example: orders.  State is what the decider has to know, folded from the history.
CREATE TYPE test_decider.order_state AS (status text, total numeric);

CREATE FUNCTION test_decider.order_evolve(state test_decider.order_state, event es_event)
RETURNS test_decider.order_state
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
	CASE event.type
		WHEN 'OrderPlaced' THEN
			state := ROW('open', 0);
		WHEN 'LineAdded' THEN
			state.total := state.total + (event.data ->> 'price')::numeric * (event.data ->> 'quantity')::integer;
		WHEN 'OrderPaid' THEN
			state.status := 'paid';
		WHEN 'OrderCancelled' THEN
			state.status := 'cancelled';
		ELSE
			-- An event that does not matter here.
	END CASE;
	RETURN state;
END
$$;

CREATE AGGREGATE test_decider.order_state(es_event) (
	SFUNC = test_decider.order_evolve, STYPE = test_decider.order_state, INITCOND = '(none,0)'
);

-- The decider: from what happened up to this version, and a command, to the events that follow.
CREATE FUNCTION test_decider.order_decide(key text, version bigint, command jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	state test_decider.order_state;
BEGIN
	-- No events yet: the aggregate function returns its initial state.
	state := (SELECT test_decider.order_state(e ORDER BY e.version) FROM es_read(key, 1, order_decide.version) AS e);
	CASE command ->> 'do'
		WHEN 'place' THEN
			IF state.status <> 'none' THEN
				RAISE EXCEPTION 'the order was placed before' USING ERRCODE = 'OR001';
			END IF;
			RETURN jsonb_build_array(jsonb_build_object('type', 'OrderPlaced', 'data', command - 'do'));
		WHEN 'add' THEN
			IF state.status <> 'open' THEN
				RAISE EXCEPTION 'the order is not open' USING ERRCODE = 'OR002';
			END IF;
			RETURN jsonb_build_array(jsonb_build_object('type', 'LineAdded', 'data', command - 'do'));
		WHEN 'pay' THEN
			IF state.status = 'paid' THEN
				RETURN '[]';
			END IF;
			IF state.status <> 'open' OR state.total = 0 THEN
				RAISE EXCEPTION 'there is nothing to pay' USING ERRCODE = 'OR003';
			END IF;
			RETURN jsonb_build_array(
				jsonb_build_object('type', 'OrderPaid', 'data', jsonb_build_object('amount', state.total)),
				jsonb_build_object('type', 'ShipmentRequested'));
		ELSE
			RAISE EXCEPTION 'unknown command %', command USING ERRCODE = 'OR000';
	END CASE;
END
$$;

-- The handler that the application calls: read the version, decide, append at that version.
CREATE FUNCTION test_decider.order_handle(key text, command jsonb, request_id text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	version constant bigint := es_version(key);
	events constant jsonb := test_decider.order_decide(key, version, command);
BEGIN
	IF events = '[]' THEN
		RETURN version;
	END IF;
	RETURN es_append(key, events, version, request_id => request_id);
END
$$;

-- Types and data of an aggregate's events, to compare with what was expected.
CREATE FUNCTION test_decider.history(key text)
RETURNS TABLE (type text, data jsonb)
LANGUAGE sql
AS $$ SELECT type, data FROM es_read(history.key) ORDER BY version $$;

SELECT plan(17);

-- The decider alone: nothing is appended.
SELECT is(
	test_decider.order_decide('order-1', 0, '{"do": "place", "customer": 7}'),
	'[{"type": "OrderPlaced", "data": {"customer": 7}}]',
	'given nothing, when placing an order, then it is placed');

SELECT throws_ok(
	$$ SELECT test_decider.order_decide('order-1', 0, '{"do": "add", "sku": "A-1", "price": 5, "quantity": 2}') $$,
	'OR002', 'the order is not open',
	'given nothing, when adding a line, then it is refused');

SELECT throws_ok(
	$$ SELECT test_decider.order_decide('order-1', 0, '{"do": "dance"}') $$,
	'OR000', NULL,
	'an unknown command is refused');

-- Given: what has happened is appended, as the application would have done.
SELECT es_append('order-2', '[
	{"type": "OrderPlaced", "data": {"customer": 7}},
	{"type": "LineAdded", "data": {"sku": "A-1", "price": 5, "quantity": 2}},
	{"type": "LineAdded", "data": {"sku": "B-2", "price": 2.5, "quantity": 1}}]', 0);

SELECT is(
	test_decider.order_decide('order-2', 3, '{"do": "pay"}'),
	'[{"type": "OrderPaid", "data": {"amount": 12.5}}, {"type": "ShipmentRequested"}]',
	'given two lines, when paying, then the sum is paid and the shipment requested');

SELECT throws_ok(
	$$ SELECT test_decider.order_decide('order-2', 1, '{"do": "pay"}') $$,
	'OR003', 'there is nothing to pay',
	'given only the first event, when paying, then there is nothing to pay');

SELECT throws_ok(
	$$ SELECT test_decider.order_decide('order-2', 3, '{"do": "place"}') $$,
	'OR001', 'the order was placed before',
	'given an order, when placing it again, then it is refused');

SELECT es_append('order-2', '[{"type": "OrderCancelled"}]', 3);

SELECT throws_ok(
	$$ SELECT test_decider.order_decide('order-2', 4, '{"do": "pay"}') $$,
	'OR003', 'there is nothing to pay',
	'given a cancelled order, when paying, then there is nothing to pay');

-- The handler: then the events are in the store.
SELECT is(test_decider.order_handle('order-3', '{"do": "place", "customer": 7}'), 1::bigint, 'placing returns version 1');
SELECT is(test_decider.order_handle('order-3', '{"do": "add", "sku": "A-1", "price": 5, "quantity": 2}'), 2::bigint, 'adding returns version 2');
SELECT is(test_decider.order_handle('order-3', '{"do": "pay"}', 'payment-1'), 4::bigint, 'paying returns version 4');
SELECT results_eq(
	$$ SELECT * FROM test_decider.history('order-3') $$,
	$$ VALUES ('OrderPlaced', '{"customer": 7}'::jsonb),
			  ('LineAdded', '{"sku": "A-1", "price": 5, "quantity": 2}'),
			  ('OrderPaid', '{"amount": 10}'),
			  ('ShipmentRequested', NULL) $$,
	'then the events are there, in order');

-- Nothing to decide, nothing to append.
SELECT is(test_decider.order_handle('order-3', '{"do": "pay"}'), 4::bigint, 'paying again changes nothing');
SELECT is(es_version('order-3'), 4::bigint, 'then the version is the same');

-- A conflict: two have read the same version, and one of them was faster.
SELECT throws_ok(
	$$ SELECT es_append('order-3', test_decider.order_decide('order-3', 2, '{"do": "add", "sku": "B-2", "price": 1, "quantity": 1}'), 2) $$,
	'VE001', 'aggregate "order-3" is at version 4, not at the expected version 2',
	'given another''s payment, when appending what was decided before it, then it is a version conflict');
SELECT throws_ok(
	$$ SELECT test_decider.order_handle('order-3', '{"do": "add", "sku": "B-2", "price": 1, "quantity": 1}') $$,
	'OR002', 'the order is not open',
	'when deciding again on what is there now, then the line is refused');

-- A repeated request: the network lost the answer, and the client sends it again.
SELECT is(
	(SELECT status FROM es_try_append('order-3', '[{"type": "OrderPaid", "data": {"amount": 10}}, {"type": "ShipmentRequested"}]', 2, request_id => 'payment-1')),
	'repeated',
	'given a payment that landed, when it is sent again, then it is a repeat');
SELECT is((SELECT count(*) FROM test_decider.history('order-3') WHERE type = 'OrderPaid'), 1::bigint, 'then the order was paid once');

SELECT * FROM finish();
ROLLBACK;
