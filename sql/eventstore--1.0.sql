/* eventstore 1.0 */

\echo Use "CREATE EXTENSION eventstore" to load this file. \quit

-- Whatever somebody has put into the schema before, with a better match, is not called by this script.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Types

CREATE TYPE @extschema@.es_append_result AS (
	entry integer,
	key text,
	status text,
	version bigint,
	first_position bigint,
	last_position bigint,
	recorded_at timestamptz
);

COMMENT ON TYPE @extschema@.es_append_result IS
'Outcome of one entry of an append. status: appended, repeated, checked, not_written, version_conflict, aggregate_not_found, aggregate_closed, condition_failed or request_id_reused. version: after the write (of a repeat: as it was then); of a refusal the actual one.';

CREATE TYPE @extschema@.es_event AS (
	position bigint,
	key text,
	version bigint,
	type text,
	data jsonb,
	metadata jsonb,
	tags text[],
	id uuid,
	recorded_at timestamptz
);

COMMENT ON TYPE @extschema@.es_event IS
'A stored event: its place in the global log, its aggregate and version there, and what was appended.';

-- The append-only guard

CREATE FUNCTION @extschema@.es_guard() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_guard() IS
'Trigger function of a store''s tables: refuses (42501) every change that the functions of eventstore did not make. Not fired with session_replication_role = replica; a superuser can set eventstore.allow_direct_writes.';

CREATE FUNCTION @extschema@.es_make_guards(schema_name name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	guarded text;
BEGIN
	FOREACH guarded IN ARRAY ARRAY['es_aggregates', 'es_events', 'es_tags']
	LOOP
		EXECUTE format('DROP TRIGGER IF EXISTS es_guard ON %I.%I', schema_name, guarded);
		EXECUTE format('CREATE TRIGGER es_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I.%I '
					   'FOR EACH STATEMENT EXECUTE FUNCTION %s.es_guard()', schema_name, guarded, '@extschema@');
	END LOOP;
END
$$;

COMMENT ON FUNCTION @extschema@.es_make_guards(name) IS
'Internal: puts the append-only guard on the tables of a store. Called by es_create_store() and es_upgrade_store().';

CREATE FUNCTION @extschema@.es_make_counters(schema_name name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	counter text[];
BEGIN
	FOREACH counter SLICE 1 IN ARRAY ARRAY[
		['es_conflicts_seq', 'Event store: conflicts so far, for es_stat_store; counts on when a transaction rolls back, and from 0 after a crash'],
		['es_refusals_seq', 'Event store: other refusals so far, for es_stat_store'],
		['es_repeats_seq', 'Event store: repeated requests so far, for es_stat_store']]
	LOOP
		EXECUTE format('CREATE UNLOGGED SEQUENCE IF NOT EXISTS %I.%I AS bigint', schema_name, counter[1]);
		EXECUTE format('COMMENT ON SEQUENCE %I.%I IS %L', schema_name, counter[1], counter[2]);
		EXECUTE format('REVOKE ALL ON SEQUENCE %I.%I FROM PUBLIC', schema_name, counter[1]);
	END LOOP;
END
$$;

COMMENT ON FUNCTION @extschema@.es_make_counters(name) IS
'Internal: makes the sequences in which a store counts what leaves no row behind. Called by es_create_store() and es_upgrade_store().';

-- Stores

CREATE FUNCTION @extschema@.es_create_store(schema_name name DEFAULT current_schema, if_not_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation text;
BEGIN
	IF schema_name IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'no schema to create an event store in',
			HINT = 'Pass the name of a schema, or set search_path.';
	END IF;
	IF if_not_exists IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'argument "if_not_exists" must not be null';
	END IF;
	-- One at a time for a schema: the second to come finds what the first has made.
	PERFORM pg_advisory_xact_lock(hashtextextended('es_create_store ' || schema_name, 0));
	IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = schema_name) THEN
		EXECUTE format('CREATE SCHEMA %I', schema_name);
		EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', schema_name);
	ELSIF to_regclass(format('%I.es_store', schema_name)) IS NOT NULL THEN
		IF if_not_exists THEN
			PERFORM @extschema@.es_require_store(schema_name);
			RETURN;
		END IF;
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_table',
			MESSAGE = format('schema "%s" already holds an event store', schema_name),
			HINT = 'Pass if_not_exists => true if that is fine.',
			SCHEMA = schema_name, TABLE = 'es_store';
	END IF;

	-- The pages of es_aggregates keep room for the next version of each row, so that an append need not touch its index.
	EXECUTE format($sql$
		CREATE TABLE %1$I.es_aggregates (
			key text COLLATE "C" NOT NULL,
			version bigint NOT NULL,
			first_version bigint NOT NULL DEFAULT 1,
			closed_at timestamptz,
			CONSTRAINT es_aggregates_pkey PRIMARY KEY (key) WITH (fillfactor = 90)
		) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
		$sql$, schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_aggregates IS %L', schema_name,
		'Event store: one row per aggregate with its version, the number of events ever appended to it. Changed by es_append() and its like only.');
	EXECUTE format('COMMENT ON COLUMN %I.es_aggregates.key IS %L', schema_name, 'The aggregate, 1 to 512 bytes; its category is the part before the first "-"');
	EXECUTE format('COMMENT ON COLUMN %I.es_aggregates.version IS %L', schema_name, 'Version of its last event');
	EXECUTE format('COMMENT ON COLUMN %I.es_aggregates.first_version IS %L', schema_name, 'Version of the first event that is still stored');
	EXECUTE format('COMMENT ON COLUMN %I.es_aggregates.closed_at IS %L', schema_name, 'Since when it takes no more events; null while it is open');

	-- Insert-only: vacuum early and little at a time, so that freezing never piles up.
	EXECUTE format($sql$
		CREATE TABLE %1$I.es_events (
			position bigint NOT NULL,
			version bigint NOT NULL,
			recorded_at timestamptz NOT NULL,
			id uuid NOT NULL,
			key text COLLATE "C" NOT NULL,
			type text COLLATE "C" NOT NULL,
			data jsonb,
			metadata jsonb,
			tags text[],
			request_id text COLLATE "C",
			CONSTRAINT es_events_pkey PRIMARY KEY (key, version),
			CONSTRAINT es_events_position_key UNIQUE (position)
		) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
		$sql$, schema_name);
	EXECUTE format('CREATE INDEX es_events_request_idx ON %I.es_events (key, request_id) WHERE request_id IS NOT NULL', schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_events IS %L', schema_name,
		'Event store: the log. Append-only: events come by es_append() and its like, and never change.');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.position IS %L', schema_name, 'Place in the global log: unique and ascending, not gap-free');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.version IS %L', schema_name, 'Place in the aggregate: 1, 2, 3 and so on');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.recorded_at IS %L', schema_name, 'When it was appended');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.id IS %L', schema_name, 'Identifier given by the writer, or a time-ordered one');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.key IS %L', schema_name, 'The aggregate');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.type IS %L', schema_name, 'What kind of event it is');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.data IS %L', schema_name, 'What happened');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.metadata IS %L', schema_name, 'About the event, such as correlation_id and causation_id');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.tags IS %L', schema_name, 'Tags, indexed in es_tags');
	EXECUTE format('COMMENT ON COLUMN %I.es_events.request_id IS %L', schema_name, 'Identifier of the request that appended it, for idempotent retries');

	EXECUTE format($sql$
		CREATE TABLE %1$I.es_tags (
			tag text COLLATE "C" NOT NULL,
			position bigint NOT NULL,
			key text COLLATE "C" NOT NULL,
			version bigint NOT NULL,
			CONSTRAINT es_tags_pkey PRIMARY KEY (tag, position, key)
		) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
		$sql$, schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_tags IS %L', schema_name,
		'Event store: which events carry a tag. Written together with them.');
	EXECUTE format('COMMENT ON COLUMN %I.es_tags.tag IS %L', schema_name, 'The tag');
	EXECUTE format('COMMENT ON COLUMN %I.es_tags.position IS %L', schema_name, 'The event''s place in the global log');
	EXECUTE format('COMMENT ON COLUMN %I.es_tags.key IS %L', schema_name, 'The event''s aggregate');
	EXECUTE format('COMMENT ON COLUMN %I.es_tags.version IS %L', schema_name, 'The event''s place in the aggregate');

	-- CACHE 1: positions that a session keeps for later would be lower than others' that are already settled.
	EXECUTE format('CREATE SEQUENCE %I.es_position_seq AS bigint MINVALUE 1 CACHE 1 NO CYCLE', schema_name);
	EXECUTE format('COMMENT ON SEQUENCE %I.es_position_seq IS %L', schema_name, 'Event store: positions in the global log');

	EXECUTE format($sql$
		CREATE TABLE %1$I.es_watermark (
			position bigint NOT NULL,
			updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
		) WITH (fillfactor = 10)
		$sql$, schema_name);
	EXECUTE format('CREATE UNIQUE INDEX es_watermark_one_row ON %I.es_watermark ((true))', schema_name);
	-- So that its updates can be published.
	EXECUTE format('ALTER TABLE %I.es_watermark REPLICA IDENTITY FULL', schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_watermark IS %L', schema_name,
		'Event store: one row with the settled horizon of the log, kept by the worker for readers on a standby and above READ COMMITTED.');
	EXECUTE format('COMMENT ON COLUMN %I.es_watermark.position IS %L', schema_name, 'Up to here the log is settled');
	EXECUTE format('COMMENT ON COLUMN %I.es_watermark.updated_at IS %L', schema_name, 'When the worker wrote it');

	EXECUTE format($sql$
		CREATE TABLE %1$I.es_subscriptions (
			subscription text COLLATE "C" NOT NULL,
			partition integer NOT NULL,
			partitions integer NOT NULL,
			position bigint NOT NULL,
			epoch bigint NOT NULL DEFAULT 0,
			query jsonb,
			claimed_by text,
			claimed_until timestamptz,
			advanced_at timestamptz,
			CONSTRAINT es_subscriptions_pkey PRIMARY KEY (subscription, partition)
		) WITH (fillfactor = 50)
		$sql$, schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_subscriptions IS %L', schema_name,
		'Event store: how far each partition of each subscription has got in the log.');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.subscription IS %L', schema_name, 'Name of the subscription');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.partition IS %L', schema_name, 'From 0; an aggregate belongs to es_partition(key, partitions)');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.partitions IS %L', schema_name, 'Number of partitions of the subscription');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.position IS %L', schema_name, 'Everything up to here is done');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.epoch IS %L', schema_name, 'Grows with every claim and reset; fences consumers that were too slow');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.query IS %L', schema_name, 'Which events it wants; null for all');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.claimed_by IS %L', schema_name, 'Who fetched with a lease last: role, application and address');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.claimed_until IS %L', schema_name, 'End of the lease; null if there is none');
	EXECUTE format('COMMENT ON COLUMN %I.es_subscriptions.advanced_at IS %L', schema_name, 'When it last advanced');

	EXECUTE format($sql$
		CREATE TABLE %1$I.es_parked_events (
			subscription text COLLATE "C" NOT NULL,
			key text COLLATE "C" NOT NULL,
			position bigint NOT NULL,
			version bigint NOT NULL,
			reason text,
			attempts integer NOT NULL DEFAULT 0,
			parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
			retry_at timestamptz,
			CONSTRAINT es_parked_events_pkey PRIMARY KEY (subscription, key, position)
		)
		$sql$, schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_parked_events IS %L', schema_name,
		'Event store: events that a subscription could not handle, and the later events of their aggregates, which wait behind them.');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.subscription IS %L', schema_name, 'Name of the subscription');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.key IS %L', schema_name, 'The event''s aggregate');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.position IS %L', schema_name, 'The event''s place in the global log');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.version IS %L', schema_name, 'The event''s place in the aggregate');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.reason IS %L', schema_name, 'Why it was parked');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.attempts IS %L', schema_name, 'How often it failed; 0 if it only waits behind another');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.parked_at IS %L', schema_name, 'When it was first parked');
	EXECUTE format('COMMENT ON COLUMN %I.es_parked_events.retry_at IS %L', schema_name, 'From when es_fetch() gives it out again; null: not until es_unpark()');

	-- A cache that its writers may also empty: no guard.
	EXECUTE format($sql$
		CREATE TABLE %1$I.es_snapshots (
			key text COLLATE "C" NOT NULL,
			version bigint NOT NULL,
			state jsonb NOT NULL,
			recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
			CONSTRAINT es_snapshots_pkey PRIMARY KEY (key)
		) WITH (fillfactor = 80)
		$sql$, schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_snapshots IS %L', schema_name,
		'Event store: the state that the events of an aggregate fold to, saved by es_save_snapshot() so that es_load() need not return them all. May be deleted at any time.');
	EXECUTE format('COMMENT ON COLUMN %I.es_snapshots.key IS %L', schema_name, 'The aggregate');
	EXECUTE format('COMMENT ON COLUMN %I.es_snapshots.version IS %L', schema_name, 'Version of the last event in the state');
	EXECUTE format('COMMENT ON COLUMN %I.es_snapshots.state IS %L', schema_name, 'The state, in whatever form the application gave it');
	EXECUTE format('COMMENT ON COLUMN %I.es_snapshots.recorded_at IS %L', schema_name, 'When it was saved');

	EXECUTE format($sql$
		CREATE TABLE %1$I.es_store (
			format_version integer NOT NULL,
			settings jsonb NOT NULL DEFAULT '{}'
		)
		$sql$, schema_name);
	EXECUTE format('CREATE UNIQUE INDEX es_store_one_row ON %I.es_store ((true))', schema_name);
	EXECUTE format('ALTER TABLE %I.es_store REPLICA IDENTITY FULL', schema_name);
	EXECUTE format('COMMENT ON TABLE %I.es_store IS %L', schema_name,
		'Event store: one row that says in which format the tables beside it are. The schema that holds this table is a store.');
	EXECUTE format('COMMENT ON COLUMN %I.es_store.format_version IS %L', schema_name, 'Format of the tables, see es_upgrade_store()');
	EXECUTE format('COMMENT ON COLUMN %I.es_store.settings IS %L', schema_name, 'Settings of this store');
	EXECUTE format('INSERT INTO %I.es_store (format_version) VALUES (1)', schema_name);

	-- Whatever ALTER DEFAULT PRIVILEGES says, nothing is everybody's.
	FOREACH relation IN ARRAY ARRAY['es_aggregates', 'es_events', 'es_tags', 'es_watermark', 'es_subscriptions', 'es_parked_events', 'es_snapshots', 'es_store', 'es_position_seq']
	LOOP
		EXECUTE format('REVOKE ALL ON %s %I.%I FROM PUBLIC',
					   CASE WHEN relation = 'es_position_seq' THEN 'SEQUENCE' ELSE 'TABLE' END, schema_name, relation);
	END LOOP;

	PERFORM @extschema@.es_make_guards(schema_name);
	PERFORM @extschema@.es_make_counters(schema_name);
