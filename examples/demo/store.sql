-- The store, and the tables of the demo beside it.

CREATE EXTENSION eventstore;
SELECT es_create_store() \g /dev/null

CREATE TABLE log_line (
	number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	line text NOT NULL
);
CREATE TABLE arrived (writer integer);
CREATE TABLE writer_report (
	writer integer, appends bigint, events bigint, conflicts bigint, retries bigint
);
