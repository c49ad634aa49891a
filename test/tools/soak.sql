-- What test/tools/soak measures with: every function, to be called again and again, and
-- how much memory a session holds.  For a superuser, on Linux.

CREATE EXTENSION eventstore;
CREATE SCHEMA soak;

SELECT es_create_store('soak_store');
SELECT es_create_store('soak_triggers');
-- More stores than a session remembers.
SELECT es_create_store('soak_' || n) FROM generate_series(0, 39) AS n;
SET eventstore.store = 'soak_store';
SELECT es_create_subscription('soak');
SELECT es_append('append', '[{"type": "first"}]', 0),
	   es_append('repeated', '[{"type": "first"}]', 0),
	   es_append('once', '[{"type": "first", "tags": ["once"]}]', 0);

-- Decide to append one event.
CREATE FUNCTION soak.decide(key text, version bigint, command jsonb) RETURNS jsonb
LANGUAGE sql AS $$ SELECT '[{"type": "decided"}]'::jsonb $$;

-- Decide, but only after somebody else has appended: a conflict on every attempt.
CREATE FUNCTION soak.decide_too_late(key text, version bigint, command jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_append(key, '[{"type": "faster"}]');
	RETURN '[{"type": "decided"}]';
END $$;

CREATE FUNCTION soak.decide_many(command jsonb) RETURNS jsonb
LANGUAGE sql AS $$
	SELECT '[{"key": "decided-1", "events": [{"type": "decided", "tags": ["decided"]}], "allow_create": true},
			 {"key": "decided-2", "events": [{"type": "decided"}], "allow_create": true}]'::jsonb
$$;

