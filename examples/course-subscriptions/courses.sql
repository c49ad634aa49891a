-- Students subscribe to courses.  Two rules, of which neither is about one aggregate: a course has a capacity, and a
-- student takes at most five courses.  Each event carries the tags of its course and its student; a decision reads by
-- tags and is appended on the condition that no event came meanwhile that it should have known.
--
--   psql -f courses.sql      once; the store's schema must be on the search_path

CREATE FUNCTION define_course(course text, capacity integer) RETURNS bigint
LANGUAGE sql AS $$
    SELECT es_append('course-' || course,
                     jsonb_build_array(jsonb_build_object(
                         'type', 'course_defined',
                         'data', jsonb_build_object('capacity', capacity),
                         'tags', ARRAY['course:' || course])),
                     0);
$$;

-- Needs no decision, so no condition: those who decide on the course meanwhile find out by theirs.
CREATE FUNCTION change_capacity(course text, capacity integer) RETURNS bigint
LANGUAGE sql AS $$
    SELECT es_append('course-' || course,
                     jsonb_build_array(jsonb_build_object(
                         'type', 'capacity_changed',
                         'data', jsonb_build_object('capacity', capacity),
                         'tags', ARRAY['course:' || course])));
$$;

-- All that matters to the subscription of a student to a course.
CREATE FUNCTION subscription_query(course text, student text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_array(
        jsonb_build_object('types', ARRAY['course_defined', 'capacity_changed', 'subscribed', 'unsubscribed'],
                           'tags', ARRAY['course:' || course]),
        jsonb_build_object('types', ARRAY['subscribed', 'unsubscribed'],
                           'tags', ARRAY['student:' || student]));
$$;

-- What to write if only the given decision stands: one event, provided that nothing new came after what was read.
CREATE FUNCTION subscription_write(type text, course text, student text, after_position bigint) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_array(jsonb_build_object(
        'key', 'subscription-' || course || '-' || student,
        'allow_create', true,
        'events', jsonb_build_array(jsonb_build_object(
            'type', type,
            'data', jsonb_build_object('course', course, 'student', student),
            'tags', ARRAY['course:' || course, 'student:' || student])),
        'conditions', jsonb_build_array(jsonb_build_object(
            'query', subscription_query(course, student),
            'after', after_position))));
$$;

-- The decision: what to write, or an error that tells why not.  es_query() is what makes the position good for a
-- condition; a SELECT from the table could pass an event that is still in flight.
CREATE FUNCTION decide_subscription(command jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    course text := command->>'course';
    student text := command->>'student';
    capacity integer;
    taken integer;
    courses integer;
    subscribed boolean;
    last_position bigint;
BEGIN
    SELECT (array_agg((e.data->>'capacity')::integer ORDER BY e.position DESC) FILTER (WHERE e.data ? 'capacity'))[1],
           coalesce(sum(change) FILTER (WHERE e.data->>'course' = course), 0),
           coalesce(sum(change) FILTER (WHERE e.data->>'student' = student), 0),
           coalesce(sum(change) FILTER (WHERE e.data->>'course' = course AND e.data->>'student' = student), 0) > 0,
           coalesce(max(e.position), 0)
    INTO capacity, taken, courses, subscribed, last_position
    FROM es_query(subscription_query(course, student)) AS e,
         LATERAL (SELECT CASE e.type WHEN 'subscribed' THEN 1 WHEN 'unsubscribed' THEN -1 END) AS c (change);

    IF capacity IS NULL THEN
        RAISE EXCEPTION 'there is no course %', course USING ERRCODE = 'SUB01';
    ELSIF subscribed THEN
        RETURN NULL;
    ELSIF taken >= capacity THEN
        RAISE EXCEPTION 'course % is full', course USING ERRCODE = 'SUB02';
    ELSIF courses >= 5 THEN
        RAISE EXCEPTION 'student % takes five courses', student USING ERRCODE = 'SUB03';
    END IF;
    RETURN subscription_write('subscribed', course, student, last_position);
END $$;

CREATE FUNCTION decide_unsubscription(command jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    query jsonb := jsonb_build_array(jsonb_build_object(
        'tags', ARRAY['course:' || (command->>'course'), 'student:' || (command->>'student')]));
    last_type text;
    last_position bigint;
BEGIN
    SELECT type, position INTO last_type, last_position FROM es_query(query) ORDER BY position DESC LIMIT 1;
    IF last_type IS DISTINCT FROM 'subscribed' THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_set(subscription_write('unsubscribed', command->>'course', command->>'student', last_position),
                     '{0,conditions,0,query}', query);
END $$;

-- Read, decide, append and retry in one call.
CREATE FUNCTION subscribe(course text, student text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM es_execute_many(ARRAY['subscription-' || course || '-' || student], 'decide_subscription',
                            jsonb_build_object('course', course, 'student', student));
    RETURN CASE WHEN FOUND THEN 'subscribed' ELSE 'was subscribed' END;
EXCEPTION
    WHEN SQLSTATE 'SUB01' OR SQLSTATE 'SUB02' OR SQLSTATE 'SUB03' THEN
        RETURN SQLERRM;
END $$;

CREATE FUNCTION unsubscribe(course text, student text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM es_execute_many(ARRAY['subscription-' || course || '-' || student], 'decide_unsubscription',
                            jsonb_build_object('course', course, 'student', student));
    RETURN CASE WHEN FOUND THEN 'unsubscribed' ELSE 'was not subscribed' END;
END $$;

-- The same in the steps that a program outside the database takes: read and decide, in a transaction of its own;
-- append; if the condition fails (VE004), start over.
CREATE PROCEDURE subscribe_in_steps(course text, student text, INOUT outcome text)
LANGUAGE plpgsql AS $$
DECLARE
    writes jsonb;
BEGIN
    LOOP
        BEGIN
            writes := decide_subscription(jsonb_build_object('course', course, 'student', student));
        EXCEPTION
            WHEN SQLSTATE 'SUB01' OR SQLSTATE 'SUB02' OR SQLSTATE 'SUB03' THEN
                outcome := SQLERRM;
                RETURN;
        END;
        IF writes IS NULL THEN
            outcome := 'was subscribed';
            RETURN;
        END IF;
        COMMIT;

        SELECT status INTO outcome FROM es_try_append_many(writes);
        COMMIT;
        IF outcome = 'appended' THEN
            outcome := 'subscribed';
            RETURN;
        END IF;
    END LOOP;
END $$;
