-- Users' triggers on es_events fire as on any table: that is how an inline projection is written.
SET client_min_messages = warning;
CREATE ROLE regress_es_user_triggers;
CREATE SCHEMA t_user_triggers AUTHORIZATION regress_es_user_triggers;
SET ROLE regress_es_user_triggers;
SELECT es_create_store('t_user_triggers');
SET eventstore.store = 't_user_triggers';
CREATE TABLE t_user_triggers.balances (account text PRIMARY KEY, balance numeric NOT NULL, as_of bigint NOT NULL);
CREATE TABLE t_user_triggers.batches (n serial, events text);

-- A row-level projection.
CREATE FUNCTION t_user_triggers.project()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO t_user_triggers.balances AS b VALUES (NEW.key, (NEW.data ->> 'amount')::numeric, NEW.version)
	ON CONFLICT (account) DO UPDATE SET balance = b.balance + EXCLUDED.balance, as_of = EXCLUDED.as_of;
	RETURN NULL;
END
$$;
CREATE TRIGGER project AFTER INSERT ON t_user_triggers.es_events FOR EACH ROW
	WHEN (es_category(NEW.key) = 'account') EXECUTE FUNCTION t_user_triggers.project();

-- A statement-level trigger with a transition table.
CREATE FUNCTION t_user_triggers.batch()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO t_user_triggers.batches (events)
		SELECT string_agg(format('%s@%s %s', key, version, type), ', ' ORDER BY position) FROM appended;
	RETURN NULL;
END
$$;
CREATE TRIGGER batch AFTER INSERT ON t_user_triggers.es_events REFERENCING NEW TABLE AS appended
	FOR EACH STATEMENT EXECUTE FUNCTION t_user_triggers.batch();

-- Every form of append passes through both.
SELECT es_append('account-1', '[{"type": "Deposited", "data": {"amount": 100}}]', 0);
SELECT es_append('account-1', '[{"type": "Withdrawn", "data": {"amount": -30}}, {"type": "Deposited", "data": {"amount": 5}}]', 1);
SELECT es_append('order-1', '[{"type": "Placed"}]', 0);
SELECT key, status, version FROM es_append_many('[
	{"key": "account-1", "events": [{"type": "Withdrawn", "data": {"amount": -20}}], "expected_version": 3},
	{"key": "account-2", "events": [{"type": "Deposited", "data": {"amount": 20}}], "expected_version": 0}]');
SELECT key, status, version FROM es_append_each('[
	{"key": "account-1", "events": [{"type": "Deposited", "data": {"amount": 1}}], "expected_version": 3},
	{"key": "account-2", "events": [{"type": "Deposited", "data": {"amount": 1}}], "expected_version": 1}]');
SELECT status, version FROM es_try_append('account-2', '[{"type": "Deposited", "data": {"amount": 1}}]', 1);
SELECT es_append('account-3', (SELECT jsonb_agg('{"type": "Deposited", "data": {"amount": 1}}'::jsonb) FROM generate_series(1, 1000)), 0);
SELECT * FROM t_user_triggers.balances ORDER BY account;

-- The transition tables together hold every event once.
SELECT string_agg(CASE WHEN length(events) > 200 THEN 'a long one' ELSE events END, '; ' ORDER BY n) FROM t_user_triggers.batches;
SELECT count(*) AS events, count(*) FILTER (WHERE times = 1) AS seen_once
FROM t_user_triggers.es_events AS e,
	 LATERAL (SELECT count(*) AS times FROM t_user_triggers.batches AS b
			  WHERE ', ' || b.events || ',' LIKE format('%%, %s@%s %s,%%', e.key, e.version, e.type)) AS b;

-- A repeat and a refused append fire nothing.
TRUNCATE t_user_triggers.batches;
SELECT es_append('order-2', '[{"type": "Placed"}]', 0, request_id => 'r-1');
SELECT es_append('order-2', '[{"type": "Placed"}]', 0, request_id => 'r-1');
SELECT status FROM es_try_append('order-2', '[{"type": "Placed"}]', 0);
SELECT status FROM es_append_many('[{"key": "order-2", "expected_version": 1}]');
SELECT events FROM t_user_triggers.batches ORDER BY n;

