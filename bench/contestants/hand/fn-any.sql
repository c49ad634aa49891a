SELECT append(:key, :events);
