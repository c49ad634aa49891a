SELECT append(:key, :type, :data, :version);
