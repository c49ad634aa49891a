SELECT version FROM aggregates WHERE key = :key;
SELECT append(:key, :events, :version);
