-- es_append_many writes to several aggregates, all or nothing, in the order given.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_many;
CREATE SCHEMA t_append_many AUTHORIZATION regress_es_append_many;
SET ROLE regress_es_append_many;
SELECT es_create_store('t_append_many');
SET eventstore.store = 't_append_many';

-- A transfer: two aggregates move together.
SELECT key, status, version FROM es_append_many('[
	{"key": "account-2", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-1", "events": [{"type": "Opened"}, {"type": "Deposited", "data": 100}], "allow_create": true}]');
CREATE TEMPORARY TABLE result AS
	SELECT * FROM es_append_many('[
		{"key": "account-2", "events": [{"type": "Credited", "data": 30}], "expected_version": 1},
		{"key": "account-1", "events": [{"type": "Debited", "data": 30}], "expected_version": 2}]');
SELECT entry, key, status, version FROM result ORDER BY entry;

-- The rows agree with what is stored: positions follow the order of the entries.
SELECT r.entry, count(*) AS events, bool_and(e.position BETWEEN r.first_position AND r.last_position) AS within,
	   bool_and(e.recorded_at = r.recorded_at) AS recorded_at_is_stored,
	   min(e.position) = r.first_position AND max(e.position) = r.last_position AS ends,
	   coalesce(r.first_position > lag(r.last_position) OVER (ORDER BY r.entry), true) AS ascending
FROM result AS r JOIN t_append_many.es_events AS e USING (key, version)
GROUP BY r.entry, r.first_position, r.last_position, r.recorded_at
ORDER BY r.entry;

-- The rows come in the order of the entries, and the result can be used as any function in FROM or SELECT.
SELECT (es_append_many('[
	{"key": "account-2", "events": [{"type": "Closed"}]},
	{"key": "account-1", "events": [{"type": "Closed"}]}]')).key;

-- The same key twice: each entry sees what the one before it did.
SELECT entry, key, status, version FROM es_append_many('[
	{"key": "account-3", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-4", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-3", "events": [{"type": "Deposited"}, {"type": "Deposited"}], "expected_version": 1},
	{"key": "account-3", "events": [{"type": "Frozen"}]}]');
SELECT key, version, type FROM t_append_many.es_events WHERE key >= 'account-3' ORDER BY position;

-- The same key twice, with an expectation that only held before the call.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-3", "events": [{"type": "Thawed"}], "expected_version": 4},
	{"key": "account-3", "events": [{"type": "Closed"}], "expected_version": 4}]');
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-5", "events": [{"type": "Opened"}], "expected_version": 0},
	{"key": "account-5", "events": [{"type": "Opened"}], "expected_version": 0}]');
-- Created by the first entry, so the second need not allow it.
SELECT entry, key, status, version FROM es_try_append_many('[
	{"key": "account-6", "events": [{"type": "Opened"}], "allow_create": true},
	{"key": "account-6", "events": [{"type": "Deposited"}]}]');

-- es_try_append_many writes just as well.
SELECT entry, key, status, version, first_position IS NOT NULL AS positions, recorded_at IS NOT NULL AS recorded
FROM es_try_append_many('[
	{"key": "account-3", "events": [{"type": "Thawed"}], "expected_version": 4},
	{"key": "account-4", "events": [{"type": "Closed"}]}]');

-- One entry is fine.
SELECT entry, key, status, version FROM es_append_many('[{"key": "account-4", "events": [{"type": "Reopened"}], "expected_version": 2}]');

-- Nothing of a refused call was written.
SELECT a.key, a.version, count(*) AS events
FROM t_append_many.es_aggregates AS a LEFT JOIN t_append_many.es_events AS e USING (key)
GROUP BY a.key, a.version ORDER BY a.key;

DROP TABLE result;
SELECT es_drop_store('t_append_many');
RESET ROLE;
DROP SCHEMA t_append_many;
DROP ROLE regress_es_append_many;
