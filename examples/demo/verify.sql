-- What the writers did, and whether the store holds the log: every line once,
-- in its place.

\pset footer off
\echo
SELECT coalesce(writer::text, 'all') AS writer, sum(events) AS "events appended",
	sum(appends) AS "in appends", sum(conflicts) AS "conflicts (VE001)",
	sum(retries) AS "of these: appended the rest",
	sum(conflicts - retries) AS "of these: nothing left to add"
FROM writer_report GROUP BY ROLLUP (writer) ORDER BY writer_report.writer;

SELECT :lines AS lines, (SELECT count(*) FROM es_events) AS events,
	(SELECT count(*) FROM es_aggregates) AS aggregates,
	count(*) FILTER (WHERE e.key IS NULL) AS lost,
	count(*) FILTER (WHERE t.key IS NULL) AS "too many",
	count(*) FILTER (WHERE t.number <> (e.metadata->>'line')::integer) AS "out of order"
FROM todo t FULL JOIN es_events e USING (key, version);

SET demo.lines = :lines;
DO $$
BEGIN
	IF (SELECT count(*) FROM es_events) <> current_setting('demo.lines')::bigint
		OR EXISTS (SELECT FROM todo t FULL JOIN es_events e USING (key, version)
			WHERE t.event->'data' IS DISTINCT FROM e.data
				OR t.event->>'type' IS DISTINCT FROM e.type
				OR t.event->'metadata' IS DISTINCT FROM e.metadata)
		OR EXISTS (SELECT FROM es_aggregates a
			WHERE version <> (SELECT count(*) FROM es_events e WHERE e.key = a.key))
	THEN
		RAISE EXCEPTION 'the store does not hold the log';
	END IF;
END
$$;
\echo Every line of the log is one event, none lost, none twice, each in its place.
