SELECT * FROM es_read(:key, 1, :count);
