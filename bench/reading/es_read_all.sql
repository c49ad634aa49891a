\set after random(0, :events - :page)
SELECT * FROM es_read_all(:after, :page);
