SELECT append(:key, :type, :data);
