SELECT es_version(:key) AS version;
SELECT es_append(:key, :events, :version);
