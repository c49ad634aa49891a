-- What an append does to an aggregate that is missing, exists or is closed, for
-- every expected version, with and without allow_create, in each form of append.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_outcomes;
CREATE SCHEMA t_append_outcomes AUTHORIZATION regress_es_append_outcomes;

-- Nothing closes an aggregate yet, so the test does it by hand.
CREATE FUNCTION pg_temp.close_aggregate(k text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET eventstore.allow_direct_writes = on
AS $$
BEGIN
	UPDATE t_append_outcomes.es_aggregates SET closed_at = now() WHERE key = k;
END
$$;

-- Append one event to an aggregate of its own in the given state, and say how it went.
CREATE FUNCTION pg_temp.outcome(form text, state text, expected bigint, allow boolean)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	k constant text := concat_ws('-', state, form, coalesce(expected::text, 'any'), allow);
	event constant jsonb := '[{"type": "Added"}]';
	writes constant jsonb := jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
		'key', k, 'events', event, 'expected_version', expected, 'allow_create', allow)));
	result es_append_result;
	refusals text;
	before bigint;
BEGIN
	IF state <> 'missing' THEN
		PERFORM es_append(k, '[{"type": "Opened"}, {"type": "Added"}]', 0);
	END IF;
	IF state = 'closed' THEN
		PERFORM pg_temp.close_aggregate(k);
	END IF;
	before := es_version(k);

	BEGIN
		IF form = 'es_append' THEN
			result.version := es_append(k, event, expected, allow);
			result.status := 'appended';
		ELSIF form = 'es_try_append' THEN
			result := es_try_append(k, event, expected, allow);
		ELSE
			EXECUTE format('SELECT * FROM %I($1)', form) INTO STRICT result USING writes;
		END IF;
	EXCEPTION
		WHEN SQLSTATE 'VE001' OR SQLSTATE 'VE002' OR SQLSTATE 'VE003' THEN
			GET STACKED DIAGNOSTICS refusals = PG_EXCEPTION_DETAIL;
			result.status := refusals::jsonb #>> '{conflicts,0,status}';
			result.version := refusals::jsonb #>> '{conflicts,0,actual}';
		WHEN invalid_parameter_value THEN
			result.status := SQLSTATE;
	END;

	IF es_version(k) <> before + (result.status = 'appended')::integer
		OR (SELECT count(*) FROM es_read(k)) <> es_version(k)
	THEN
		RETURN format('%s, but the version went from %s to %s', result.status, before, es_version(k));
	END IF;
	RETURN concat_ws(' ', result.status, result.version);
END
$$;

SET ROLE regress_es_append_outcomes;
SELECT es_create_store('t_append_outcomes');
SET eventstore.store = 't_append_outcomes';

-- One row for each case: es_append, and whether the other forms say the same.
SELECT state, expected, allow_create, outcomes[1] AS outcome,
	   outcomes = array_fill(outcomes[1], ARRAY[5]) AS all_forms_agree
FROM (SELECT n, state, expected, allow_create,
			 ARRAY(SELECT pg_temp.outcome(form, state, expected, allow_create)
				   FROM unnest(ARRAY['es_append', 'es_try_append', 'es_append_many',
									 'es_try_append_many', 'es_append_each']) WITH ORDINALITY AS f (form, n)
				   ORDER BY n) AS outcomes
	  FROM (VALUES (1, 'missing'), (2, 'open'), (3, 'closed')) AS s (n, state),
		   (VALUES (NULL::bigint), (-1), (0), (1), (2), (3)) AS e (expected),
		   (VALUES (false), (true)) AS a (allow_create)) AS cases
ORDER BY n, expected NULLS FIRST, allow_create;

SELECT es_drop_store('t_append_outcomes');
RESET ROLE;
DROP SCHEMA t_append_outcomes;
DROP ROLE regress_es_append_outcomes;
