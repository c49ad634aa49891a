-- A position beyond the end of the log is refused (VE007) by conditions and es_query: it comes from another copy of the log.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_cursor;
CREATE SCHEMA t_conditions_cursor AUTHORIZATION regress_es_conditions_cursor;

CREATE FUNCTION pg_temp.refusal(command text, OUT code text, OUT message text, OUT detail text, OUT hint text,
								OUT "schema" text, OUT "table" text, OUT "constraint" text)
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	code = 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "constraint" = CONSTRAINT_NAME;
END
$$;

SET ROLE regress_es_conditions_cursor;
SELECT es_create_store('t_conditions_cursor');
SET eventstore.store = 't_conditions_cursor';

-- In an empty log only 0 will do.
SELECT * FROM es_query('[{"tags": ["t"]}]', 0);
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 0}]}]');
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_query('[{"tags": ["t"]}]', 1)$$);
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 1}]}]')$$);

SELECT es_append('order-1', '[{"type": "Placed"}, {"type": "Paid"}]', 0);
SELECT count(*) FROM es_query('[{"tags": ["t"]}]', 2);
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 2}]}]');
\x on
SELECT * FROM pg_temp.refusal($$SELECT * FROM es_query('[{"tags": ["t"]}]', 3)$$);
SELECT * FROM pg_temp.refusal($$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 3}]}]')$$);
\x off
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_query('[{"tags": ["t"]}]', 9223372036854775807)$$);
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 9223372036854775807}]}]')$$);

-- It is an error, never a row; in any condition, on any entry.
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Back"}], "conditions": [{"query": [{"tags": ["t"]}]}, {"query": [{"tags": ["u"]}], "after": 3}]}]')$$);
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_append_each('[{"key": "order-1", "events": [{"type": "Back"}]}, {"key": "order-1", "events": [{"type": "Back"}], "conditions": [{"query": [{"tags": ["u"]}], "after": 3}]}]')$$);
SELECT code FROM pg_temp.refusal($$SELECT * FROM es_try_append_many('[{"key": "order-1", "events": [{"type": "Back"}], "expected_version": 1}, {"conditions": [{"query": [{"tags": ["u"]}], "after": 3}]}]')$$);

-- A position that was drawn and rolled back is not beyond the end; nor is one of the own transaction.
BEGIN;
SELECT es_append('order-1', '[{"type": "Shipped", "tags": ["t"]}]', 2);
SELECT position FROM es_query('[{"tags": ["t"]}]', 2);
SELECT position FROM es_query('[{"tags": ["t"]}]', 3);
ROLLBACK;
SELECT position FROM es_query('[{"tags": ["t"]}]', 3);
SELECT status FROM es_append_many('[{"conditions": [{"query": [{"tags": ["t"]}], "after": 3}]}]');

SELECT key, version FROM t_conditions_cursor.es_aggregates ORDER BY key;
SELECT es_drop_store('t_conditions_cursor');
RESET ROLE;
DROP SCHEMA t_conditions_cursor;
DROP ROLE regress_es_conditions_cursor;