-- A projection that fails stops the append, with its own error, also where refusals are rows.
\set SHOW_CONTEXT never
SELECT es_append('account-1', '[{"type": "Deposited", "data": {"amount": 1}}, {"type": "Deposited", "data": {"amount": "much"}}]', 4);
SELECT es_try_append('account-1', '[{"type": "Deposited", "data": {"amount": "much"}}]', 4);
SELECT * FROM es_append_each('[{"key": "account-2", "events": [{"type": "Deposited", "data": {"amount": 1}}]},
							   {"key": "account-1", "events": [{"type": "Deposited", "data": {"amount": "much"}}]}]');
SELECT * FROM t_user_triggers.balances ORDER BY account;

-- So does one that raises an error with a code of ours: only the functions' own refusals become rows.
CREATE FUNCTION t_user_triggers.refuse()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	RAISE EXCEPTION 'not on sundays' USING ERRCODE = 'VE001';
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON t_user_triggers.es_events FOR EACH ROW EXECUTE FUNCTION t_user_triggers.refuse();
SELECT es_try_append('account-1', '[{"type": "Deposited", "data": {"amount": 1}}]', 4);
SELECT * FROM es_try_append_many('[{"key": "account-1", "events": [{"type": "Deposited", "data": {"amount": 1}}]}]');
SELECT * FROM es_append_each('[{"key": "account-1", "events": [{"type": "Deposited", "data": {"amount": 1}}]}]');
DROP TRIGGER refuse ON t_user_triggers.es_events;

-- A trigger may complete an event before it is stored.
CREATE FUNCTION t_user_triggers.stamp()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	NEW.metadata := coalesce(NEW.metadata, '{}') || '{"stamped": true}';
	RETURN NEW;
END
$$;
CREATE TRIGGER stamp BEFORE INSERT ON t_user_triggers.es_events FOR EACH ROW EXECUTE FUNCTION t_user_triggers.stamp();
SELECT es_append('order-3', '[{"type": "Placed"}, {"type": "Paid", "metadata": {"user": 7}}]', 0);
SELECT version, metadata FROM es_read('order-3') ORDER BY version;
DROP TRIGGER stamp ON t_user_triggers.es_events;

-- Triggers of the user on es_aggregates fire too.
CREATE FUNCTION t_user_triggers.moved()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	INSERT INTO t_user_triggers.batches (events) VALUES (concat_ws(' ', TG_OP, NEW.key, OLD.version, '->', NEW.version));
	RETURN NULL;
END
$$;
TRUNCATE t_user_triggers.batches;
DROP TRIGGER batch ON t_user_triggers.es_events;
CREATE TRIGGER moved AFTER UPDATE ON t_user_triggers.es_aggregates FOR EACH ROW EXECUTE FUNCTION t_user_triggers.moved();
SELECT es_append('order-3', '[{"type": "Shipped"}, {"type": "Delivered"}]', 2);
SELECT count(*) FROM es_append_many('[{"key": "order-3", "events": [{"type": "Returned"}]}, {"key": "order-3", "expected_version": 5}]');
SELECT events FROM t_user_triggers.batches ORDER BY n;
DROP TRIGGER moved ON t_user_triggers.es_aggregates;

DROP TABLE t_user_triggers.balances, t_user_triggers.batches;
DROP TRIGGER project ON t_user_triggers.es_events;
DROP FUNCTION t_user_triggers.project, t_user_triggers.batch, t_user_triggers.refuse, t_user_triggers.stamp, t_user_triggers.moved;
SELECT es_drop_store('t_user_triggers');
RESET ROLE;
DROP SCHEMA t_user_triggers;
DROP ROLE regress_es_user_triggers;
