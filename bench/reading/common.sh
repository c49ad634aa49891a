# shellcheck shell=bash
#
# What bench/log needs: the server's settings, the filled store, figures of
# the machine.  Source it after test/tools/setup.sh.
# shellcheck disable=SC2154 # what setup.sh sets

here=$top/bench
aggregates=10000
events_per_aggregate=5
type=ItemAdded
data='{"sku": "SKU-48215-BLU", "name": "Enamelled steel mug, blue, 350 ml", "quantity": 2, "currency": "EUR", "unit_price": "14.90", "tax_rate": "0.21", "warehouse": "RTM-2", "added_by": "customer", "channel": "web", "note": "gift wrapping, no invoice inside"}'

sql()
{
	as_tester psql -qXAt -v ON_ERROR_STOP=1 "$@"
}

configure_server()
{
	as_tester tee -a "$work/data/postgresql.conf" >/dev/null <<-CONF
		shared_buffers = 1GB
		max_wal_size = 8GB
		checkpoint_timeout = 1h
		autovacuum = off
	CONF
	as_tester "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -s -w restart
}

fill()
{
	sql -d "$1" -v aggregates="$aggregates" -v events_per_aggregate="$events_per_aggregate" \
		-v type="$type" -v data="$data" <"$here/reading/seed.sql"
}

# CPU time of the server until now in clock ticks: of its processes, and of those that have ended.
server_ticks()
{
	local postmaster
	read -r postmaster <"$work/data/postmaster.pid"
	# A process may end while we look.
	{ cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v postmaster="$postmaster" '
		{ pid = $1; sub(/.*\) /, "") }
		pid == postmaster { ticks += $12 + $13 + $14 + $15 }
		$2 == postmaster { ticks += $12 + $13 }
		END { print ticks + 0 }'
}

# The events parameter of a call.
events_parameter()
{
	awk -v batch="$1" -v type="$type" -v data="$data" 'BEGIN {
		for (i = 1; i <= batch; i++)
			printf "%s{\"type\": \"%s\", \"data\": %s}", i == 1 ? "[" : ", ", type, data
		print "]"
	}'
}
