SELECT es_append(:new_key, :events, 0);
