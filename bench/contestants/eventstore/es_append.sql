SELECT es_append(:key, :events, :version);
