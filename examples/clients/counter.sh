#!/bin/bash
#
# Several sessions of psql that use the procedure of counter.sql.
#
#     counter.sh KEY WORKERS INCREMENTS [ATTEMPTS]
#
# Each worker increments the counter KEY so many times, all of them at once.  The
# database is that of the environment variables PGHOST, PGDATABASE and so on.
#
# Needs the Debian package postgresql-client.

set -eu
script=$(cat "$(dirname "${BASH_SOURCE[0]}")/counter.sql")

# Increment once.  Prints what came of it, and last the SQLSTATE.
increment()
{
	psql -XAtq -v key="$key" -v attempts="$attempts" <<<"$script"$'\n\\echo :SQLSTATE' 2>&1
}

# Pass on what is said about conflicts, with the worker's name where it gives up.
tell()
{
	local line

	while IFS= read -r line; do
		case $line in
			'NOTICE:  gives up: '*) echo "worker $1 ${line#NOTICE:  }" >&2 ;;
			'NOTICE:  conflict: '*) conflicts=$((conflicts + 1)) && echo "${line#NOTICE:  }" >&2 ;;
		esac
	done
}

# The loop that matters is in the procedure.  The one here is for the 40001 that under
# SERIALIZABLE may come from COMMIT: it ends the statement CALL, and there is nothing
# in PL/pgSQL that could catch it.
work()
{
	local worker=$1 i call output state conflicts=0

	for ((i = 0; i < increments; i++)); do
		for ((call = 1; ; call++)); do
			output=$(increment) || { echo "$output" >&2; return 1; }
			tell "$worker" <<<"$output"
			state=${output: -5}
			[ "$state" != 00000 ] || break
			[[ $output != *'NOTICE:  gives up: '* ]] || return 1
			[[ $state =~ ^(40001|40P01)$ ]] || { echo "$output" >&2; return 1; }
			if [ "$call" = "$attempts" ]; then
				tell "$worker" <<<"NOTICE:  gives up: conflict: SQLSTATE $state"
				return 1
			fi
			tell "$worker" <<<"NOTICE:  conflict: SQLSTATE $state"
			sleep "0.$(printf '%03d' $((RANDOM % (5 << (call < 7 ? call : 7)))))"
		done
	done
	echo "worker $worker: $increments increments, $conflicts conflicts"
}

if [ $# != 3 ] && [ $# != 4 ]; then
	echo 'usage: counter.sh KEY WORKERS INCREMENTS [ATTEMPTS]' >&2
	exit 1
fi
key=$1 workers=$2 increments=$3 attempts=${4:-10}
pids=()
for ((worker = 1; worker <= workers; worker++)); do
	work "$worker" &
	pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
	wait "$pid" || status=1
done
exit $status
