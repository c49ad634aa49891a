-- What is stored of an event: every field as it was given, and an id where none was.
SET client_min_messages = warning;
CREATE ROLE regress_es_append_events;
CREATE SCHEMA t_append_events AUTHORIZATION regress_es_append_events;
CREATE FUNCTION pg_temp.is_uuid(form text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
	RETURN form::uuid IS NOT NULL;
EXCEPTION WHEN invalid_text_representation THEN
	RETURN false;
END
$$;
CREATE FUNCTION pg_temp.is_id(form text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM es_append('form-' || form, jsonb_build_array(jsonb_build_object('type', 'T', 'id', form)), 0);
	RETURN (SELECT id = form::uuid FROM es_read('form-' || form));
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN false;
END
$$;

SET ROLE regress_es_append_events;
SELECT es_create_store('t_append_events');
SET eventstore.store = 't_append_events';

-- An event may have a type only, or all fields.
SELECT es_append('order-1', '[
	{"type": "OrderPlaced"},
	{"type": "LineAdded", "data": {"sku": "A-1", "quantity": 2}, "metadata": {"correlation_id": "c-1", "n": 1},
	 "id": "0189f8f0-1c7d-7cc3-98c4-dc0c0c07398f", "tags": ["customer:7", "sku:A-1"]}]', 0);
SELECT version, type, data, metadata, tags, version = 1 OR id = '0189f8f0-1c7d-7cc3-98c4-dc0c0c07398f' AS id_as_given
FROM es_read('order-1') ORDER BY version;

-- Data may be any JSON; absent data is SQL NULL, and JSON null stays JSON null.
SELECT es_append('data-1', '[
	{"type": "Absent"}, {"type": "Null", "data": null}, {"type": "False", "data": false},
	{"type": "Number", "data": 12345678901234567890.12345678901234567890}, {"type": "String", "data": "text"},
	{"type": "Array", "data": [1, [2, null]]}, {"type": "Object", "data": {"b": 1, "a": {"c": null}}},
	{"type": "EmptyArray", "data": []}, {"type": "EmptyObject", "data": {}}, {"type": "EmptyString", "data": ""}]', 0);
SELECT type, data, data IS NULL AS is_null, jsonb_typeof(data) FROM es_read('data-1') ORDER BY version;

-- Metadata may be empty, which is not the same as absent; the same holds for tags.
SELECT es_append('metadata-1', '[{"type": "Absent"}, {"type": "Empty", "metadata": {}, "tags": []},
	{"type": "Nested", "metadata": {"user": {"id": 7}, "roles": ["clerk", null]}}]', 0);
SELECT type, metadata, tags FROM es_read('metadata-1') ORDER BY version;

-- Ids that were not given are time-ordered (version 7, RFC 9562 variant) and ascend within one append.
SELECT es_append('ids-1', (SELECT jsonb_agg('{"type": "Ticked"}'::jsonb) FROM generate_series(1, 2000)), 0);
SELECT count(*), count(DISTINCT id),
	   bool_and(substr(id::text, 15, 1) = '7') AS version_7,
	   bool_and(substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')) AS variant,
	   bool_and(ascends) AS ascending,
	   bool_and(abs(extract(epoch FROM recorded_at) * 1000 - milliseconds) < 1000) AS of_that_time
FROM (SELECT id, recorded_at, coalesce(id > lag(id) OVER (ORDER BY version), true) AS ascends,
			 ('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint AS milliseconds
	  FROM es_read('ids-1')) AS e;

-- An id may be written in any of the forms of type uuid, and be stored twice: that is the caller's business.
SELECT es_append('ids-2', '[
	{"type": "A", "id": "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"}, {"type": "B", "id": "a0eebc999c0b4ef8bb6d6bb9bd380a11"}]', 0);
SELECT version, id FROM es_read('ids-2') ORDER BY version;

SELECT form, pg_temp.is_uuid(form) AS uuid, pg_temp.is_id(form) = pg_temp.is_uuid(form) AS the_same
FROM (VALUES (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 'A0EEBC999C0B4EF8BB6D6BB9BD380A11'), (3, 'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11'),
			 (4, '{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}'), (5, '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (6, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'),
			 (7, 'a0e-ebc999c0b4ef8bb6d6bb9bd380a11'), (8, 'a0eebc999c0b4ef8bb6d6bb9bd380a11-'), (9, '-a0eebc999c0b4ef8bb6d6bb9bd380a11'),
			 (10, ' a0eebc999c0b4ef8bb6d6bb9bd380a11'), (11, 'a0eebc999c0b4ef8bb6d6bb9bd380a11 '), (12, 'g0eebc999c0b4ef8bb6d6bb9bd380a11'),
			 (13, '{}'), (14, 'a0ee--bc999c0b4ef8bb6d6bb9bd380a11'), (15, 'urn:uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')) AS forms (n, form)
ORDER BY n;

-- The order of the fields of an event does not matter.
SELECT es_append('fields-1', '[{"tags": ["t"], "metadata": {"m": 1}, "data": 1, "type": "Any", "id": "00000000-0000-0000-0000-000000000001"}]', 0);
SELECT type, data, metadata, tags, id FROM es_read('fields-1');

-- Types and tags may be as long as 512 bytes.
SELECT es_append('long-1', jsonb_build_array(jsonb_build_object('type', repeat('t', 512), 'tags', jsonb_build_array(repeat('g', 512)))), 0);
SELECT octet_length(type), octet_length(tags[1]) FROM es_read('long-1');

SELECT es_drop_store('t_append_events');
RESET ROLE;
DROP SCHEMA t_append_events;
DROP ROLE regress_es_append_events;
