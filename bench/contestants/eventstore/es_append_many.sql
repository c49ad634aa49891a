SELECT status FROM es_append_many(:writes);
