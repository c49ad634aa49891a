SELECT count(*) FROM es_store;
\sleep 1000 s