END
$$;

COMMENT ON FUNCTION @extschema@.es_create_store(name, boolean) IS
'Makes the tables of an event store in a schema (and the schema where it is missing), owned by the caller, with no rights for others: see es_grant(). Errors: 42P07 if the schema holds a store already (unless if_not_exists), 42501 without the right to create.';

CREATE FUNCTION @extschema@.es_require_store(schema_name name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	store oid;
	store_format integer;
BEGIN
	IF schema_name IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'argument "schema_name" must not be null';
	END IF;
	SELECT c.oid INTO store FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
	WHERE n.nspname = schema_name AND c.relname = 'es_store' AND c.relkind = 'r' AND c.relpersistence = 'p';
	IF store IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_table',
			MESSAGE = format('schema "%s" holds no event store', schema_name),
			HINT = 'Call es_create_store() to make one.';
	END IF;
	-- Who may not read it will be refused for that.
	IF has_table_privilege(store, 'SELECT') AND has_schema_privilege(schema_name, 'USAGE') THEN
		EXECUTE format('SELECT format_version FROM %I.es_store', schema_name) INTO store_format;
		IF store_format > 1 THEN
			RAISE EXCEPTION USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('event store "%s" has format %s, but this version of eventstore knows formats up to 1', schema_name, store_format),
				HINT = 'Install the version of eventstore that made the store, or a newer one.';
		END IF;
	END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.es_require_store(name) IS
'Internal: 42P01 if the schema holds no event store, 55000 if that has a format of a later version.';

CREATE FUNCTION @extschema@.es_drop_store(schema_name name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);
	-- A store that lacks a part goes as well.
	EXECUTE format('DROP TABLE IF EXISTS %1$I.es_store, %1$I.es_aggregates, %1$I.es_events, %1$I.es_tags, %1$I.es_watermark, %1$I.es_subscriptions, %1$I.es_parked_events, %1$I.es_snapshots', schema_name);
	EXECUTE format('DROP SEQUENCE IF EXISTS %1$I.es_position_seq, %1$I.es_conflicts_seq, %1$I.es_refusals_seq, %1$I.es_repeats_seq', schema_name);
END
$$;

COMMENT ON FUNCTION @extschema@.es_drop_store(name) IS
'Drops the tables of an event store with all events; the schema stays. Errors: 42P01 if there is no store, 42501 for others than the owner, 2BP01 if something of the user depends on them.';

CREATE FUNCTION @extschema@.es_upgrade_store(schema_name name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	format integer;
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);
	EXECUTE pg_catalog.format('SELECT format_version FROM %I.es_store FOR UPDATE', schema_name) INTO format;
	IF format IS DISTINCT FROM 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = pg_catalog.format('event store "%s" has format %s, which this version of eventstore does not know',
										schema_name, coalesce(format::text, 'null')),
			HINT = 'Install the version of eventstore that made the store, or a newer one.';
	END IF;
	PERFORM @extschema@.es_make_guards(schema_name);
	PERFORM @extschema@.es_make_counters(schema_name);
END
$$;

COMMENT ON FUNCTION @extschema@.es_upgrade_store(name) IS
'Brings the tables of an event store to the format of this version, and restores the append-only guards and missing counters, for instance after DROP EXTENSION and CREATE EXTENSION. Errors: 42P01 if there is no store, 42501 for others than the owner, 55000 if the format is unknown. Takes ACCESS EXCLUSIVE locks on the guarded tables.';

CREATE FUNCTION @extschema@.es_check_store(schema_name name) RETURNS TABLE (finding text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	guarded text;
	last_value bigint;
	was_called boolean;
	highest bigint;
	cache bigint;
	cycles boolean;
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);

	-- One statement, so that all of it is seen at one moment.
	RETURN QUERY EXECUTE format($sql$
		WITH counted AS (
			SELECT e.key, count(*) AS events, min(e.version) AS lowest, max(e.version) AS highest,
				   count(*) FILTER (WHERE e.position <= e.previous_position) AS misplaced
			FROM (SELECT key, version, position,
						 lag(position) OVER (PARTITION BY key ORDER BY version) AS previous_position
				  FROM %1$I.es_events) AS e
			GROUP BY e.key
		)
		SELECT CASE
			WHEN a.key IS NULL THEN
				format('aggregate "%%s" has %%s events, but no row in es_aggregates', c.key, c.events)
			WHEN c.key IS NULL THEN
				format('aggregate "%%s" is at version %%s, but has no events', a.key, a.version)
			WHEN c.highest <> a.version THEN
				format('aggregate "%%s" is at version %%s, but its last event has version %%s', a.key, a.version, c.highest)
			WHEN c.lowest <> a.first_version THEN
				format('aggregate "%%s" should begin with version %%s, but its first event has version %%s', a.key, a.first_version, c.lowest)
			WHEN c.events <> a.version - a.first_version + 1 THEN
				format('aggregate "%%s" should have %%s events, but has %%s', a.key, a.version - a.first_version + 1, c.events)
			ELSE
				format('aggregate "%%s" has %%s events whose positions do not ascend', a.key, c.misplaced)
			END
		FROM %1$I.es_aggregates AS a FULL JOIN counted AS c ON c.key = a.key
		WHERE a.key IS NULL OR (c.key IS NULL AND a.first_version <= a.version)
		   OR c.highest <> a.version OR c.lowest <> a.first_version
		   OR c.events <> a.version - a.first_version + 1 OR c.misplaced > 0
		ORDER BY coalesce(a.key, c.key)
		$sql$, schema_name);

	RETURN QUERY EXECUTE format($sql$
		SELECT format('event at position %%s has tag "%%s", but es_tags does not say so', t.position, t.tag)
		FROM (SELECT DISTINCT e.position, e.key, e.version, u.tag
			  FROM %1$I.es_events AS e CROSS JOIN LATERAL unnest(e.tags) AS u (tag)
			  WHERE e.tags IS NOT NULL) AS t
		WHERE NOT EXISTS (SELECT FROM %1$I.es_tags AS s
						  WHERE s.tag = t.tag AND s.position = t.position AND s.key = t.key AND s.version = t.version)
		UNION ALL
		SELECT format('es_tags gives tag "%%s" to position %%s, but no such event has it', s.tag, s.position)
		FROM %1$I.es_tags AS s
		WHERE NOT EXISTS (SELECT FROM %1$I.es_events AS e
						  WHERE e.key = s.key AND e.version = s.version AND e.position = s.position AND s.tag = ANY (e.tags))
		ORDER BY 1
		$sql$, schema_name);

	EXECUTE format('SELECT last_value, is_called FROM %I.es_position_seq', schema_name) INTO last_value, was_called;
	EXECUTE format('SELECT max(position) FROM %I.es_events', schema_name) INTO highest;
	IF NOT was_called THEN
		last_value := last_value - 1;
	END IF;
	IF highest > last_value THEN
		finding := format('the sequence es_position_seq is at %s, behind the last event at position %s', last_value, highest);
		RETURN NEXT;
	END IF;
	SELECT s.seqcache, s.seqcycle INTO cache, cycles
	FROM pg_sequence AS s WHERE s.seqrelid = format('%I.es_position_seq', schema_name)::regclass;
	IF cache <> 1 OR cycles THEN
		finding := 'the sequence es_position_seq must have CACHE 1 and NO CYCLE';
		RETURN NEXT;
	END IF;

	FOREACH guarded IN ARRAY ARRAY['es_aggregates', 'es_events', 'es_tags']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_trigger AS t
					   WHERE t.tgrelid = format('%I.%I', schema_name, guarded)::regclass
					   AND t.tgfoid = '@extschema@.es_guard()'::regprocedure
					   AND t.tgenabled IN ('O', 'A') AND t.tgtype = 62) THEN
			finding := format('the append-only guard of table "%s" is missing or disabled: call es_upgrade_store()', guarded);
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;

