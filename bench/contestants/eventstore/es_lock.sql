BEGIN;
SELECT version FROM es_lock(ARRAY[:key]);
SELECT es_append(:key, :events, :version);
COMMIT;
