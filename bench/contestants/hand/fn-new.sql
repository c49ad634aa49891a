SELECT append(:new_key, :events, 0);
