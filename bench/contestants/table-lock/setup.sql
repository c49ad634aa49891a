-- One appends at a time, so that positions come in the order of commits.

\ir ../hand-insert/tables.sql
CREATE FUNCTION append(p_key text, p_type text, p_data jsonb, p_expected bigint) RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
	LOCK TABLE events IN EXCLUSIVE MODE;
	INSERT INTO events (key, version, type, data) VALUES (p_key, p_expected + 1, p_type, p_data);
	RETURN p_expected + 1;
END
$$;
