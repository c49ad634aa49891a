-- The insert with a known version, and a trigger that tells listeners.

\ir ../hand-insert/tables.sql
CREATE FUNCTION tell() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_notify('events', NEW.position::text);
	RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell();
