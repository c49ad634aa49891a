-- Microseconds of one es_horizon(), the loop around it taken off.
DO $$
DECLARE
	began timestamptz;
	loop_alone interval;
	with_horizon interval;
BEGIN
	PERFORM count(es_horizon()) FROM generate_series(1, 100);
	began := clock_timestamp();
	PERFORM count(pg_backend_pid()) FROM generate_series(1, 2000);
	loop_alone := clock_timestamp() - began;
	began := clock_timestamp();
	PERFORM count(es_horizon()) FROM generate_series(1, 2000);
	with_horizon := clock_timestamp() - began;
	PERFORM set_config('bench.microseconds', round(extract(epoch FROM with_horizon - loop_alone) * 1e6 / 2000, 2)::text, false);
END
$$;
SELECT current_setting('bench.microseconds');
