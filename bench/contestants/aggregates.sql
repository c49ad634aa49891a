-- The check of findings.sql, and that the table of versions agrees.

CREATE OR REPLACE VIEW bench_findings AS
SELECT format('aggregate %s: %s events, versions %s to %s', key, count(*), min(version), max(version)) AS finding
FROM events GROUP BY key HAVING min(version) <> 1 OR max(version) <> count(*) OR count(DISTINCT version) <> count(*)
UNION ALL
SELECT format('aggregate %s has version %s and %s events', key, a.version, e.count)
FROM aggregates AS a FULL JOIN (SELECT key, count(*) FROM events GROUP BY key) AS e USING (key)
WHERE a.version IS DISTINCT FROM e.count;
