-- What a check after a run finds wrong in a table of events with key and version.

CREATE VIEW bench_count AS SELECT count(*) FROM :events_table;

CREATE VIEW bench_findings AS
SELECT format('aggregate %s: %s events, versions %s to %s', key, count(*), min(version), max(version)) AS finding
FROM :events_table GROUP BY key HAVING min(version) <> 1 OR max(version) <> count(*) OR count(DISTINCT version) <> count(*);
