# shellcheck shell=bash
#
# Running the tests: what "make test" and the scripts beside it share.
#
# Source it from bash under "set -eu"; it brings setup.sh.  Each test file counts as
# one test, passed or failed; say_counts tells them all and ends with "N passed, N
# failed".  A suite that does not run all of its files has failed.

# shellcheck source-path=SCRIPTDIR source=setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
shopt -s nullglob

passed=0
failed=0
failures=()
skipped=()

# The longest time for one suite or TAP file.
suite_seconds=1200

# What no server may ever log, whatever the tests think of it.
trouble='TRAP:|PANIC:|was terminated by signal ([4678]|11):|(reference|refcount) leak'
trouble+='|write past chunk end|problem in alloc set|you don.t own a lock'
trouble+='|AddressSanitizer|runtime error:'

not_ok()
{
	failed=$((failed + 1))
	failures+=("$*")
}

# "make installcheck" in the copy; the arguments switch off the other kinds.
installcheck()
{
	as_tester timeout -k 10 "$suite_seconds" \
		make -s -C "$work/build" PG_CONFIG="$PG_CONFIG" installcheck "$@" 2>&1
}

# regress_suite NAME "FILES" MAKE-ARGUMENT...: run pg_regress or its isolation
# sibling, and count what it reports.
#
# "ok (test process exited with exit code 1)" is a failure: that is how a spec
# looks that does not parse, once somebody has accepted the parser's message as
# its expected output.
regress_suite()
{
	local name=$1 log=$work/suite.log good bad line
	local -a files
	read -r -a files <<<"$2"
	shift 2

	printf '\n== %s (%d) ==\n' "$name" ${#files[@]}
	[ ${#files[@]} -gt 0 ] || { not_ok "$name: there are no tests"; return 0; }

	installcheck "$@" | tee "$log" || true
	good=$(grep -E '\.\.\. ok|^ok +[0-9]' "$log" | grep -vc 'exited with exit code' || true)
	bad=0
	while read -r line; do
		not_ok "$name: $(tr -s ' ' <<<"$line")"
		bad=$((bad + 1))
	done < <(grep -E '\.\.\. (FAILED|failed)|^not ok|exited with exit code' "$log")
	passed=$((passed + good))
	[ $((good + bad)) = ${#files[@]} ] ||
		not_ok "$name: ${#files[@]} tests, but $((good + bad)) ran"

	if [ -s "$work/build/regression.diffs" ]; then
		head -n 500 "$work/build/regression.diffs"
		# The next suite starts this file anew.
		cat "$work/build/regression.diffs" >>"$work/regression.diffs"
	fi
}

# The names of SQL tests or specs, as make wants them.
test_names()
{
	local file names=()

	for file; do
		file=${file##*/}
		names+=("${file%.*}")
	done
	echo "${names[*]}"
}

# sql_suite NAME FILE...
sql_suite()
{
	local name=$1
	shift
	regress_suite "$name" "$*" ISOLATION= TAP_TESTS= REGRESS="$(test_names "$@")"
}

# spec_suite NAME FILE...
spec_suite()
{
	local name=$1
	shift
	regress_suite "$name" "$*" REGRESS= TAP_TESTS= ISOLATION="$(test_names "$@")"
}

# one_by_one NAME COMMAND FILE...: run COMMAND for each file; a file passes if
# the command succeeds, and is skipped if prove says that it ran no tests.
one_by_one()
{
	local name=$1 command=$2 file outcome reason start log=$work/one.log
	shift 2

	printf '\n== %s (%d) ==\n' "$name" $#
	[ $# -gt 0 ] || not_ok "$name: there are no tests"
	for file in "$@"; do
		start=$SECONDS
		if ! "$command" "$file" >"$log" 2>&1; then
			not_ok "$name: $file"
			outcome=FAILED
		elif grep -q '^Result: NOTESTS' "$log"; then
			skipped+=("$file: $(sed -n 's/.*skipped: //p' "$log" | head -n 1)")
			outcome=skipped
		else
			passed=$((passed + 1))
			outcome=ok
			# Parts of it may be skipped.
			while read -r reason; do
				skipped+=("$file: $reason")
			done < <(sed -n 's/^ok [0-9]* # skip //p' "$log")
		fi
		printf '%-50s ... %s %6d s\n' "$file" "$outcome" $((SECONDS - start))
		[ "$outcome" != FAILED ] || cat "$log"
	done
}

# healthy LOG...: complain if a server logged what none may ever log.
healthy()
{
	! grep -E -H -A 40 -m 3 "$trouble" "$@" /dev/null
}

tap_file()
{
	if installcheck REGRESS= ISOLATION= PROVE_TESTS="$1" PROVE_FLAGS='--timer --directives' &&
		healthy "$work"/build/tmp_check/log/*.log; then
		return
	fi
	# The next file empties tmp_check.
	as_tester mv "$work/build/tmp_check" "$work/build/tmp_check.$(basename "$1" .pl)"
	return 1
}

# Each file gets a fresh database, as a user's own tests would.
pgtap_file()
{
	as_tester psql -qX -v ON_ERROR_STOP=1 \
		-c 'DROP DATABASE IF EXISTS pgtap' -c 'CREATE DATABASE pgtap' &&
	as_tester psql -qX -v ON_ERROR_STOP=1 -d pgtap \
		-c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION eventstore' &&
	as_tester timeout -k 10 300 pg_prove --timer -d pgtap "$1"
}

# Note what the tests need, and what some of them can use: the client examples in
# several languages are skipped without.
need_tests()
{
	need libipc-run-perl has_perl_module IPC::Run
	need perl command -v prove
	need "postgresql-$major-pgtap" has_extension pgtap
	need libtap-parser-sourcehandler-pgtap-perl command -v pg_prove
	want sqlsmith command -v sqlsmith
}

want_clients()
{
	want python3-psycopg has_python_module psycopg
	want php-cli command -v php
	want php-pgsql has_php_module pdo_pgsql
	want default-jdk-headless command -v javac
	want libpostgresql-jdbc-java test -e /usr/share/java/postgresql.jar
	want libgoogle-gson-java test -e /usr/share/java/gson.jar
	want golang-go command -v go
	want golang-github-lib-pq-dev test -e /usr/share/gocode/src/github.com/lib/pq
	want ruby command -v ruby
	want ruby-pg ruby -rpg -e 1
	want libdbd-pg-perl has_perl_module DBD::Pg
	# For the event browser; without sound, fonts of its own and the like.
	want chromium command -v chromium
	want chromium-driver command -v chromedriver
	want_node_pg
}

# In the copy, sort the tests into $sql_files, $specs, $pause_specs, $tap_files and
# $mutant_files.
collect_tests()
{
	local file name

	cd "$work/build" || exit
	# The TAP tests make servers of their own.
	export EVENTSTORE_TEST_CONF=$extension_conf
	# A spec that hangs is told so by the isolation tester: after this many seconds,
	# not six minutes, and for each of its permutations.
	export PGISOLATIONTIMEOUT=${PGISOLATIONTIMEOUT:-60}

	# Without its expected file a test would stop all those after it.
	for file in test/sql/*.sql test/specs/*.spec; do
		name=$(basename "${file%.*}")
		[ -e "expected/$name.out" ] || as_tester touch "expected/$name.out"
	done
	sql_files=(test/sql/*.sql)
	specs=()
	pause_specs=()
	for file in test/specs/*.spec; do
		case $file in
			*/pause-*) pause_specs+=("$file") ;;
			*) specs+=("$file") ;;
		esac
	done
	tap_files=()
	mutant_files=()
	for file in test/t/*.pl; do
		case $file in
			*_mutants.pl) mutant_files+=("$file") ;;
			*) tap_files+=("$file") ;;
		esac
	done
}

# The testing build stops sessions between two steps of the protocol and does steps
# wrong on purpose (src/testing.h).
test_testing_build()
{
	make_and_install -DES_TESTING
	spec_suite 'isolation, testing build' "${pause_specs[@]}"
	[ ${#mutant_files[@]} = 0 ] || one_by_one 'TAP, testing build' tap_file "${mutant_files[@]}"
}

# What is done below the executor must come out the same by way of it.  In the testing
# build.
test_through_executor()
{
	local file files=()

	for file in "${sql_files[@]}"; do
		# The testing build has settings of its own.
		[ "$file" = test/sql/catalog.sql ] || files+=("$file")
	done
	export PGOPTIONS='-c eventstore.mutant=through\ the\ executor'
	sql_suite 'regress, through the executor' "${files[@]}"
	spec_suite 'isolation, through the executor' "${specs[@]}"
	unset PGOPTIONS
}

test_ordinary_build()
{
	make_and_install ''
	sql_suite regress "${sql_files[@]}"
	spec_suite isolation "${specs[@]}"
	one_by_one pgTAP pgtap_file test/pgtap/*.sql
	[ ${#tap_files[@]} = 0 ] || one_by_one TAP tap_file "${tap_files[@]}"
}

# Leave out the TAP files that test documentation and client programs.
only_core_tap_files()
{
	local file files=()

	for file in "${tap_files[@]}"; do
		[[ $file == test/t/09* ]] || files+=("$file")
	done
	tap_files=("${files[@]}")
}

# A crash that a test did not ask for is a failure even if no test noticed.
check_server_log()
{
	healthy "$work/server.log" || not_ok "the server log tells of trouble"
	! grep 'was terminated by signal' "$work/server.log" || not_ok "the server crashed"
}

# Bring the outcome to the checkout, owned as the checkout is.
copy_back()
{
	local item

	rm -rf "$top/results" "$top/regression.diffs" "$top/tmp_check"
	mv "$work/build/results" "$top/" || true
	[ ! -e "$work/regression.diffs" ] || mv "$work/regression.diffs" "$top/"
	for item in "$work"/build/tmp_check.*/log; do
		mkdir -p "$top/tmp_check"
		mv "$item" "$top/tmp_check/$(basename "$(dirname "$item")" | sed 's/^tmp_check\.//')"
	done
	for item in results regression.diffs tmp_check; do
		[ ! -e "$top/$item" ] || chown -R --reference="$top" "$top/$item"
	done
}

# The end of it; fails if a test did.
say_counts()
{
	local item

	say
	for item in ${skipped[@]+"${skipped[@]}"}; do
		say "skipped: $item"
	done
	for item in ${failures[@]+"${failures[@]}"}; do
		say "failed: $item"
	done
	say "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}
