SELECT append_in_one(:key, :type, :data, :version);
