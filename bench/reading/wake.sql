-- From commit to woken reader, both sides inside the server, so that no client's
-- round trip is in the figures.

CREATE TABLE commits (position bigint, began timestamptz, returned timestamptz);
CREATE TABLE wakings (horizon bigint, woken timestamptz);

CREATE PROCEDURE append_now_and_then(appends integer, events jsonb)
LANGUAGE plpgsql
AS $$
DECLARE
	result es_append_result;
	positions bigint[];
	began timestamptz[];
	returned timestamptz[];
BEGIN
	FOR i IN 1 .. appends LOOP
		PERFORM pg_sleep(0.02);
		COMMIT;
		result := es_try_append((7000000000000000 + i)::text, events);
		positions := positions || result.last_position;
		began := began || clock_timestamp();
		COMMIT;
		returned := returned || clock_timestamp();
	END LOOP;
	INSERT INTO commits SELECT * FROM unnest(positions, began, returned);
END
$$;

CREATE PROCEDURE follow(events integer)
LANGUAGE plpgsql
AS $$
DECLARE
	horizon bigint := es_horizon();
	up_to bigint := horizon + events;
	horizons bigint[];
	woken timestamptz[];
BEGIN
	WHILE horizon < up_to LOOP
		CALL es_wait(horizon, '10 seconds', horizon);
		woken := woken || clock_timestamp();
		horizons := horizons || horizon;
	END LOOP;
	INSERT INTO wakings SELECT * FROM unnest(horizons, woken);
END
$$;

-- An idle subscriber: until it is cancelled.
CREATE PROCEDURE follow_for_ever()
LANGUAGE plpgsql
AS $$
DECLARE
	horizon bigint := es_horizon();
BEGIN
	LOOP
		CALL es_wait(horizon, '1 hour', horizon);
	END LOOP;
END
$$;

CREATE VIEW wake_times AS
SELECT 1000 * extract(epoch FROM c.returned - c.began) AS commit_ms,
	1000 * extract(epoch FROM w.woken - c.began) AS from_commit_begun_ms,
	1000 * extract(epoch FROM w.woken - c.returned) AS from_commit_done_ms
FROM commits AS c, LATERAL (SELECT min(woken) AS woken FROM wakings WHERE horizon >= c.position) AS w;
