-- Wait for the other writers, so that all start together.
INSERT INTO arrived VALUES (:writer);
SET demo.writers = :writers;
DO $$
BEGIN
	FOR i IN 1..1000 LOOP
		EXIT WHEN (SELECT count(*) FROM arrived) = current_setting('demo.writers')::bigint;
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;

-- Different block sizes, so that the writers do not ask for the same slices.
CALL record_log(:writer, 20 + 17 * :writer);