COMMENT ON FUNCTION @extschema@.es_check_store(name) IS
'Verifies an event store: versions, counts, order of positions, tags, sequence and guards. One row per finding, none if all is well. Reads every event. Errors: 42P01 if there is no store, 42501 without the right to read.';

CREATE FUNCTION @extschema@.es_current_store() RETURNS name
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'es_current_store_name';

COMMENT ON FUNCTION @extschema@.es_current_store() IS
'The schema of the store that the functions use now: that of the setting eventstore.store, or the first store on the search path. Errors: 42P01 if there is none, 3F000 if the setting names no schema.';

CREATE FUNCTION @extschema@.es_grant(role regrole, privileges text, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role IS NULL OR privileges IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('argument "%s" must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'privileges' END);
	END IF;
	PERFORM @extschema@.es_require_store(schema_name);
	IF role = 0::oid THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('role "%s" does not exist', role);
	END IF;
	IF privileges NOT IN ('reader', 'writer', 'consumer', 'admin') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unknown set of privileges "%s"', privileges),
			HINT = 'Sets of privileges are reader, writer, consumer and admin.';
	END IF;

	-- GRANT itself only warns.
	IF NOT has_table_privilege(format('%I.es_aggregates', schema_name),
							   CASE privileges WHEN 'writer' THEN 'UPDATE WITH GRANT OPTION' ELSE 'SELECT WITH GRANT OPTION' END) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied to grant privileges on event store "%s"', schema_name),
			HINT = 'Its owner can, and who was granted admin.';
	END IF;

	EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', schema_name, role);
	EXECUTE format('GRANT SELECT ON %1$I.es_store, %1$I.es_aggregates, %1$I.es_events, %1$I.es_tags, %1$I.es_watermark, %1$I.es_subscriptions, %1$I.es_parked_events, %1$I.es_snapshots TO %2$s', schema_name, role);
	-- The end of the log is read off the sequence.
	EXECUTE format('GRANT SELECT ON SEQUENCE %I.es_position_seq TO %s', schema_name, role);
	IF privileges IN ('writer', 'admin') THEN
		EXECUTE format('GRANT INSERT ON %1$I.es_aggregates, %1$I.es_events, %1$I.es_tags TO %2$s', schema_name, role);
		EXECUTE format('GRANT UPDATE ON %I.es_aggregates TO %s', schema_name, role);
		EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I.es_snapshots TO %s', schema_name, role);
		EXECUTE format('GRANT USAGE ON SEQUENCE %I.es_position_seq TO %s', schema_name, role);
	END IF;
	IF privileges IN ('consumer', 'admin') THEN
		EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %1$I.es_watermark, %1$I.es_subscriptions, %1$I.es_parked_events TO %2$s', schema_name, role);
	END IF;
	IF privileges = 'admin' THEN
		EXECUTE format('GRANT ALL ON %1$I.es_store, %1$I.es_aggregates, %1$I.es_events, %1$I.es_tags, %1$I.es_watermark, %1$I.es_subscriptions, %1$I.es_parked_events, %1$I.es_snapshots TO %2$s WITH GRANT OPTION', schema_name, role);
		EXECUTE format('GRANT ALL ON SEQUENCE %I.es_position_seq TO %s WITH GRANT OPTION', schema_name, role);
		EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s WITH GRANT OPTION', schema_name, role);
	END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.es_grant(regrole, text, name) IS
'Grants a role what it needs on a store (by default the current one). reader: read events and versions. writer: also append, and save snapshots. consumer: read, work on subscriptions, run the worker. admin: all rights on the tables, and to grant them on; the append-only guard holds all the same. Errors: 22004, 22023 for bad arguments, 42P01 without a store, 42501 without the right to grant.';

-- Writing

CREATE FUNCTION @extschema@.es_append(key text, events jsonb, expected_version bigint DEFAULT NULL, allow_create boolean DEFAULT false, request_id text DEFAULT NULL) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_append(text, jsonb, bigint, boolean, text) IS
'Appends events to an aggregate, all or none, and returns its new version. expected_version: the version that was read, 0 if the aggregate must not exist, NULL for an unconditional append. allow_create: with NULL, create a missing aggregate. request_id: a repeat of an append that landed changes nothing and returns the first result. Locks the aggregate to the end of the transaction. Errors: VE001 version conflict, VE002 aggregate not found, VE003 closed, VE005 request id reused; 22004, 22023 bad arguments; 40001 above READ COMMITTED; 42P01 no store; 42501 no rights; 25006 read-only transaction.';

CREATE FUNCTION @extschema@.es_try_append(key text, events jsonb, expected_version bigint DEFAULT NULL, allow_create boolean DEFAULT false, request_id text DEFAULT NULL) RETURNS @extschema@.es_append_result
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_try_append(text, jsonb, bigint, boolean, text) IS
'As es_append(), but a refusal (VE001 to VE005) is a row, not an error. Other errors and locks as es_append().';

CREATE FUNCTION @extschema@.es_append_many(writes jsonb, request_id text DEFAULT NULL) RETURNS SETOF @extschema@.es_append_result
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_append_many(jsonb, text) IS
'Appends to several aggregates, all or none. writes: an array of {"key", "events", "expected_version", "allow_create", "conditions"}; an entry without events is a guard that checks its aggregate or its conditions and holds them still to the end of the transaction. conditions: an array of {"query", "after"}, each refused (VE004) if an event that matches the query, every item of which names a tag, has come after the position, which es_query() returned. Locks aggregates in key order, then the tags of conditions (exclusively) and of events (shared by writers), to the end of the transaction. A refusal is an error with all refusals in DETAIL. Errors as es_append(); 25001 for conditions above READ COMMITTED, VE007 for a position beyond the end of the log.';

CREATE FUNCTION @extschema@.es_try_append_many(writes jsonb, request_id text DEFAULT NULL) RETURNS SETOF @extschema@.es_append_result
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_try_append_many(jsonb, text) IS
'As es_append_many(), but refusals (VE001 to VE005) are rows, not an error.';

CREATE FUNCTION @extschema@.es_append_each(writes jsonb) RETURNS SETOF @extschema@.es_append_result
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_append_each(jsonb) IS
'Makes several independent appends in one call, each on its own merits. writes: an array of {"key", "events", "expected_version", "allow_create", "conditions", "request_id"}. Refusals (VE001 to VE005) are rows; anything else is an error of the whole call. Errors and locks as es_append_many().';

CREATE FUNCTION @extschema@.es_find_request(key text, request_id text) RETURNS SETOF @extschema@.es_append_result
LANGUAGE c ROWS 1
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_find_request(text, text) IS
'What an append with this request id did to this aggregate: one row with status repeated, or none. Takes no lock. Errors: 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_lock(keys text[], nowait boolean DEFAULT false) RETURNS TABLE (key text, version bigint)
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_lock(text[], boolean) IS
'Locks aggregates, absent ones too, to the end of the transaction, in key order, and returns their versions. Errors: 55P03 if one is busy and nowait is set (or lock_timeout passes), 40001 above READ COMMITTED if one is newer than the snapshot, 22004, 22023 bad arguments, 42P01 no store, 42501 no rights, 25006 read-only transaction.';

-- Deciding

CREATE FUNCTION @extschema@.es_query(query jsonb, after_position bigint DEFAULT 0) RETURNS SETOF @extschema@.es_event
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_query(jsonb, bigint) IS
'Events after a position that match a query, every item of which names a tag, in order of position: what a decision with an append condition is based on. The highest position returned (after_position if there is none) is what "after" of the condition must be. Waits for open transactions that have written an event with the first tag of an item, and lets go when it has its snapshot; on a standby reads up to the watermark. Errors: 22004, 22023 bad arguments; 25001 above READ COMMITTED; VE007 for a position beyond the end of the log; 42P01 no store; 42501 no rights; 55000 no watermark where one is needed.';

CREATE FUNCTION @extschema@.es_execute(key text, decide regproc, command jsonb DEFAULT NULL, max_retries integer DEFAULT 3, request_id text DEFAULT NULL) RETURNS TABLE (status text, version bigint, attempts integer)
LANGUAGE c ROWS 1
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_execute(text, regproc, jsonb, integer, text) IS
'Carries out a command: calls decide(key text, version bigint, command jsonb) RETURNS jsonb and appends the events that it returns if the aggregate is still at that version; otherwise locks it and starts over, at most max_retries times, then VE001; perhaps at once if the function has itself appended to the aggregate while that was locked first. What a discarded attempt has written is undone. NULL or no events: nothing to append, status not_written. request_id: a command that was carried out is not decided again, status repeated. Errors as es_append(), those of decide as they are; 22023 if decide is not such a function; 25001 above READ COMMITTED. Locks as es_append().';

CREATE FUNCTION @extschema@.es_execute_many(keys text[], decide regproc, command jsonb DEFAULT NULL, max_retries integer DEFAULT 3, request_id text DEFAULT NULL) RETURNS SETOF @extschema@.es_append_result
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_execute_many(text[], regproc, jsonb, integer, text) IS
'As es_execute(), for a function decide(command jsonb) RETURNS jsonb that returns writes, guards and conditions as es_append_many() takes them. keys: what is locked after a conflict (VE001, VE004), together with whatever the writes were about; with a request_id at least one of them must be appended to, so that a repeat is found. NULL or no writes: no rows. Errors and locks as es_append_many() and es_execute().';

CREATE FUNCTION @extschema@.es_load(key text) RETURNS TABLE (version bigint, snapshot_version bigint, state jsonb, events jsonb)
LANGUAGE c STABLE PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_load(text) IS
'One row with all that it takes to decide: the version of an aggregate, its latest snapshot (0 and NULL if there is none) and an array of the events after it. A missing aggregate: 0, 0, NULL, []. Errors: 22004, 22023 bad key; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_save_snapshot(key text, version bigint, state jsonb) RETURNS boolean
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb) IS
'Saves the state that the events of an aggregate fold to up to a version, in place of an older snapshot or one of the same version. False if there is a newer one. Errors: 22004, 22023 bad arguments, and 22023 if the aggregate has not got to that version; 42P01 no store; 42501 no rights; 25006 read-only transaction.';

-- Reading

CREATE FUNCTION @extschema@.es_version(key text) RETURNS bigint
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_version(text) IS
'Version of an aggregate: the number of events ever appended to it, 0 if it does not exist. Errors: 22004, 22023 bad key; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_read_support(internal) RETURNS internal
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_read_support(internal) IS
'Internal: tells the planner how many rows es_read() returns.';

CREATE FUNCTION @extschema@.es_read(key text, from_version bigint DEFAULT 1, to_version bigint DEFAULT NULL, max_count bigint DEFAULT NULL, backwards boolean DEFAULT false) RETURNS SETOF @extschema@.es_event
LANGUAGE c STABLE PARALLEL SAFE SUPPORT @extschema@.es_read_support
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_read(text, bigint, bigint, bigint, boolean) IS
'Events of an aggregate with versions from from_version to to_version, in order of version, or the other way round; at most max_count, counted from where reading begins. No rows if it does not exist. Errors: 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_category(key text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_category(text) IS
'Category of an aggregate: the part of its key before the first "-", or the whole key. Immutable, so that it can be indexed.';

-- The global log

CREATE FUNCTION @extschema@.es_horizon() RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_horizon() IS
'The position up to which the log is settled: no event at or below it will appear later. On a standby and above READ COMMITTED: the watermark. Errors: 42P01 no store; 42501 no rights; 55000 no watermark where one is needed.';

CREATE FUNCTION @extschema@.es_query_condition(query jsonb) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_query_condition(jsonb) IS
'What a query, an array of items {"types", "categories", "tags"}, means: a condition in SQL over the columns of es_events; true for NULL. Errors: 22023 for anything else.';

CREATE FUNCTION @extschema@.es_partition(key text, partitions integer) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_partition(text, integer) IS
'The partition of a subscription, from 0, to which an aggregate belongs: CRC-32C of its key modulo the number of partitions. Errors: 22023 for less than one partition.';

CREATE FUNCTION @extschema@.es_read_all(after_position bigint DEFAULT 0, max_count integer DEFAULT 1000, query jsonb DEFAULT NULL, to_position bigint DEFAULT NULL) RETURNS SETOF @extschema@.es_event
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_read_all(bigint, integer, jsonb, bigint) IS
'Events of the global log after a position, in order, up to the settled horizon (or to_position, if that is lower): at most max_count of those that match the query. Errors: VE007 for a position beyond the end of the log; 55000 for a to_position that is not settled yet; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights; 55000 no watermark where one is needed.';

CREATE FUNCTION @extschema@.es_read_partition(after_position bigint, max_count integer, query jsonb, to_position bigint, partitions integer, partition integer) RETURNS SETOF @extschema@.es_event
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_read_partition(bigint, integer, jsonb, bigint, integer, integer) IS
'As es_read_all(), for the aggregates of one partition: what es_fetch() is made of.';

CREATE FUNCTION @extschema@.es_check_position(log_position bigint) RETURNS void
LANGUAGE c STRICT
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_check_position(bigint) IS
'Internal: VE007 if a position is beyond the end of the log.';

CREATE PROCEDURE @extschema@.es_wait(after_position bigint, timeout interval, INOUT horizon bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON PROCEDURE @extschema@.es_wait(bigint, interval, bigint) IS
'Sleeps until the horizon is above a position, or the timeout is over, and returns the horizon. Holds no snapshot while it sleeps: called by itself, or in a procedure or DO block that has written nothing since its last COMMIT, it ends the transaction first. Elsewhere it waits only briefly. Errors: VE007 for a position beyond the end of the log; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights; 55000 no watermark where one is needed.';

CREATE PROCEDURE @extschema@.es_wait_for(subscription text, to_position bigint, timeout interval)
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON PROCEDURE @extschema@.es_wait_for(text, bigint, interval) IS
'Sleeps until a subscription has got to a position in all its partitions, to read what one has written. Errors: 57014 when the timeout is over; 25001 above READ COMMITTED; 42704 no such subscription; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_start_worker(channel text DEFAULT NULL, every interval DEFAULT '20 milliseconds') RETURNS boolean
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_start_worker(text, interval) IS
'Starts the background worker of the current store, which keeps the watermark and, if a channel is given, notifies it of the horizon, both at most once in the given time. It runs with the caller''s rights until es_stop_worker(), DROP EXTENSION or a restart of the server. False if there is one already. Errors: 22004, 22023 bad arguments; 42P01 no store; 42501 no right to write the watermark; 53000 no room for a worker.';

CREATE FUNCTION @extschema@.es_stop_worker() RETURNS boolean
LANGUAGE c
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_stop_worker() IS
'Stops the background worker of the current store and waits for its end. False if there is none. Errors: 42P01 no store; 42501 no right to signal it.';

CREATE FUNCTION @extschema@.es_sync_position(schema_name name DEFAULT @extschema@.es_current_store()) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	last bigint;
	highest bigint;
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);
	-- Its lock waits for all who draw positions, and keeps others from it.
	EXECUTE format('ALTER SEQUENCE %I.es_position_seq CACHE 1 NO CYCLE', schema_name);
	EXECUTE format('SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM %I.es_position_seq', schema_name) INTO last;
	EXECUTE format('SELECT max(position) FROM %I.es_events', schema_name) INTO highest;
	IF highest > last THEN
		EXECUTE format('ALTER SEQUENCE %I.es_position_seq RESTART WITH %s', schema_name, highest);
		RETURN nextval(format('%I.es_position_seq', schema_name));
	END IF;
	RETURN last;
END
$$;

COMMENT ON FUNCTION @extschema@.es_sync_position(name) IS
'Moves the sequence of positions behind the last event, if it is not there, and returns the last position drawn: for a promoted logical replica, or after a restore. Waits for all appends in flight. Errors: 42P01 no store; 42501 for others than the owner.';

CREATE VIEW @extschema@.es_in_flight AS
SELECT n.nspname AS store,
	   s.last + ((l.objid::bigint - (s.last & 4294967295) + 2147483648) & 4294967295) - 2147483648 AS bound,
	   l.pid,
	   p.gid,
	   coalesce(p.prepared, a.xact_start) AS since,
	   coalesce(p.owner, a.usename) AS role,
	   a.application_name,
	   a.state
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_class AS c ON c.oid = l.classid AND c.relkind = 'S'
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN coalesce(pg_catalog.pg_sequence_last_value(l.classid), 0) END AS last) AS s
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
-- A prepared transaction is known by its lock on its own id: until a restart it keeps the virtual id of its session.
LEFT JOIN (pg_catalog.pg_prepared_xacts AS p
		   JOIN pg_catalog.pg_locks AS x ON x.locktype = 'transactionid' AND x.transactionid = p.transaction AND x.pid IS NULL)
	   ON l.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
