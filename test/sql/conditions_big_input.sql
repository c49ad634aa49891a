-- Many conditions, items, tags and entries in one call.
SET client_min_messages = warning;
CREATE ROLE regress_es_conditions_big_input;
CREATE SCHEMA t_conditions_big_input AUTHORIZATION regress_es_conditions_big_input;
SET ROLE regress_es_conditions_big_input;
SELECT es_create_store('t_conditions_big_input');
SET eventstore.store = 't_conditions_big_input';
SELECT es_append('seed-1', '[{"type": "T", "tags": ["seed"]}]', 0);

-- 2,000 items, of which the last one finds something; the same as a read.
SELECT count(*) FROM es_query((SELECT jsonb_agg(jsonb_build_object('tags', ARRAY['t-' || n])) FROM generate_series(1, 2000) AS n) || '[{"tags": ["seed"]}]');
SELECT status FROM es_try_append_many(jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query',
	(SELECT jsonb_agg(jsonb_build_object('tags', ARRAY['t-' || n])) FROM generate_series(1, 2000) AS n) || '[{"tags": ["seed"]}]')))));
SELECT status FROM es_try_append_many(jsonb_build_array(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('after', 1, 'query',
	(SELECT jsonb_agg(jsonb_build_object('tags', ARRAY['t-' || n])) FROM generate_series(1, 2000) AS n) || '[{"tags": ["seed"]}]')))));

-- 2,000 conditions of one entry, 2,000 guards, and an item of 2,000 tags.
SELECT status FROM es_try_append_many(jsonb_build_array(jsonb_build_object('conditions',
	(SELECT jsonb_agg(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', ARRAY['t-' || n])))) FROM generate_series(1, 2000) AS n) || '[{"query": [{"tags": ["seed"]}]}]')));
SELECT status, count(*) FROM es_try_append_many((SELECT jsonb_agg(jsonb_build_object('conditions', jsonb_build_array(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', ARRAY['t-' || n])))))) FROM generate_series(1, 2000) AS n))
GROUP BY status;
SELECT count(*) FROM es_query(jsonb_build_array(jsonb_build_object('tags', (SELECT jsonb_agg('t-' || n) FROM generate_series(1, 2000) AS n) || '["seed"]')));

-- 2,000 entries, each with an event and a condition on its tag; then each of them once more.
CREATE FUNCTION t_conditions_big_input.writes(prefix text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('key', prefix || n, 'events', jsonb_build_array(jsonb_build_object('type', 'T', 'tags', ARRAY['e-' || n])), 'allow_create', true,
										'conditions', jsonb_build_array(jsonb_build_object('query', jsonb_build_array(jsonb_build_object('tags', ARRAY['e-' || n]))))) ORDER BY n)
	FROM generate_series(1, 2000) AS n
$$;
SELECT status, count(*) FROM es_append_each(t_conditions_big_input.writes('a-')) GROUP BY status;
SELECT status, count(*) FROM es_append_each(t_conditions_big_input.writes('b-')) GROUP BY status;
SELECT status, count(*) FROM es_try_append_many(t_conditions_big_input.writes('a-')) GROUP BY status;

-- 2,000 entries whose events all have one tag, which each of them asks for with another type.
SELECT status, count(*), min(version), max(version) FROM es_append_many((
	SELECT jsonb_agg(jsonb_build_object('key', 'c-' || n, 'events', '[{"type": "T", "tags": ["common"]}]'::jsonb, 'expected_version', 0, 'conditions', '[{"query": [{"tags": ["common"], "types": ["U"]}]}]'::jsonb))
	FROM generate_series(1, 2000) AS n)) GROUP BY status;

SELECT count(*) FROM t_conditions_big_input.es_events;
SELECT finding FROM es_check_store('t_conditions_big_input');
DROP FUNCTION t_conditions_big_input.writes;
SELECT es_drop_store('t_conditions_big_input');
RESET ROLE;
DROP SCHEMA t_conditions_big_input;
DROP ROLE regress_es_conditions_big_input;
