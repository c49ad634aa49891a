\ir tables.sql