WHERE l.locktype = 'advisory' AND l.objsubid = 26019 AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database());

COMMENT ON VIEW @extschema@.es_in_flight IS
'Transactions that have appended and are still open. The horizon of a store is the smallest of their bounds, so the first of them holds it back.';
COMMENT ON COLUMN @extschema@.es_in_flight.store IS 'Schema of the store';
COMMENT ON COLUMN @extschema@.es_in_flight.bound IS 'All positions of the transaction are above this one; null without rights on the store';
COMMENT ON COLUMN @extschema@.es_in_flight.pid IS 'Its process; null for a prepared transaction';
COMMENT ON COLUMN @extschema@.es_in_flight.gid IS 'Identifier of a prepared transaction, for COMMIT PREPARED or ROLLBACK PREPARED';
COMMENT ON COLUMN @extschema@.es_in_flight.since IS 'Begin of the transaction, or when it was prepared';
COMMENT ON COLUMN @extschema@.es_in_flight.role IS 'Who runs it';
COMMENT ON COLUMN @extschema@.es_in_flight.application_name IS 'Which application';
COMMENT ON COLUMN @extschema@.es_in_flight.state IS 'What the session does, as in pg_stat_activity';

GRANT SELECT ON @extschema@.es_in_flight TO PUBLIC;

