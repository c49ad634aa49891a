BEGIN;
SELECT count(*) FROM es_aggregates AS a JOIN es_events AS e USING (key) WHERE a.key = 'none';
\sleep 1000 s
