-- Contestant "plpgsql": es_append() as a careful user writes it in PL/pgSQL.

CREATE FUNCTION append_by_hand(p_key text, p_events jsonb, p_expected_version bigint DEFAULT NULL,
							   p_allow_create boolean DEFAULT false, p_request_id text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	new_version bigint;
BEGIN
	UPDATE es_aggregates SET version = version + jsonb_array_length(p_events)
	WHERE key = p_key AND version = p_expected_version AND closed_at IS NULL
	RETURNING version INTO new_version;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'aggregate "%" is not at version %', p_key, p_expected_version;
	END IF;

	INSERT INTO es_events (position, version, recorded_at, id, key, type, data, metadata, request_id)
	SELECT nextval('es_position_seq'), p_expected_version + e.number, clock_timestamp(), gen_random_uuid(),
		p_key, e.value ->> 'type', e.value -> 'data', e.value -> 'metadata', p_request_id
	FROM jsonb_array_elements(p_events) WITH ORDINALITY AS e (value, number);
	RETURN new_version;
END
$$;