-- Subscriptions
--
-- They run with the search path of the system; the store is an argument whose default is found with the caller's.
-- Inside, eventstore.store names it for the functions in C, and is put back when the function ends.

CREATE FUNCTION @extschema@.es_create_subscription(subscription text, query jsonb DEFAULT NULL, partitions integer DEFAULT 1, after_position bigint DEFAULT 0, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET eventstore.store = ''
AS $$
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);
	IF subscription IS NULL OR partitions IS NULL OR after_position IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('argument "%s" must not be null',
							 CASE WHEN subscription IS NULL THEN 'subscription' WHEN partitions IS NULL THEN 'partitions' ELSE 'after_position' END);
	END IF;
	IF octet_length(subscription) NOT BETWEEN 1 AND 512 OR partitions NOT BETWEEN 1 AND 1024 OR after_position < 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = CASE WHEN partitions NOT BETWEEN 1 AND 1024 THEN 'argument "partitions" must be from 1 to 1024'
						   WHEN after_position < 0 THEN 'argument "after_position" must not be negative'
						   ELSE 'argument "subscription" must have 1 to 512 bytes' END;
	END IF;
	PERFORM @extschema@.es_query_condition(query);
	PERFORM set_config('eventstore.store', schema_name, true);
	PERFORM @extschema@.es_check_position(after_position);
	EXECUTE format('INSERT INTO %I.es_subscriptions (subscription, partition, partitions, position, query) '
				   'SELECT $1, p, $2, $3, $4 FROM generate_series(0, $2 - 1) AS p', schema_name)
		USING subscription, partitions, after_position, query;
EXCEPTION
	WHEN unique_violation THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('subscription "%s" already exists', subscription);
