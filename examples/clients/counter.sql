-- Read, decide, append, and again after a conflict: in PL/pgSQL.
--
--     psql -v key=KEY -v attempts=ATTEMPTS -f counter.sql
--
-- increments the counter KEY once.  counter.sh beside this file does so in several sessions,
-- and again and again.
--
-- A procedure that ends transactions: above READ COMMITTED only a new transaction sees what
-- others have committed meanwhile.  So call it outside of a transaction block, and not from
-- a function.  Under READ COMMITTED, where each statement has a snapshot of its own, a
-- function does as well, without the two ROLLBACKs.

CREATE FUNCTION pg_temp.describe(sqlstate text, detail text) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	conflict jsonb;
BEGIN
	IF sqlstate <> 'VE001' THEN
		RETURN 'conflict: SQLSTATE ' || sqlstate;
	END IF;
	-- The facts of a conflict are in DETAIL, as JSON.
	conflict := detail::jsonb->'conflicts'->0;
	RETURN format('conflict: expected version %s, actual %s', conflict->'expected', conflict->'actual');
END
$$;

CREATE PROCEDURE pg_temp.increment(key text, attempts integer DEFAULT 10, INOUT version bigint DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	last_version bigint;
	last_value bigint;
	detail text;
BEGIN
	FOR attempt IN 1..attempts LOOP
		-- This block is a subtransaction: after a conflict all is undone and unlocked that the
		-- attempt has done.  But the transaction and its snapshot go on.
		BEGIN
			SELECT e.version, e.data->>'value' INTO last_version, last_value
			FROM es_read(key, max_count => 1, backwards => true) AS e;

			-- The decision: it is wrong, and not only late, if the events are old.
			version := es_append(key, jsonb_build_array(jsonb_build_object(
				'type', 'incremented', 'data', jsonb_build_object('value', coalesce(last_value, 0) + 1))),
				coalesce(last_version, 0));
			RETURN;			-- and the statement CALL commits

		-- VE001 is ours: decide again.  The others are PostgreSQL's own for "start again".
		EXCEPTION WHEN SQLSTATE 'VE001' OR serialization_failure OR deadlock_detected THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
			IF attempt = attempts THEN
				RAISE NOTICE 'gives up: %', pg_temp.describe(SQLSTATE, detail);
				RAISE;
			END IF;
			RAISE NOTICE '%', pg_temp.describe(SQLSTATE, detail);
		END;

		-- Not in the block, since a transaction cannot end inside of a subtransaction.
		ROLLBACK;
		PERFORM pg_sleep(random() * least(1, 0.005 * 2 ^ attempt));
		-- Once more: above READ COMMITTED, the sleep has fixed what its transaction sees.
		ROLLBACK;
	END LOOP;
END
$$;

CALL pg_temp.increment(:'key', :attempts);
