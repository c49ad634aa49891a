-- The subscription functions leave eventstore.store and search_path as they were, also when they fail, and find the store as the other functions do.
SET client_min_messages = warning;
CREATE ROLE regress_es_subscription_store_setting;
CREATE SCHEMA t_subscription_store_setting AUTHORIZATION regress_es_subscription_store_setting;
CREATE SCHEMA t_subscription_store_setting_2 AUTHORIZATION regress_es_subscription_store_setting;

CREATE FUNCTION pg_temp.outcome(command text)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

SET ROLE regress_es_subscription_store_setting;
SELECT es_create_store('t_subscription_store_setting'), es_create_store('t_subscription_store_setting_2');
SET eventstore.store = 't_subscription_store_setting';
SELECT es_append('order-1', '[{"type": "A"}, {"type": "B"}]', 0);
SET eventstore.store = 't_subscription_store_setting_2';
SELECT es_append('order-2', '[{"type": "C"}]', 0);

-- Every function, on the other store than the setting's; the setting is looked at after each of them.
SELECT n, command, pg_temp.outcome(command), current_setting('eventstore.store'), current_setting('search_path')
FROM (VALUES
	(1, 'SELECT es_create_subscription(''s'', schema_name => ''t_subscription_store_setting'')'),
	(2, 'SELECT es_create_subscription(''s'', schema_name => ''t_subscription_store_setting'')'),
	(3, 'SELECT es_create_subscription(''bad'', ''{}'', schema_name => ''t_subscription_store_setting'')'),
	(4, 'SELECT es_fetch(''s'', 1, schema_name => ''t_subscription_store_setting'')'),
	(5, 'SELECT es_fetch(''s'', 0, schema_name => ''t_subscription_store_setting'')'),
	(6, 'SELECT es_fetch(''none'', schema_name => ''t_subscription_store_setting'')'),
	(7, 'SELECT es_fetch(''s'', 1, ''1 microsecond'', schema_name => ''t_subscription_store_setting'')'),
	(8, 'SELECT es_park(''s'', 1, ''x'', ''0'', schema_name => ''t_subscription_store_setting'')'),
	(9, 'SELECT es_park(''s'', 99, ''x'', schema_name => ''t_subscription_store_setting'')'),
	(10, 'SELECT es_fetch(''s'', schema_name => ''t_subscription_store_setting'')'),
	(11, 'SELECT es_unpark(''s'', 1, schema_name => ''t_subscription_store_setting'')'),
	(12, 'SELECT es_unpark(''s'', 1, schema_name => ''t_subscription_store_setting'')'),
	(13, 'SELECT es_advance(''s'', 0, 0, 1, 1, schema_name => ''t_subscription_store_setting'')'),
	(14, 'SELECT es_advance(''s'', 0, 0, 1, 1, schema_name => ''t_subscription_store_setting'')'),
	(15, 'SELECT es_list_subscriptions(''t_subscription_store_setting'')'),
	(16, 'SELECT es_sync_position(''t_subscription_store_setting'')'),
	(17, 'SELECT es_reset_subscription(''s'', schema_name => ''t_subscription_store_setting'')'),
	(18, 'SELECT es_drop_subscription(''s'', schema_name => ''t_subscription_store_setting'')'),
	(19, 'SELECT es_drop_subscription(''s'', schema_name => ''t_subscription_store_setting'')')
) AS c (n, command) ORDER BY n;
SELECT type FROM es_read_all();

-- Outside of a transaction block, within one, within a savepoint, and set for the transaction only.
SELECT es_create_subscription('s');
SELECT type FROM es_fetch('s');
SHOW eventstore.store;
\set VERBOSITY sqlstate
SELECT type FROM es_fetch('s', 0);
SHOW eventstore.store;
BEGIN;
SET LOCAL eventstore.store = 't_subscription_store_setting';
SAVEPOINT a;
SELECT type FROM es_fetch('s', schema_name => 't_subscription_store_setting_2');
SHOW eventstore.store;
SELECT type FROM es_fetch('s');
ROLLBACK TO a;
SHOW eventstore.store;
SELECT type FROM es_read_all();
COMMIT;
SHOW eventstore.store;
SET eventstore.store = 't_subscription_store_setting_2';
BEGIN;
SELECT type FROM es_fetch('s');
SET eventstore.store = 't_subscription_store_setting';
ROLLBACK;
SHOW eventstore.store;
\set VERBOSITY default

-- By search path, with the setting empty.
RESET eventstore.store;
SET search_path = t_subscription_store_setting_2, public;
SELECT type FROM es_fetch('s');
SHOW eventstore.store;
SELECT subscription FROM es_subscription_status;
SHOW search_path;
RESET search_path;

-- In a session that has not used the extension before.
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_subscription_store_setting;
SELECT type FROM es_fetch('s', schema_name => 't_subscription_store_setting_2');
SHOW eventstore.store;
\connect -
SET client_min_messages = warning;
SET ROLE regress_es_subscription_store_setting;
SET eventstore.store = 't_subscription_store_setting';
SELECT type FROM es_fetch('s', schema_name => 't_subscription_store_setting_2');
SHOW eventstore.store;
SELECT type FROM es_read_all();

SELECT es_drop_store('t_subscription_store_setting'), es_drop_store('t_subscription_store_setting_2');
RESET ROLE;
DROP SCHEMA t_subscription_store_setting, t_subscription_store_setting_2;
DROP ROLE regress_es_subscription_store_setting;
