BEGIN;
SELECT version FROM aggregates WHERE key = :key FOR NO KEY UPDATE;
SELECT append(:key, :events, :version);
COMMIT;
