-- What a user adds to the tables holds for appends, though plain tables are written below the executor.
SET client_min_messages = warning;
CREATE SCHEMA t_unusual_tables;
SELECT es_create_store('t_unusual_tables');
SET eventstore.store = 't_unusual_tables';
SET search_path = t_unusual_tables, public;

CREATE FUNCTION pg_temp.outcome(append text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE append;
	RETURN 'appended';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

CREATE TEMPORARY TABLE appends (n serial, append text);
INSERT INTO appends (append) VALUES
	($$SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]')$$),
	($$SELECT es_append('order-1', '[{"type": "Paid"}, {"type": "Shipped", "tags": ["t", "u"]}]')$$),
	($$SELECT es_append('order-' || (SELECT count(*) + 1 FROM es_aggregates), '[{"type": "Placed"}]', 0)$$),
	($$SELECT es_append_many('[{"key": "order-1", "events": [{"type": "Paid", "tags": ["t"]}]}, {"key": "order-2", "events": [{"type": "Paid"}], "allow_create": true}]')$$);
CREATE FUNCTION pg_temp.outcomes() RETURNS TABLE (n integer, outcome text) LANGUAGE sql AS
	'SELECT n, pg_temp.outcome(append) FROM appends ORDER BY n';

SELECT es_append('order-1', '[{"type": "Placed"}]', 0);

-- A check.
BEGIN;
ALTER TABLE es_events ADD CHECK (type <> 'Shipped' AND type <> 'Placed') NOT VALID;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
BEGIN;
ALTER TABLE es_aggregates ADD CHECK (version < 3);
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
BEGIN;
ALTER TABLE es_tags ADD CHECK (tag <> 'u');
SELECT * FROM pg_temp.outcomes();
ROLLBACK;

BEGIN;
SET LOCAL eventstore.allow_direct_writes = on;
DELETE FROM es_events;
ALTER TABLE es_events ALTER COLUMN data SET NOT NULL;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;

-- One more column, with a default, or computed.
BEGIN;
ALTER TABLE es_events ADD COLUMN node text NOT NULL DEFAULT 'unknown';
ALTER TABLE es_events ALTER COLUMN node SET DEFAULT 'here';
ALTER TABLE es_events ADD COLUMN category text GENERATED ALWAYS AS (split_part(key, '-', 1)) STORED;
ALTER TABLE es_aggregates ADD COLUMN changed integer DEFAULT 7;
SELECT * FROM pg_temp.outcomes();
SELECT node, category, count(*) FROM es_events GROUP BY 1, 2 ORDER BY 1, 2;
SELECT key, version, changed FROM es_aggregates ORDER BY key;
ROLLBACK;

-- A dropped one, which no store can do without.
BEGIN;
ALTER TABLE es_events DROP COLUMN metadata;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;

-- Foreign keys, from and to.
BEGIN;
CREATE TABLE known_types (type text COLLATE "C" PRIMARY KEY);
INSERT INTO known_types VALUES ('Placed'), ('Paid');
ALTER TABLE es_events ADD FOREIGN KEY (type) REFERENCES known_types;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
BEGIN;
CREATE TABLE invoices (order_key text COLLATE "C" REFERENCES es_aggregates, position bigint REFERENCES es_events (position));
SELECT * FROM pg_temp.outcomes();
INSERT INTO invoices SELECT key, position FROM es_events;
SELECT * FROM pg_temp.outcomes();
INSERT INTO invoices VALUES ('order-9', 1);
ROLLBACK;

-- More indexes: of an expression, a part, something excluded. They have every row.
BEGIN;
CREATE INDEX by_category ON es_events (es_category(key));
CREATE UNIQUE INDEX one_shipment ON es_events (key) WHERE type = 'Shipped';
CREATE INDEX open_versions ON es_aggregates (version) WHERE closed_at IS NULL;
SELECT * FROM pg_temp.outcomes();
SELECT * FROM pg_temp.outcomes();
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM es_events WHERE es_category(key) = 'order';
SELECT key, version FROM es_events WHERE type = 'Shipped';
SELECT key, version FROM es_aggregates WHERE version > 0 AND closed_at IS NULL ORDER BY version;
ROLLBACK;
BEGIN;
ALTER TABLE es_events ADD CONSTRAINT one_shipment EXCLUDE (key WITH =) WHERE (type = 'Shipped') DEFERRABLE INITIALLY DEFERRED;
SELECT * FROM pg_temp.outcomes();
SELECT * FROM pg_temp.outcomes();
COMMIT;

-- Triggers at the statement, with all rows.
BEGIN;
CREATE TABLE told (what text, rows bigint);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO told SELECT TG_TABLE_NAME || ' ' || TG_OP, count(*) FROM fresh;
	RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON es_events REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION tell();
CREATE TRIGGER tell AFTER INSERT ON es_tags REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION tell();
CREATE TRIGGER tell AFTER UPDATE ON es_aggregates REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION tell();
SELECT * FROM pg_temp.outcomes();
SELECT * FROM told ORDER BY what, rows;
ROLLBACK;
BEGIN;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed for today'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON es_aggregates EXECUTE FUNCTION refuse();
SELECT * FROM pg_temp.outcomes();
ROLLBACK;
BEGIN;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed for today'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON es_events EXECUTE FUNCTION refuse();
SELECT * FROM pg_temp.outcomes();
ROLLBACK;

-- Inheritance: a child's rows belong to the parent.
BEGIN;
CREATE TABLE old_aggregates () INHERITS (es_aggregates);
SET LOCAL eventstore.allow_direct_writes = on;
WITH moved AS (DELETE FROM ONLY es_aggregates WHERE key = 'order-1' RETURNING *) INSERT INTO old_aggregates SELECT * FROM moved;
SELECT es_append('order-1', '[{"type": "Paid"}]', 1);
SELECT tableoid::regclass, key, version FROM es_aggregates ORDER BY key;
ROLLBACK;

-- A publication of updates that subscribers could not find the rows of.
BEGIN;
SET LOCAL client_min_messages = error;  -- whatever wal_level is
CREATE PUBLICATION regress_es_unusual_tables FOR TABLE es_aggregates;
ALTER TABLE es_aggregates REPLICA IDENTITY NOTHING;
SELECT * FROM pg_temp.outcomes();
ROLLBACK;

-- Rights on columns alone.
CREATE ROLE regress_es_unusual_tables;
GRANT USAGE ON SCHEMA t_unusual_tables TO regress_es_unusual_tables;
GRANT SELECT ON es_store TO regress_es_unusual_tables;
GRANT USAGE ON es_position_seq TO regress_es_unusual_tables;
GRANT SELECT (key, version, closed_at), UPDATE (version) ON es_aggregates TO regress_es_unusual_tables;
GRANT UPDATE ON es_aggregates TO regress_es_unusual_tables;
GRANT INSERT (position, version, recorded_at, id, key, type, data, metadata, tags, request_id) ON es_events TO regress_es_unusual_tables;
SET ROLE regress_es_unusual_tables;
SELECT pg_temp.outcome($$SELECT es_append('order-1', '[{"type": "Paid"}]')$$);
SELECT pg_temp.outcome($$SELECT es_append('order-1', '[{"type": "Paid", "tags": ["t"]}]')$$);
RESET ROLE;
REVOKE INSERT (data) ON es_events FROM regress_es_unusual_tables;
SET ROLE regress_es_unusual_tables;
SELECT pg_temp.outcome($$SELECT es_append('order-1', '[{"type": "Paid"}]')$$);
RESET ROLE;

SELECT * FROM es_check_store('t_unusual_tables');
DROP TABLE appends;
SELECT es_drop_store('t_unusual_tables');
DROP SCHEMA t_unusual_tables;
DROP ROLE regress_es_unusual_tables;