-- Evaluate an expression that must fail.  The error leaves a subtransaction.
CREATE FUNCTION soak.fails(expression text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE 'SELECT ' || expression;
	EXCEPTION WHEN OTHERS THEN
		RETURN true;
	END;
	RAISE 'no error: %', expression;
END $$;

-- Fetch a page and advance past it.
CREATE FUNCTION soak.consume(subscription text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	page record;
BEGIN
	SELECT partition, from_position, max(to_position) AS to_position INTO page
	FROM es_fetch(subscription, 10) GROUP BY 1, 2;
	PERFORM es_advance(subscription, page.partition, page.from_position, page.to_position);
	RETURN page.to_position;
END $$;

CREATE FUNCTION soak.park(subscription text, n integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	appended bigint;
BEGIN
	appended := (es_try_append('parked-' || n, '[{"type": "parked"}]', 0)).last_position;
	PERFORM es_park(subscription, appended, 'soak');
	PERFORM es_unpark(subscription, appended);
END $$;

-- Evaluate an expression in another store.
CREATE FUNCTION soak.in_store(store text, expression text, n integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('eventstore.store', store, true);
	EXECUTE 'SELECT ' || expression USING n;
	PERFORM set_config('eventstore.store', 'soak_store', true);
END $$;

-- Triggers that make us use SPI.
CREATE FUNCTION soak.do_nothing() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER soak BEFORE INSERT ON soak_triggers.es_events FOR EACH ROW EXECUTE FUNCTION soak.do_nothing();
CREATE TRIGGER soak BEFORE INSERT OR UPDATE ON soak_triggers.es_aggregates FOR EACH ROW EXECUTE FUNCTION soak.do_nothing();
CREATE TRIGGER soak BEFORE INSERT ON soak_triggers.es_tags FOR EACH ROW EXECUTE FUNCTION soak.do_nothing();

-- The expressions; {n} is the number of the call.  Those that cost more are called less often.
CREATE TABLE soak.calls (name text PRIMARY KEY, expression text NOT NULL, cost integer NOT NULL DEFAULT 1);

INSERT INTO soak.calls (name, expression) VALUES
	('nothing', '{n}'),
	('append', $$ es_append('append', '[{"type": "soaked"}]', allow_create => true) $$),
	('append, version expected', $$ es_append('expected-' || {n} / 100, '[{"type": "soaked"}]', {n} % 100) $$),
	('append, created', $$ es_append('created-' || {n}, '[{"type": "soaked", "data": {"n": 1}}]', 0) $$),
	('append, tags', $$ es_append('tagged', '[{"type": "soaked", "tags": ["a", "b"]}]', allow_create => true) $$),
	('append, request id', $$ es_append('requested', '[{"type": "soaked"}]', allow_create => true, request_id => {n}::text) $$),
	('append, request repeated', $$ es_append('repeated', '[{"type": "soaked"}]', allow_create => true, request_id => 'a') $$),
	('append, conflict', $$ soak.fails('es_append(''append'', ''[{"type": "soaked"}]'', 1000000000)') $$),
	('append, bad event', $$ soak.fails('es_append(''append'', ''[{"type": "a"}, {"typo": "soaked"}]'')') $$),
	('append, undone', $$ soak.fails('es_append(''undone'', ''[{"type": "a", "tags": ["a"]}]'', 0) / 0') $$),
	('append, triggers', $$ soak.in_store('soak_triggers', 'es_append(''append'', ''[{"type": "soaked", "tags": ["a"]}]'', allow_create => true)', {n}) $$),
	('append, created, triggers', $$ soak.in_store('soak_triggers', 'es_append(''created-'' || $1, ''[{"type": "a"}, {"type": "b"}]'', 0)', {n}) $$),
	('try_append', $$ es_try_append('tried', '[{"type": "soaked"}]', allow_create => true) $$),
	('try_append, conflict', $$ es_try_append('append', '[{"type": "soaked"}]', 1000000000) $$),
	('append_many', $$ (SELECT count(*) FROM es_append_many('[{"key": "many-1", "events": [{"type": "soaked"}], "allow_create": true}, {"key": "many-2", "events": [{"type": "soaked"}], "allow_create": true}, {"key": "absent", "expected_version": 0}]')) $$),
	('append_many, condition', $$ (SELECT count(*) FROM es_append_many('[{"key": "many-1", "events": [{"type": "soaked", "tags": ["many"]}], "allow_create": true, "conditions": [{"query": [{"tags": ["nobody"]}]}]}]')) $$),
	('try_append_many, refused', $$ (SELECT count(*) FROM es_try_append_many('[{"key": "append", "expected_version": 1000000000, "events": [{"type": "soaked"}]}, {"conditions": [{"query": [{"tags": ["a"]}]}]}]')) $$),
	('append_each', $$ (SELECT count(*) FROM es_append_each('[{"key": "each-1", "events": [{"type": "soaked"}], "allow_create": true}, {"key": "absent", "events": [{"type": "soaked"}]}, {"key": "each-2", "events": [{"type": "soaked"}], "allow_create": true, "request_id": "a"}]')) $$),
	('find_request', $$ (SELECT count(*) FROM es_find_request('repeated', 'a')) $$),
	('lock', $$ (SELECT count(*) FROM es_lock(ARRAY['append', 'absent-1', 'absent-2'])) $$),
	('version', $$ es_version('append') $$),
	('read', $$ (SELECT count(*) FROM es_read('append', max_count => 10)) $$),
	('read, backwards', $$ (SELECT count(*) FROM es_read('append', max_count => 10, backwards => true)) $$),
	('load', $$ (SELECT count(*) FROM es_load('repeated')) $$),
	('save_snapshot', $$ es_save_snapshot('repeated', 1, '{"n": 1}') $$),
	('query', $$ (SELECT count(*) FROM es_query('[{"tags": ["once"]}, {"tags": ["many", "few"]}]')) $$),
	('execute', $$ (SELECT count(*) FROM es_execute('executed', 'soak.decide')) $$),
	('execute, request repeated', $$ (SELECT count(*) FROM es_execute('executed', 'soak.decide', request_id => 'a')) $$),
	('execute, conflicts', $$ soak.fails('count(*) FROM es_execute(''executed'', ''soak.decide_too_late'')') $$),
	('execute_many', $$ (SELECT count(*) FROM es_execute_many(ARRAY['decided-1'], 'soak.decide_many')) $$),
	('read_all', $$ (SELECT count(*) FROM es_read_all(max_count => 10)) $$),
	('read_all, query', $$ (SELECT count(*) FROM es_read_all(query => '[{"tags": ["a"], "types": ["soaked"]}, {"categories": ["created"]}]', max_count => 10, to_position => 100)) $$),
	('horizon', $$ es_horizon() $$),
	('fetch and advance', $$ soak.consume('soak') $$),
	('park and unpark', $$ soak.park('soak', {n}) $$),
	('views', $$ (SELECT count(*) FROM es_in_flight) + (SELECT count(*) FROM es_subscription_status) $$),
	('category and partition', $$ es_category('a-1') || es_partition('a-1', 4) $$);
INSERT INTO soak.calls (name, expression) VALUES
	('append, many stores', $$ soak.in_store('soak_' || {n} % 40, 'es_append(''a'', ''[{"type": "soaked"}]'', allow_create => true)', {n}) $$);
UPDATE soak.calls SET cost = 5 WHERE name IN ('fetch and advance', 'read_all, query', 'append, many stores');

-- How much a session grew over so many calls.
CREATE TABLE soak.growth (form text, name text, calls integer, context_bytes bigint, process_kb bigint);

CREATE SEQUENCE soak.call_number;

-- Bytes in the session's memory contexts.  The server remembers which of a transaction's
-- own commands changed a row; that is not ours.
CREATE FUNCTION soak.memory() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	bytes bigint;
BEGIN
	SELECT sum(used_bytes) INTO bytes FROM pg_backend_memory_contexts WHERE name <> 'Combo CIDs';
	RETURN bytes;
END $$;

-- Kilobytes of the process that are not shared, so that memory beside the contexts counts.
CREATE FUNCTION soak.process_kb() RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
	RETURN substring(pg_read_file('/proc/self/smaps_rollup') FROM 'Anonymous: +([0-9]+)');
END $$;

-- The numbers of the calls go on with the next hundred.
CREATE FUNCTION soak.next_hundred() RETURNS bigint
LANGUAGE sql AS $$
	SELECT setval('soak.call_number', (nextval('soak.call_number') / 100 + 1) * 100 - 1)
$$;

CREATE PROCEDURE soak.repeat(expression text, calls integer, level text)
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. calls LOOP
		EXECUTE 'SELECT ' || replace(expression, '{n}', '$1') USING nextval('soak.call_number')::integer;
		IF level <> '' THEN
			COMMIT;
		END IF;
	END LOOP;
END $$;

-- So many calls, after half as many before, each in a transaction of that level; or all
-- in one transaction, if level is empty.
CREATE PROCEDURE soak.measure(name text, expression text, calls integer, level text)
LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
	after bigint;
BEGIN
	PERFORM soak.next_hundred(), soak.memory();
	-- The transactions after this one have the level from the start.
	PERFORM set_config('default_transaction_isolation', lower(coalesce(nullif(level, ''), 'READ COMMITTED')), false);
	COMMIT;
	CALL soak.repeat(expression, calls / 2, level);
	before := soak.memory();
	IF level <> '' THEN
		COMMIT;
	END IF;
	CALL soak.repeat(expression, calls, level);
	after := soak.memory();
	INSERT INTO soak.growth
	VALUES (CASE level WHEN '' THEN 'one transaction' ELSE level END, name, calls, after - before);
	COMMIT;
END $$;

-- The same in one statement.
CREATE PROCEDURE soak.measure_statement(name text, expression text, calls integer)
LANGUAGE plpgsql AS $$
DECLARE
	memory bigint[];
BEGIN
	PERFORM soak.next_hundred(), soak.memory();
	EXECUTE format('SELECT array_agg(memory) FROM ('
				   'SELECT %s AS result, CASE WHEN i %% %s = 0 THEN soak.memory() END AS memory'
				   ' FROM generate_series(1, %s) AS i, LATERAL (SELECT nextval(''soak.call_number'')::integer + i * 0 AS n) AS number'
				   ' OFFSET 0) AS s WHERE memory IS NOT NULL AND (result IS NULL OR true)',
				   replace(expression, '{n}', 'n'), calls / 2, calls / 2 * 3)
	INTO memory;
	INSERT INTO soak.growth VALUES ('one statement', name, calls, memory[3] - memory[1]);
	COMMIT;
END $$;

-- What a session held after so many appends.
CREATE TABLE soak.samples (appends integer, context_bytes bigint, process_kb bigint);

CREATE FUNCTION soak.sample(appends integer) RETURNS void
LANGUAGE sql AS $$ INSERT INTO soak.samples VALUES (appends, soak.memory(), soak.process_kb()) $$;

CREATE SEQUENCE soak.refused;

-- One call at random, in a transaction of its own; what others do may refuse it.
CREATE PROCEDURE soak.random_call()
LANGUAGE plpgsql AS $$
DECLARE
	expression text;
BEGIN
	SELECT c.expression INTO expression FROM soak.calls AS c ORDER BY random() LIMIT 1;
	EXECUTE 'SELECT ' || replace(expression, '{n}', '$1') USING nextval('soak.call_number')::integer;
EXCEPTION WHEN OTHERS THEN
	PERFORM nextval('soak.refused');
END $$;
