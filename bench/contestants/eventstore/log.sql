SELECT * FROM es_read_all(:random, :count);
