-- Every line of the log is to become one event of one aggregate.
--
--   2025-06-24 14:36:29 install perl:amd64 <none> 5.36.0-7   package-perl:amd64
--   2025-06-24 14:36:29 status unpacked perl:amd64 5.36.0-7  package-perl:amd64
--   2025-06-24 14:36:29 conffile /etc/motd keep              file-/etc/motd
--   2025-06-24 14:36:25 startup archives unpack              dpkg
--
-- A line of any other form is an event of "dpkg" too: none is left out.

CREATE TABLE todo AS
WITH parsed AS (
	SELECT number, line, regexp_split_to_array(line, ' ') AS w,
		line ~ '^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ' AS dated,
		line ~ '^\S+ \S+ (install|upgrade|configure|trigproc|disappear|remove|purge) \S{1,200} \S+ \S+$' AS action,
		line ~ '^\S+ \S+ status \S+ \S{1,200} \S+$' AS status,
		line ~ '^\S+ \S+ conffile \S{1,200} \S+$' AS conffile,
		line ~ '^\S+ \S+ startup \S+ \S+$' AS startup
	FROM log_line
), named AS (
	SELECT number,
		CASE WHEN NOT dated THEN 'dpkg'
			WHEN action THEN 'package-' || w[4]
			WHEN status THEN 'package-' || w[5]
			WHEN conffile THEN 'file-' || w[4]
			ELSE 'dpkg' END AS key,
		CASE WHEN dated AND (action OR status OR conffile OR startup)
			THEN w[3] ELSE 'other' END AS type,
		CASE WHEN NOT dated THEN jsonb_build_object('line', line)
			WHEN action THEN jsonb_build_object('from', nullif(w[5], '<none>'), 'to', nullif(w[6], '<none>'))
			WHEN status THEN jsonb_build_object('status', w[4], 'version', nullif(w[6], '<none>'))
			WHEN conffile THEN jsonb_build_object('decision', w[5])
			WHEN startup THEN jsonb_build_object('command', w[4] || ' ' || w[5])
			ELSE jsonb_build_object('line', line) END AS data,
		CASE WHEN dated THEN w[1] || ' ' || w[2] END AS at
	FROM parsed
)
SELECT number, key, row_number() OVER (PARTITION BY key ORDER BY number) AS version,
	jsonb_build_object(
		'type', type,
		'data', jsonb_strip_nulls(jsonb_build_object('at', at) || data),
		'metadata', jsonb_build_object('line', number)) AS event
FROM named;

CREATE UNIQUE INDEX ON todo (key, version);
CREATE INDEX ON todo (number);
VACUUM ANALYZE todo;

-- One writer.  It records the whole log, as if nobody else did: reads where an
-- aggregate stands, decides which events are missing, appends them.  When it is
-- told that the aggregate has moved, it reads and decides again.  Each append is
-- a transaction of its own.
CREATE PROCEDURE record_log(writer integer, block_size integer) LANGUAGE plpgsql AS $$
DECLARE
	report writer_report := (writer, 0, 0, 0, 0);
	block_start integer;
	target record;
	known bigint;
	retrying boolean;
	missing jsonb;
BEGIN
	FOR block_start IN SELECT generate_series(1, max(number), block_size) FROM todo LOOP
		FOR target IN
			SELECT t.key, max(t.version) AS version FROM todo t
			WHERE t.number >= block_start AND t.number < block_start + block_size
			GROUP BY t.key ORDER BY min(t.number)
		LOOP
			retrying := false;
			known := es_version(target.key);
			WHILE known < target.version LOOP
				SELECT jsonb_agg(t.event ORDER BY t.version) INTO missing
				FROM todo t
				WHERE t.key = target.key AND t.version > known AND t.version <= target.version;
				-- Deciding takes a moment, as in an application.
				PERFORM pg_sleep(0.001);
				report.retries := report.retries + retrying::integer;
				BEGIN
					known := es_append(target.key, missing, known);
					report.appends := report.appends + 1;
					report.events := report.events + jsonb_array_length(missing);
				EXCEPTION WHEN SQLSTATE 'VE001' THEN
					report.conflicts := report.conflicts + 1;
					known := es_version(target.key);
					retrying := true;
				END;
				COMMIT;
			END LOOP;
		END LOOP;
	END LOOP;
	INSERT INTO writer_report SELECT report.*;
END
$$;
