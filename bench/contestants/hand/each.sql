SELECT append_each(:writes);
