-- One appends to a category at a time; the version is the highest stored one.  Events are
-- read by category, and a unique id tells those that were sent before.

\ir ../hand-insert/tables.sql
ALTER TABLE events ADD id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE;
CREATE INDEX ON events (split_part(key, '-', 1), position);
CREATE FUNCTION append(p_key text, p_type text, p_data jsonb, p_expected bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	current_version bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended(split_part(p_key, '-', 1), 0));
	SELECT coalesce(max(version), 0) INTO current_version FROM events WHERE key = p_key;
	IF current_version <> p_expected THEN
		RAISE EXCEPTION 'wrong expected version % of "%", which is at %', p_expected, p_key, current_version;
	END IF;
	INSERT INTO events (key, version, type, data) VALUES (p_key, current_version + 1, p_type, p_data);
	RETURN current_version + 1;
END
$$;

-- The same with all aggregates in one category.
CREATE FUNCTION append_in_one(p_key text, p_type text, p_data jsonb, p_expected bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(1);
	RETURN append(p_key, p_type, p_data, p_expected);
END
$$;
