SELECT status FROM es_append_each(:writes);
