-- A function that reads the aggregate's row, inserts, and writes the version back; the unique
-- key refuses the second of two.  Events refer to the aggregate.

\ir ../hand-insert/tables.sql
CREATE TABLE aggregates (key text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, changed_at timestamptz NOT NULL DEFAULT now());
INSERT INTO aggregates (key, version) SELECT key, max(version) FROM events GROUP BY key;
ALTER TABLE events ADD FOREIGN KEY (key) REFERENCES aggregates;
CREATE FUNCTION append(p_key text, p_type text, p_data jsonb, p_expected bigint) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	current_version bigint;
BEGIN
	SELECT version INTO current_version FROM aggregates WHERE key = p_key;
	IF current_version IS DISTINCT FROM p_expected THEN
		RAISE EXCEPTION 'wrong expected version % of "%", which is at %', p_expected, p_key, current_version;
	END IF;
	INSERT INTO events (key, version, type, data) VALUES (p_key, current_version + 1, p_type, p_data);
	UPDATE aggregates SET version = current_version + 1, changed_at = now() WHERE key = p_key;
	RETURN current_version + 1;
END
$$;
\ir ../aggregates.sql
