SELECT append(:key, :events, :version);
