# Readers of the global log, and what they need in their database (schema "feed").
#
# Readers are procedures in the server.  What they were given is in tables, written in
# the transaction that moves their cursor, so at any moment an event that is visible and
# at or below a reader's cursor, but not among what it was given, is missed for good.

package EventstoreReaders;

use strict;
use warnings;

our $SETUP = q(
CREATE SCHEMA feed;

-- 0: go on; 1: no more appends; 2: nothing will come any more.
CREATE TABLE feed.control (phase integer);
INSERT INTO feed.control VALUES (0);
CREATE FUNCTION feed.phase() RETURNS integer LANGUAGE sql AS 'SELECT phase FROM feed.control';

CREATE TABLE feed.complaints (who text, what text);
CREATE TABLE feed.other (x integer);

-- ---- readers ----

CREATE TABLE feed.cursors (reader text PRIMARY KEY, position bigint NOT NULL, filtered boolean NOT NULL);
CREATE TABLE feed.seen (n bigserial, reader text, position bigint, key text, version bigint);
CREATE INDEX ON feed.seen (reader, position);

-- What the filtered reader asks for, and the same without our functions.
CREATE FUNCTION feed.query() RETURNS jsonb LANGUAGE sql IMMUTABLE
AS $$ SELECT '[{"types": ["t1", "t2"], "categories": ["hot"]}, {"tags": ["x"]}]'::jsonb $$;
CREATE FUNCTION feed.wanted(type text, key text, tags text[]) RETURNS boolean LANGUAGE sql IMMUTABLE
AS $$ SELECT type IN ('t1', 't2') AND key LIKE 'hot-%' OR coalesce('x' = ANY (tags), false) $$;

-- Let some time pass, in the midst of a statement whose snapshot is taken.
CREATE FUNCTION feed.dawdle() RETURNS bigint LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_sleep(random() * nullif(current_setting('feed.dawdle', true), '')::float);
	RETURN 0;
END $$;

-- One page; returns how many events it had.
CREATE FUNCTION feed.read_page(me text, page integer, filtered boolean) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
	last bigint;
	upto bigint;
	found_rows bigint;
	final bigint;
BEGIN
	SELECT position INTO last FROM feed.cursors WHERE reader = me;
	IF filtered THEN
		upto := es_horizon();
	END IF;
	WITH given AS (
		INSERT INTO feed.seen (reader, position, key, version)
		SELECT me, position, key, version
		FROM es_read_all(last + feed.dawdle(), page, CASE WHEN filtered THEN feed.query() END, upto)
		RETURNING position)
	SELECT count(*), max(position) INTO found_rows, final FROM given;
	-- The horizon may be lower than it was: a cursor never goes back.
	last := greatest(last, final, CASE WHEN found_rows < page THEN upto END);
	UPDATE feed.cursors SET position = last WHERE reader = me;
	RETURN found_rows;
END $$;

-- kind: poll, filter or wait.
CREATE PROCEDURE feed.read_log(me text, kind text, page integer) LANGUAGE plpgsql
AS $$
DECLARE
	horizon bigint;
	complete boolean;
	found_rows bigint;
BEGIN
	INSERT INTO feed.cursors VALUES (me, 0, kind = 'filter');
	COMMIT;
	LOOP
		complete := feed.phase() = 2 AND es_horizon() >= (SELECT max(position) FROM es_events);
		COMMIT;
		IF kind = 'wait' AND NOT complete THEN
			SELECT position INTO horizon FROM feed.cursors WHERE reader = me;
			CALL es_wait(horizon, '100 ms', horizon);
		END IF;
		found_rows := feed.read_page(me, page, kind = 'filter');
		COMMIT;
		EXIT WHEN complete AND found_rows = 0;
		IF found_rows = 0 AND kind <> 'wait' THEN
			PERFORM pg_sleep(0.001);
			COMMIT;
		END IF;
	END LOOP;
END $$;

-- Events that readers have passed without being given them.  The cursor is read first.
CREATE FUNCTION feed.missed() RETURNS bigint LANGUAGE plpgsql
SET enable_nestloop = off
AS $$
DECLARE
	c record;
	total bigint := 0;
BEGIN
	FOR c IN SELECT * FROM feed.cursors LOOP
		total := total + (
			SELECT count(*) FROM es_events e
				LEFT JOIN (SELECT position FROM feed.seen WHERE reader = c.reader) s ON s.position = e.position
			WHERE e.position <= c.position AND s.position IS NULL AND (NOT c.filtered OR feed.wanted(e.type, e.key, e.tags)));
	END LOOP;
	RETURN total;
END $$;

-- ---- consumers of subscriptions ----

CREATE TABLE feed.projection (subscription text, key text, events bigint, version bigint, position bigint,
	PRIMARY KEY (subscription, key));
CREATE TABLE feed.outside (subscription text, position bigint, key text, version bigint, times integer DEFAULT 1,
	n bigserial, PRIMARY KEY (subscription, position));
CREATE TABLE feed.terminated (who text);
CREATE TABLE feed.fenced (who text);

CREATE FUNCTION feed.consumed(mine text) RETURNS boolean LANGUAGE sql
AS $$ SELECT feed.phase() = 2 AND (SELECT min(position) FROM es_subscriptions WHERE subscription = mine)
		>= (SELECT max(position) FROM es_events) $$;

-- Projects in the transaction that advances.
CREATE PROCEDURE feed.project(mine text, page integer) LANGUAGE plpgsql
AS $$
DECLARE
	e record;
	claimed boolean;
	complete boolean;
BEGIN
	LOOP
		complete := feed.consumed(mine);
		COMMIT;
		claimed := false;
		FOR e IN SELECT * FROM es_fetch(mine, page) LOOP
			claimed := true;
			CONTINUE WHEN e.position IS NULL;
			IF e.position <= e.from_position OR e.position > e.to_position THEN
				INSERT INTO feed.complaints VALUES (mine, format('position %s is not from %s to %s', e.position, e.from_position, e.to_position));
			END IF;
			INSERT INTO feed.projection AS p VALUES (mine, e.key, 1, e.version, e.position)
			ON CONFLICT (subscription, key) DO UPDATE
			SET events = p.events + 1, version = excluded.version, position = excluded.position
			WHERE p.version = excluded.version - 1 AND p.position < excluded.position;
			IF NOT FOUND THEN
				INSERT INTO feed.complaints VALUES (mine, format('%s version %s at position %s is not the next', e.key, e.version, e.position));
			END IF;
		END LOOP;
		IF claimed THEN
			PERFORM pg_sleep(random() * 0.004);
			PERFORM es_advance(mine, e.partition, e.from_position, e.to_position);
		ELSE
			PERFORM pg_sleep(0.005);
		END IF;
		COMMIT;
		EXIT WHEN complete;
	END LOOP;
END $$;

-- Handles between two transactions, under a lease that is sometimes too short.
CREATE PROCEDURE feed.handle_outside(mine text, page integer) LANGUAGE plpgsql
AS $$
DECLARE
	batch record;
	complete boolean;
BEGIN
	LOOP
		complete := feed.consumed(mine);
		COMMIT;
		SELECT partition, from_position, to_position, epoch, array_agg(position) AS positions, array_agg(key) AS keys, array_agg(version) AS versions
		INTO batch FROM es_fetch(mine, page, '150 ms') GROUP BY 1, 2, 3, 4;
		COMMIT;
		IF batch.partition IS NULL THEN
			PERFORM pg_sleep(0.01);
		ELSE
			PERFORM pg_sleep(CASE WHEN random() < 0.05 THEN 0.3 ELSE 0.002 END);
			INSERT INTO feed.outside AS o (subscription, position, key, version)
			SELECT mine, u.position, u.key, u.version
			FROM unnest(batch.positions, batch.keys, batch.versions) AS u (position, key, version) WHERE u.position IS NOT NULL
			ON CONFLICT (subscription, position) DO UPDATE SET times = o.times + 1;
			COMMIT;
			BEGIN
				PERFORM es_advance(mine, batch.partition, batch.from_position, batch.to_position, batch.epoch);
			EXCEPTION WHEN SQLSTATE 'VE008' THEN
				INSERT INTO feed.fenced VALUES (mine);
			END;
		END IF;
		COMMIT;
		EXIT WHEN complete;
	END LOOP;
END $$;

CREATE PROCEDURE feed.terminate_some(pattern text) LANGUAGE plpgsql
AS $$
BEGIN
	WHILE feed.phase() = 0 LOOP
		COMMIT;
		PERFORM pg_sleep(0.05 + random() * 0.2);
		INSERT INTO feed.terminated
		SELECT application_name
		FROM (SELECT * FROM pg_stat_activity WHERE application_name ~ pattern ORDER BY random() LIMIT 1) AS a
		WHERE pg_terminate_backend(pid);
		COMMIT;
	END LOOP;
END $$;

-- An append in a subtransaction that is given up.
CREATE FUNCTION feed.give_up(key text, events jsonb) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append(key, events, allow_create => true);
	RAISE EXCEPTION USING ERRCODE = 'ES999';
EXCEPTION WHEN SQLSTATE 'ES999' THEN
	NULL;
END $$;
);

1;
