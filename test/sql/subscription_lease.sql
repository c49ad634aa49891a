-- A lease keeps a partition for a consumer over transactions; each one begins an epoch, which fences the consumer before it.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_lease;
CREATE SCHEMA t_subscription_lease AUTHORIZATION regress_es_subscription_lease;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT detail text, OUT hint text,
								OUT "schema" text, OUT "table" text, OUT "constraint" text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "constraint" = CONSTRAINT_NAME;
END
$$;

SET ROLE regress_es_subscription_lease;
SELECT es_create_store('t_subscription_lease');
SET eventstore.store = 't_subscription_lease';
SELECT es_append('order-' || n, '[{"type": "A"}, {"type": "B"}]', 0) FROM generate_series(1, 4) AS n;
SELECT es_create_subscription('s', partitions => 2);

-- Each fetch with a lease claims another partition, until none is free.
SELECT partition, epoch, count(*) FROM es_fetch('s', 10, '1 hour') GROUP BY partition, epoch;
SELECT partition, epoch, count(*) FROM es_fetch('s', 10, '1 hour') GROUP BY partition, epoch;
SELECT count(*) FROM es_fetch('s', 10, '1 hour');
SELECT count(*) FROM es_fetch('s');
SELECT partition, position, epoch, claimed_by IS NOT NULL AS claimed, claimed_until > now() AS running FROM es_subscription_status;

-- Advancing gives up the claim, also when it goes nowhere.
SELECT es_advance('s', 1, 0, 0, 1);
SELECT partition, position, epoch, claimed_by IS NOT NULL AS claimed, claimed_until IS NOT NULL AS until FROM es_subscription_status;
SELECT partition, from_position, epoch FROM es_fetch('s', 1);
SELECT partition, from_position, epoch FROM es_fetch('s', 1, '1 hour');
SELECT es_advance('s', 1, 0, 8, 2);
SELECT es_advance('s', 0, 0, 8, 1);
SELECT partition, position, lag, epoch FROM es_subscription_status;
SELECT from_position, to_position, type FROM es_fetch('s', 1, '1 hour');
SELECT es_reset_subscription('s', 8);

-- A lease that is over (this one at once) leaves the partition to the next one; who was too slow is told.
SELECT es_create_subscription('slow');
SELECT from_position, to_position, epoch, count(*) FROM es_fetch('slow', 3, '1 microsecond') GROUP BY 1, 2, 3;
SELECT claimed_by IS NOT NULL AS claimed, claimed_until > now() AS running FROM es_subscription_status WHERE subscription = 'slow';
SELECT from_position, to_position, epoch, count(*) FROM es_fetch('slow', 3, '1 hour') GROUP BY 1, 2, 3;
SELECT code, message FROM pg_temp.refusal($$SELECT es_advance('slow', 0, 0, 3, 1)$$);
SELECT es_advance('slow', 0, 0, 3, 2);
SELECT code, message FROM pg_temp.refusal($$SELECT es_advance('slow', 0, 0, 3, 2)$$);
-- As long as nobody took over, he may still advance.
SELECT from_position, to_position, epoch, count(*) FROM es_fetch('slow', 3, '1 microsecond') GROUP BY 1, 2, 3;
SELECT es_advance('slow', 0, 3, 6, 3);

-- A claim that is rolled back did not happen.
BEGIN;
SELECT from_position, epoch FROM es_fetch('slow', 1, '1 hour');
ROLLBACK;
SELECT epoch, claimed_until IS NULL AS free FROM es_subscription_status WHERE subscription = 'slow';

-- Who it is.
SET application_name = 'regress consumer';
SELECT count(*) FROM es_fetch('slow', 1, '1 hour');
SELECT claimed_by LIKE session_user || ' regress consumer%' AS named FROM es_subscription_status WHERE subscription = 'slow';

-- Bad leases.
SELECT code, message FROM pg_temp.refusal($$SELECT es_fetch('s', 1, '0')$$);
SELECT code, message FROM pg_temp.refusal($$SELECT es_fetch('s', 1, '-1 second')$$);

SELECT es_drop_store('t_subscription_lease');
RESET ROLE;
DROP SCHEMA t_subscription_lease;
DROP ROLE regress_es_subscription_lease;
