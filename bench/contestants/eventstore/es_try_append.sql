SELECT status FROM es_try_append(:key, :events, :version);
