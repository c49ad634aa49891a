-- A read model in the same database is exact: fetched, projected and advanced in one transaction, an event counts once or not yet.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_exactly_once;
CREATE SCHEMA t_subscription_exactly_once AUTHORIZATION regress_es_subscription_exactly_once;

SET ROLE regress_es_subscription_exactly_once;
SELECT es_create_store('t_subscription_exactly_once');
SET eventstore.store = 't_subscription_exactly_once';
CREATE TABLE t_subscription_exactly_once.totals (account text PRIMARY KEY, balance numeric NOT NULL, events bigint NOT NULL);
SELECT es_create_subscription('totals', '[{"types": ["Deposited", "Withdrawn"]}]');

CREATE FUNCTION t_subscription_exactly_once.project(max_count integer)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	event record;
	projected bigint := 0;
BEGIN
	FOR event IN SELECT * FROM es_fetch('totals', max_count) LOOP
		CONTINUE WHEN event.position IS NULL;
		INSERT INTO t_subscription_exactly_once.totals AS t VALUES (event.key, (event.data ->> 'amount')::numeric * CASE event.type WHEN 'Deposited' THEN 1 ELSE -1 END, 1)
		ON CONFLICT (account) DO UPDATE SET balance = t.balance + excluded.balance, events = t.events + 1;
		projected := projected + 1;
	END LOOP;
	PERFORM es_advance('totals', event.partition, event.from_position, event.to_position, event.epoch);
	RETURN projected;
END
$$;

SELECT count(es_append('account-' || n % 3, jsonb_build_array(jsonb_build_object('type', CASE WHEN n % 5 = 0 THEN 'Withdrawn' ELSE 'Deposited' END, 'data', jsonb_build_object('amount', n)), '{"type": "Noted"}'::jsonb), NULL, true))
FROM generate_series(1, 20) AS n;

-- A transaction that is given up counts nothing.
BEGIN;
SELECT t_subscription_exactly_once.project(7);
ROLLBACK;
SELECT t_subscription_exactly_once.project(7);
SELECT sum(events) FROM t_subscription_exactly_once.totals;
-- A projection that fails neither: here by a read model that refuses it.
ALTER TABLE t_subscription_exactly_once.totals ADD CHECK (balance < 30);
\set VERBOSITY sqlstate
SELECT t_subscription_exactly_once.project(7);
\set VERBOSITY default
SELECT sum(events) AS events, (SELECT position FROM es_subscription_status) FROM t_subscription_exactly_once.totals;
ALTER TABLE t_subscription_exactly_once.totals DROP CONSTRAINT totals_balance_check;
SELECT t_subscription_exactly_once.project(7), t_subscription_exactly_once.project(7), t_subscription_exactly_once.project(7);

SELECT t.account, t.balance = e.balance AS right_balance, t.events = e.events AS right_count
FROM t_subscription_exactly_once.totals AS t
FULL JOIN (SELECT key AS account, sum((data ->> 'amount')::numeric * CASE type WHEN 'Deposited' THEN 1 ELSE -1 END) AS balance, count(*) AS events
		   FROM t_subscription_exactly_once.es_events WHERE type <> 'Noted' GROUP BY key) AS e USING (account)
ORDER BY account;

-- Built anew.
BEGIN;
TRUNCATE t_subscription_exactly_once.totals;
SELECT es_reset_subscription('totals');
SELECT t_subscription_exactly_once.project(1000);
COMMIT;
SELECT sum(events), (SELECT lag FROM es_subscription_status) FROM t_subscription_exactly_once.totals;

DROP FUNCTION t_subscription_exactly_once.project(integer);
DROP TABLE t_subscription_exactly_once.totals;

SELECT es_drop_store('t_subscription_exactly_once');
RESET ROLE;
DROP SCHEMA t_subscription_exactly_once;
DROP ROLE regress_es_subscription_exactly_once;