END
$$;

COMMENT ON FUNCTION @extschema@.es_create_subscription(text, jsonb, integer, bigint, name) IS
'Makes a subscription: a named reader of the log whose cursors are kept in the store. query: which events it wants (default all); partitions: how many consumers can share the work, each aggregate belonging to one partition; after_position: where it begins. Errors: 42710 if it exists; VE007 for a position beyond the end of the log; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_require_subscription(schema_name name, subscription text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_one boolean;
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);
	IF subscription IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'argument "subscription" must not be null';
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM %I.es_subscriptions WHERE subscription = $1)', schema_name)
		INTO found_one USING subscription;
	IF NOT found_one THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('subscription "%s" does not exist', subscription),
			HINT = 'Call es_create_subscription() to make it.';
	END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.es_require_subscription(name, text) IS
'Internal: 42704 if the store has no such subscription, 22004 for NULL.';

CREATE FUNCTION @extschema@.es_fetch(subscription text, max_count integer DEFAULT 1000, lease interval DEFAULT NULL, schema_name name DEFAULT @extschema@.es_current_store())
RETURNS TABLE (partition integer, from_position bigint, to_position bigint, epoch bigint, parked boolean, "position" bigint, key text, version bigint, type text, data jsonb, metadata jsonb, tags text[], id uuid, recorded_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET eventstore.store = ''
AS $$
#variable_conflict use_column
DECLARE
	claim record;
	horizon bigint;
	events @extschema@.es_event[];
	found_rows bigint;
BEGIN
	PERFORM @extschema@.es_require_subscription(schema_name, subscription);
	IF max_count IS NULL OR max_count < 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = CASE WHEN max_count IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			MESSAGE = 'argument "max_count" must be at least 1';
	END IF;
	IF lease <= interval '0' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'argument "lease" must be positive';
	END IF;
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'active_sql_transaction',
			MESSAGE = 'es_fetch() must run under READ COMMITTED',
			HINT = 'The snapshot of this transaction is older than the claim.';
	END IF;
	PERFORM set_config('eventstore.store', schema_name, true);

	-- The claim is a statement of its own: horizon and events must be read after it.
	-- Among partitions that are equally far, the one whose parked event has been due for longest.
	EXECUTE format($sql$
		SELECT s.* FROM %1$I.es_subscriptions AS s
		LEFT JOIN LATERAL (
			SELECT min(h.retry_at) AS due
			FROM (SELECT DISTINCT ON (p.key) p.key, p.retry_at FROM %1$I.es_parked_events AS p
				  WHERE p.subscription = s.subscription ORDER BY p.key, p.position) AS h
			WHERE h.retry_at <= clock_timestamp() AND %2$s.es_partition(h.key, s.partitions) = s.partition
		) AS d ON true
		WHERE s.subscription = $1 AND (s.claimed_until IS NULL OR s.claimed_until <= clock_timestamp())
		ORDER BY s.position, d.due NULLS LAST, s.partition
		LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED
		$sql$, schema_name, '@extschema@')
		INTO claim USING subscription;
	GET DIAGNOSTICS found_rows = ROW_COUNT;
	IF found_rows = 0 THEN
		RETURN;
	END IF;
	IF lease IS NOT NULL THEN
		-- A crash must not take the claim back: its epoch would be given out twice.
		IF current_setting('synchronous_commit') = 'off' THEN
			PERFORM set_config('synchronous_commit', 'local', true);
		END IF;
		claim.epoch := claim.epoch + 1;
		EXECUTE format('UPDATE %I.es_subscriptions AS s SET epoch = $3, claimed_until = clock_timestamp() + $4, claimed_by = $5 '
					   'WHERE s.subscription = $1 AND s.partition = $2', schema_name)
			USING subscription, claim.partition, claim.epoch, lease,
				  concat_ws(' ', session_user, nullif(current_setting('application_name'), ''), inet_client_addr()::text);
	END IF;

	horizon := greatest(@extschema@.es_horizon(), claim.position);
	SELECT array_agg(e ORDER BY e.position) INTO events
	FROM @extschema@.es_read_partition(claim.position, max_count, claim.query, horizon, claim.partitions, claim.partition) AS e;

	partition := claim.partition;
	from_position := claim.position;
	to_position := CASE WHEN cardinality(events) = max_count THEN (events[max_count]).position ELSE horizon END;
	epoch := claim.epoch;

	-- Later events of a parked aggregate wait behind it.
	IF events IS NOT NULL THEN
		EXECUTE format('INSERT INTO %1$I.es_parked_events (subscription, key, position, version) '
					   'SELECT $1, e.key, e.position, e.version FROM unnest($2) AS e '
					   'WHERE EXISTS (SELECT FROM %1$I.es_parked_events AS p WHERE p.subscription = $1 AND p.key = e.key) '
					   'ON CONFLICT DO NOTHING', schema_name)
			USING subscription, events;
	END IF;

	-- First what is due again, the head of each aggregate's queue; then what is new.
	RETURN QUERY EXECUTE format($sql$
		SELECT $3, $4, $5, $6, true, e.position, e.key, e.version, e.type, e.data, e.metadata, e.tags, e.id, e.recorded_at
		FROM (SELECT DISTINCT ON (p.key) p.* FROM %1$I.es_parked_events AS p WHERE p.subscription = $1 ORDER BY p.key, p.position) AS h
		JOIN %1$I.es_events AS e ON e.key = h.key AND e.version = h.version
		WHERE h.retry_at <= clock_timestamp() AND %2$s.es_partition(h.key, $7) = $3
		ORDER BY h.retry_at, e.position LIMIT $8
		$sql$, schema_name, '@extschema@')
		USING subscription, events, partition, from_position, to_position, epoch, claim.partitions, max_count;
	GET DIAGNOSTICS found_rows = ROW_COUNT;
	IF events IS NOT NULL THEN
		RETURN QUERY EXECUTE format($sql$
			SELECT $3, $4, $5, $6, false, e.position, e.key, e.version, e.type, e.data, e.metadata, e.tags, e.id, e.recorded_at
			FROM unnest($2) AS e
			WHERE NOT EXISTS (SELECT FROM %1$I.es_parked_events AS p WHERE p.subscription = $1 AND p.key = e.key)
			ORDER BY e.position
			$sql$, schema_name)
			USING subscription, events, partition, from_position, to_position, epoch;
		IF FOUND THEN
			found_rows := found_rows + 1;
		END IF;
	END IF;
	IF found_rows = 0 THEN
		RETURN QUERY SELECT partition, from_position, to_position, epoch, NULL::boolean, NULL::bigint, NULL::text, NULL::bigint, NULL::text,
							NULL::jsonb, NULL::jsonb, NULL::text[], NULL::uuid, NULL::timestamptz;
	END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.es_fetch(text, integer, interval, name) IS
'Claims a free partition of a subscription and returns its next events, up to max_count, after those parked ones that are due again (parked is true: call es_unpark() when one is handled). Without a lease the claim ends with the transaction: handle the events and es_advance() in it, and each is handled exactly once. With a lease commit (which then waits for the disk), handle, and es_advance() with the epoch. No row: all partitions are claimed. Nothing to handle: one row without an event; advance all the same. Errors: 42704 no such subscription; 25001 above READ COMMITTED; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_advance(subscription text, partition integer, from_position bigint, to_position bigint, epoch bigint DEFAULT NULL, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET eventstore.store = ''
AS $$
#variable_conflict use_variable
DECLARE
	moved bigint;
	actual record;
BEGIN
	PERFORM @extschema@.es_require_subscription(schema_name, subscription);
	IF partition IS NULL OR from_position IS NULL OR to_position IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'partition and positions must not be null';
	END IF;
	IF to_position < from_position THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('cannot advance from position %s back to %s', from_position, to_position),
			HINT = 'To go back, call es_reset_subscription().';
	END IF;
	PERFORM set_config('eventstore.store', schema_name, true);
	PERFORM @extschema@.es_check_position(to_position);
	-- Nothing moved and no lease to give up: nothing to write.
	EXECUTE format(CASE WHEN to_position = from_position AND epoch IS NULL
				   THEN 'SELECT FROM %I.es_subscriptions AS s '
				   ELSE 'UPDATE %I.es_subscriptions AS s SET position = $4, claimed_until = NULL, advanced_at = clock_timestamp() ' END ||
				   'WHERE s.subscription = $1 AND s.partition = $2 AND s.position = $3 '
				   'AND CASE WHEN $5 IS NULL THEN coalesce(s.claimed_until <= clock_timestamp(), true) ELSE s.epoch = $5 END', schema_name)
		USING subscription, partition, from_position, to_position, epoch;
	GET DIAGNOSTICS moved = ROW_COUNT;
	IF moved = 0 THEN
		EXECUTE format('SELECT s.position, s.epoch FROM %I.es_subscriptions AS s WHERE s.subscription = $1 AND s.partition = $2', schema_name)
			INTO actual USING subscription, partition;
		IF actual.position IS NULL THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_parameter_value',
				MESSAGE = format('subscription "%s" has no partition %s', subscription, partition);
		END IF;
		RAISE EXCEPTION USING
			ERRCODE = 'VE008',
			MESSAGE = format('partition %s of subscription "%s" is at position %s in epoch %s, not at position %s%s',
							 partition, subscription, actual.position, actual.epoch,
							 from_position, CASE WHEN epoch IS NULL THEN ' and unleased' ELSE format(' in epoch %s', epoch) END),
			DETAIL = jsonb_build_object('subscription', subscription, 'partition', partition,
										'expected', jsonb_build_object('position', from_position, 'epoch', epoch),
										'actual', jsonb_build_object('position', actual.position, 'epoch', actual.epoch)),
			HINT = 'Another consumer has taken over, or the subscription was reset: drop what was done, and fetch again.',
			SCHEMA = schema_name, TABLE = 'es_subscriptions', CONSTRAINT = 'es_cursor_moved';
	END IF;
END
$$;

COMMENT ON FUNCTION @extschema@.es_advance(text, integer, bigint, bigint, bigint, name) IS
'Moves the cursor of a partition, if it is still where es_fetch() found it, and gives up the claim. epoch: as es_fetch() returned it, when it was called with a lease. Errors: VE008 if the cursor or epoch is another; VE007 for a position beyond the end of the log; 42704 no such subscription; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_lock_partition(schema_name name, subscription text, key text) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted jsonb;
BEGIN
	EXECUTE format('SELECT s.query FROM %I.es_subscriptions AS s '
				   'WHERE s.subscription = $1 AND s.partition = %s.es_partition($2, s.partitions) FOR NO KEY UPDATE', schema_name, '@extschema@')
		INTO wanted USING subscription, key;
	RETURN wanted;
END
$$;

COMMENT ON FUNCTION @extschema@.es_lock_partition(name, text, text) IS
'Internal: locks the partition of an aggregate, as es_fetch() does, so that no page is made while the parking place changes; returns the query of the subscription.';

CREATE FUNCTION @extschema@.es_park(subscription text, event_position bigint, reason text, retry_after interval DEFAULT NULL, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	wanted jsonb;
	event record;
BEGIN
	PERFORM @extschema@.es_require_subscription(schema_name, subscription);
	EXECUTE format('SELECT e.key, e.version FROM %I.es_events AS e WHERE e.position = $1', schema_name) INTO event USING event_position;
	IF event.key IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('there is no event at position %s', coalesce(event_position::text, 'null'));
	END IF;
	wanted := @extschema@.es_lock_partition(schema_name, subscription, event.key);
	EXECUTE format('INSERT INTO %I.es_parked_events AS p (subscription, key, position, version, reason, attempts, retry_at) '
				   'VALUES ($1, $2, $3, $4, $5, 1, clock_timestamp() + $6) '
				   'ON CONFLICT (subscription, key, position) DO UPDATE SET reason = excluded.reason, attempts = p.attempts + 1, retry_at = excluded.retry_at', schema_name)
		USING subscription, event.key, event_position, event.version, reason, retry_after;

	-- The later events that the consumer may have been given already; es_fetch() parks those that come after them.
	EXECUTE format('INSERT INTO %1$I.es_parked_events (subscription, key, position, version) '
				   'SELECT $1, e.key, e.position, e.version FROM %1$I.es_events AS e '
				   'WHERE e.key = $2 AND e.version > $3 AND (%2$s) '
				   'ON CONFLICT DO NOTHING', schema_name, @extschema@.es_query_condition(wanted))
		USING subscription, event.key, event.version;
END
$$;

COMMENT ON FUNCTION @extschema@.es_park(text, bigint, text, interval, name) IS
'Sets an event aside that a subscription could not handle; the later events of its aggregate park behind it, while others go on. With retry_after es_fetch() gives it out again after that time. A consumer skips the later events of the aggregate that it holds already. Parking again counts an attempt. Errors: 22023 no such event; 42704 no such subscription; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_unpark(subscription text, event_position bigint, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	parked_key text;
BEGIN
	PERFORM @extschema@.es_require_subscription(schema_name, subscription);
	EXECUTE format('SELECT p.key FROM %I.es_parked_events AS p WHERE p.subscription = $1 AND p.position = $2', schema_name)
		INTO parked_key USING subscription, event_position;
	PERFORM @extschema@.es_lock_partition(schema_name, subscription, parked_key);
	parked_key := NULL;
	EXECUTE format('DELETE FROM %I.es_parked_events AS p WHERE p.subscription = $1 AND p.position = $2 RETURNING p.key', schema_name)
		INTO parked_key USING subscription, event_position;
	IF parked_key IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('subscription "%s" has not parked an event at position %s', subscription, coalesce(event_position::text, 'null'));
	END IF;
	-- The next one of the aggregate may come now, unless it has failed by itself.
	EXECUTE format('UPDATE %1$I.es_parked_events AS p SET retry_at = clock_timestamp() '
				   'WHERE p.subscription = $1 AND p.key = $2 AND p.attempts = 0 AND p.position = '
				   '(SELECT min(q.position) FROM %1$I.es_parked_events AS q WHERE q.subscription = $1 AND q.key = $2)', schema_name)
		USING subscription, parked_key;
END
$$;

COMMENT ON FUNCTION @extschema@.es_unpark(text, bigint, name) IS
'Takes an event off the parking place, once it has been handled or given up; the next one of its aggregate comes by es_fetch(). Errors: 22023 not parked; 42704 no such subscription; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_reset_subscription(subscription text, after_position bigint DEFAULT 0, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET eventstore.store = ''
AS $$
BEGIN
	PERFORM @extschema@.es_require_subscription(schema_name, subscription);
	IF after_position IS NULL OR after_position < 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = CASE WHEN after_position IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			MESSAGE = 'argument "after_position" must not be null or negative';
	END IF;
	PERFORM set_config('eventstore.store', schema_name, true);
	PERFORM @extschema@.es_check_position(after_position);
	EXECUTE format('UPDATE %I.es_subscriptions AS s SET position = $2, epoch = s.epoch + 1, claimed_until = NULL, advanced_at = NULL '
				   'WHERE s.subscription = $1', schema_name) USING subscription, after_position;
	EXECUTE format('DELETE FROM %I.es_parked_events AS p WHERE p.subscription = $1', schema_name) USING subscription;
END
$$;

COMMENT ON FUNCTION @extschema@.es_reset_subscription(text, bigint, name) IS
'Sends a subscription back (or forward) to a position, to build its read model anew; forgets what is parked and fences consumers at work. Waits for transactions that hold a claim. Errors: 42704 no such subscription; 22004, 22023 bad arguments; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_drop_subscription(subscription text, schema_name name DEFAULT @extschema@.es_current_store()) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM @extschema@.es_require_subscription(schema_name, subscription);
	EXECUTE format('DELETE FROM %I.es_subscriptions AS s WHERE s.subscription = $1', schema_name) USING subscription;
	EXECUTE format('DELETE FROM %I.es_parked_events AS p WHERE p.subscription = $1', schema_name) USING subscription;
END
$$;

COMMENT ON FUNCTION @extschema@.es_drop_subscription(text, name) IS
'Removes a subscription with its cursors and what it has parked. Errors: 42704 no such subscription; 42P01 no store; 42501 no rights.';

CREATE FUNCTION @extschema@.es_list_subscriptions(schema_name name DEFAULT @extschema@.es_current_store())
RETURNS TABLE (subscription text, partition integer, "position" bigint, lag bigint, parked bigint, claimed_by text, claimed_until timestamptz, epoch bigint, advanced_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET eventstore.store = ''
AS $$
BEGIN
	PERFORM @extschema@.es_require_store(schema_name);
	PERFORM set_config('eventstore.store', schema_name, true);
	RETURN QUERY EXECUTE format($sql$
		SELECT s.subscription, s.partition, s.position, greatest(h.horizon - s.position, 0),
			   (SELECT count(*) FROM %1$I.es_parked_events AS p
				WHERE p.subscription = s.subscription AND %2$s.es_partition(p.key, s.partitions) = s.partition),
			   CASE WHEN s.claimed_until > clock_timestamp() THEN s.claimed_by END,
			   s.claimed_until, s.epoch, s.advanced_at
		FROM %1$I.es_subscriptions AS s CROSS JOIN (SELECT $1 AS horizon) AS h
		ORDER BY s.subscription, s.partition
		$sql$, schema_name, '@extschema@')
		USING @extschema@.es_horizon();
END
$$;

COMMENT ON FUNCTION @extschema@.es_list_subscriptions(name) IS
'The subscriptions of a store and how far they are, partition by partition. Errors: 42P01 no store; 42501 no rights; 55000 no watermark where one is needed.';

CREATE VIEW @extschema@.es_subscription_status AS
SELECT * FROM @extschema@.es_list_subscriptions();

COMMENT ON VIEW @extschema@.es_subscription_status IS
'The subscriptions of the current store, partition by partition: position, lag in positions behind the horizon, events parked, who holds a lease, epoch.';

GRANT SELECT ON @extschema@.es_subscription_status TO PUBLIC;

-- Statistics

CREATE FUNCTION @extschema@.es_inspect_store(schema_name name)
RETURNS TABLE (last_position bigint, horizon bigint, conflicts bigint, refusals bigint, repeats bigint, watermark bigint, watermark_at timestamptz)
LANGUAGE c ROWS 1
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_inspect_store(name) IS
'What es_stat_store shows of a store. For members of pg_read_all_stats (such as pg_monitor) and whoever may read es_store; no row for others, for a schema without a store, or if it and its tables have several owners. A warning if they cannot be read, or are of a later format.';

CREATE FUNCTION @extschema@.es_inspect_partitions(schema_name name)
RETURNS TABLE (subscription text, partition integer, "position" bigint, lag bigint, waiting_since timestamptz, parked bigint, claimed_by text, claimed_until timestamptz, advanced_at timestamptz)
LANGUAGE c ROWS 10
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION @extschema@.es_inspect_partitions(name) IS
'What es_stat_subscription shows of a store. Rows and rights as es_inspect_store().';

CREATE VIEW @extschema@.es_stat_store AS
SELECT n.nspname AS store,
	   t.aggregates, t.events, t.bytes, t.appends, t.appended_events,
	   i.conflicts, i.refusals, i.repeats,
	   i.last_position, i.horizon, i.last_position - i.horizon AS horizon_lag,
	   coalesce(f.in_flight, 0) AS in_flight, f.in_flight_since,
	   i.watermark, i.watermark_at
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL @extschema@.es_inspect_store(n.nspname) AS i
CROSS JOIN LATERAL (
	-- A partitioned table is what its partitions are.
	SELECT sum(greatest(pg_catalog.pg_stat_get_live_tuples(p.oid), p.reltuples::bigint, 0)) FILTER (WHERE r.relname = 'es_aggregates')::bigint AS aggregates,
		   sum(greatest(pg_catalog.pg_stat_get_live_tuples(p.oid), p.reltuples::bigint, 0)) FILTER (WHERE r.relname = 'es_events')::bigint AS events,
		   sum(pg_catalog.pg_total_relation_size(p.oid))::bigint AS bytes,
		   sum(pg_catalog.pg_stat_get_tuples_inserted(p.oid) + pg_catalog.pg_stat_get_tuples_updated(p.oid)) FILTER (WHERE r.relname = 'es_aggregates')::bigint AS appends,
		   sum(pg_catalog.pg_stat_get_tuples_inserted(p.oid)) FILTER (WHERE r.relname = 'es_events')::bigint AS appended_events
	FROM pg_catalog.pg_class AS r
	CROSS JOIN LATERAL (SELECT r.oid WHERE r.relkind = 'r'
						UNION ALL
						SELECT l.relid FROM pg_catalog.pg_partition_tree(r.oid) AS l WHERE r.relkind = 'p' AND l.isleaf) AS l
	JOIN pg_catalog.pg_class AS p ON p.oid = l.oid
	WHERE r.relnamespace = n.oid
	  AND r.relname IN ('es_aggregates', 'es_events', 'es_tags', 'es_snapshots', 'es_subscriptions', 'es_parked_events', 'es_watermark', 'es_store')
) AS t
LEFT JOIN (
	SELECT store, count(*) AS in_flight, min(since) AS in_flight_since FROM @extschema@.es_in_flight GROUP BY store
) AS f ON f.store = n.nspname
WHERE c.relname = 'es_store' AND c.relkind = 'r' AND c.relpersistence = 'p';

COMMENT ON VIEW @extschema@.es_stat_store IS
'What the stores of this database hold and do: all of them for pg_monitor, else those that one may read. No rights on events are needed.';
COMMENT ON COLUMN @extschema@.es_stat_store.store IS 'Schema of the store';
COMMENT ON COLUMN @extschema@.es_stat_store.aggregates IS 'Number of aggregates, as estimated by the server''s statistics';
COMMENT ON COLUMN @extschema@.es_stat_store.events IS 'Number of events, as estimated by the server''s statistics';
COMMENT ON COLUMN @extschema@.es_stat_store.bytes IS 'Disk space of its tables and their indexes';
COMMENT ON COLUMN @extschema@.es_stat_store.appends IS 'Appends to aggregates since statistics were reset, those rolled back included';
COMMENT ON COLUMN @extschema@.es_stat_store.appended_events IS 'Events appended since statistics were reset, those rolled back included';
COMMENT ON COLUMN @extschema@.es_stat_store.conflicts IS 'Entries refused with VE001 or VE004, and attempts of es_execute() in vain, since the last crash; null on a standby';
COMMENT ON COLUMN @extschema@.es_stat_store.refusals IS 'Entries refused with VE002, VE003 or VE005, since the last crash; null on a standby';
COMMENT ON COLUMN @extschema@.es_stat_store.repeats IS 'Entries and commands with a request id that was known, since the last crash; null on a standby';
COMMENT ON COLUMN @extschema@.es_stat_store.last_position IS 'The last position drawn; no store has more events than that';
COMMENT ON COLUMN @extschema@.es_stat_store.horizon IS 'Up to here the log is settled; on a standby the watermark. For monitoring: what is there need not be on disk yet, so cursors go by es_horizon()';
COMMENT ON COLUMN @extschema@.es_stat_store.horizon_lag IS 'Positions drawn that readers of the log cannot have yet';
COMMENT ON COLUMN @extschema@.es_stat_store.in_flight IS 'Transactions that have appended and are still open, see es_in_flight';
COMMENT ON COLUMN @extschema@.es_stat_store.in_flight_since IS 'Begin of the oldest of them';
COMMENT ON COLUMN @extschema@.es_stat_store.watermark IS 'Up to here readers on a standby get; null without a worker';
COMMENT ON COLUMN @extschema@.es_stat_store.watermark_at IS 'When the worker wrote it';

GRANT SELECT ON @extschema@.es_stat_store TO PUBLIC;

CREATE VIEW @extschema@.es_stat_subscription AS
SELECT n.nspname AS store, i.*
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL @extschema@.es_inspect_partitions(n.nspname) AS i
WHERE c.relname = 'es_store' AND c.relkind = 'r' AND c.relpersistence = 'p';

COMMENT ON VIEW @extschema@.es_stat_subscription IS
'How far the subscriptions of all stores of this database are, partition by partition: all of them for pg_monitor, else those of stores that one may read.';
COMMENT ON COLUMN @extschema@.es_stat_subscription.store IS 'Schema of the store';
COMMENT ON COLUMN @extschema@.es_stat_subscription.subscription IS 'Name of the subscription';
COMMENT ON COLUMN @extschema@.es_stat_subscription.partition IS 'Partition, from 0';
COMMENT ON COLUMN @extschema@.es_stat_subscription."position" IS 'Everything up to here is done';
COMMENT ON COLUMN @extschema@.es_stat_subscription.lag IS 'Positions between there and the horizon';
COMMENT ON COLUMN @extschema@.es_stat_subscription.waiting_since IS 'When the first event in between was appended, whether the subscription wants it or not';
COMMENT ON COLUMN @extschema@.es_stat_subscription.parked IS 'Events set aside, and those that wait behind them';
COMMENT ON COLUMN @extschema@.es_stat_subscription.claimed_by IS 'Who holds a lease on it';
COMMENT ON COLUMN @extschema@.es_stat_subscription.claimed_until IS 'End of the last lease';
COMMENT ON COLUMN @extschema@.es_stat_subscription.advanced_at IS 'When it last advanced';

GRANT SELECT ON @extschema@.es_stat_subscription TO PUBLIC;
