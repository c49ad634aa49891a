# shellcheck shell=bash
#
# What "make demo", "make test" and CI share: install what is missing, build
# and install the extension from a copy of the tree, run a private server.
#
# Source it from bash under "set -eu".  Afterwards:
#
#   $top             the checkout; nothing is built there
#   $work            a temporary folder, removed at exit together with every
#                    server that runs in it; not readable for others, since the
#                    server in it trusts whoever reaches its socket
#   $PG_CONFIG, $bindir, $major    the chosen server, once need_server has run
#
# As root, everything but the installing runs as user postgres, because a server
# refuses to run as root.  An ordinary user needs sudo for the installing only.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=
missing=()
unmet=()
wanted=()
extension_conf=

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf 'eventstore: %s\n' "$*" >&2
	exit 1
}

# What cannot be done here: CI says so, and goes on.
skip()
{
	say "skipped: $*"
	exit 77
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

as_tester()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

can_be_root()
{
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null
}

# ---- packages ----

# need PACKAGE TEST...: note the package as missing unless the test succeeds.
need()
{
	local package=$1
	shift
	if ! "$@" >/dev/null 2>&1; then
		missing+=("$package")
		unmet+=("$*")
	fi
}

# want PACKAGE TEST...: the same, but go on without it if need be.
want()
{
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || wanted+=("$package")
}

apt()
{
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# The package index may be absent or stale: refresh it only if needed.
apt_install()
{
	say "Installing packages: $*"
	apt install --no-install-recommends "$@" >"$work/apt.log" 2>&1 ||
		{ apt update && apt install --no-install-recommends "$@"; } >"$work/apt.log" 2>&1
}

# Install the packages noted by need and want, and see that what is needed is
# there now.
install_missing()
{
	local test package

	if [ ${#missing[@]} -gt 0 ]; then
		command -v apt-get >/dev/null ||
			die "missing, and no apt-get here to install it (Debian's package names): ${missing[*]}"
		can_be_root ||
			die "missing, and neither root nor sudo to install it: ${missing[*]}"
		apt_install "${missing[@]}" ||
			die "could not install ${missing[*]}: $(grep -m1 '^E:' "$work/apt.log" || tail -n 1 "$work/apt.log")"
		for test in "${unmet[@]}"; do
			eval "$test" >/dev/null 2>&1 ||
				die "still missing after installing ${missing[*]}: $test"
		done
	fi
	if [ ${#wanted[@]} -gt 0 ]; then
		if ! command -v apt-get >/dev/null || ! can_be_root; then
			say "Going on without: ${wanted[*]}"
		elif ! apt_install "${wanted[@]}"; then
			# One that cannot be had must not keep the others away.
			for package in "${wanted[@]}"; do
				apt install --no-install-recommends "$package" >"$work/apt.log" 2>&1 ||
					say "Going on without: $package"
			done
		fi
	fi
	missing=()
	unmet=()
	wanted=()
}

# The major version behind the distribution's package "postgresql".
distribution_major()
{
	apt-cache depends postgresql 2>/dev/null |
		sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1 || true
}

has_pgxs()
{
	[ -e "$("$PG_CONFIG" --pgxs)" ]
}

has_server()
{
	[ -x "$("$PG_CONFIG" --bindir)/postgres" ]
}

has_extension()
{
	[ -e "$("$PG_CONFIG" --sharedir)/extension/$1.control" ]
}

has_perl_module()
{
	perl "-M$1" -e 1
}

# Not the first python3 of the caller's PATH: that may be a private one.
has_python_module()
{
	/usr/bin/python3 -c "import $1"
}

has_php_module()
{
	php -m | grep -x "$1"
}

# The module pg for Node: the distribution's, or else that of the npm registry, in the
# work folder.  The distribution's does not install beside a Node that is not the
# distribution's; that comes with npm.  Never fails: without it, Node is skipped.
want_node_pg()
{
	want nodejs command -v node
	command -v npm >/dev/null || want node-pg has_node_pg
}

has_node_pg()
{
	node -e 'require("pg")'
}

install_node_pg()
{
	! has_node_pg 2>/dev/null || return 0
	if command -v npm >/dev/null && as_tester npm install --prefix "$work/node" --no-save --no-package-lock \
		--ignore-scripts --no-audit --no-fund --fetch-retries=1 --fetch-timeout=30000 pg@8.16.3 >"$work/npm.log" 2>&1; then
		export NODE_PATH=$work/node/node_modules
	else
		say "Going on without: pg of npm"
	fi
}

# unpack_program PROGRAM...: programs whose packages, named as they are, would start a
# service if they were installed: only unpacked, into the work folder, and found by PATH.
# Never fails: without one, its test is skipped.
unpack_program()
{
	local program

	for program in "$@"; do
		! command -v "$program" >/dev/null || continue
		fetch_package "$program" || { can_be_root && apt update && fetch_package "$program"; } ||
			say "Going on without: $program"
	done >"$work/unpack.log" 2>&1
	sed -n '/^Going on without/p' "$work/unpack.log"
	PATH=$PATH:$work/unpacked/usr/bin
}

fetch_package()
(
	cd "$work/tmp" && as_tester apt-get -q download "$1" && as_tester dpkg-deb -x "$1"_*.deb "$work/unpacked"
)

# Choose the server, and note what is missing to build for it and to run it.
need_server()
{
	local debian_server='^/usr/lib/postgresql/([0-9]+)/bin/pg_config$'

	if [ -n "${PG_CONFIG:-}" ]; then
		if command -v "$PG_CONFIG" >/dev/null; then
			major=$("$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
		elif [[ $PG_CONFIG =~ $debian_server ]]; then
			major=${BASH_REMATCH[1]}
		else
			die "PG_CONFIG=$PG_CONFIG is not a program, nor the path of one that a Debian package would bring"
		fi
	else
		PG_CONFIG=pg_config
		if has_pgxs 2>/dev/null && has_server 2>/dev/null; then
			major=$(pg_config --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
		else
			command -v apt-get >/dev/null ||
				die "no PostgreSQL server with its development files found: set PG_CONFIG"
			major=$(distribution_major)
			if [ -z "$major" ] && can_be_root; then
				apt update >/dev/null 2>&1 || true
				major=$(distribution_major)
			fi
			[ -n "$major" ] || die "no package postgresql to install; set PG_CONFIG if a server is somewhere else"
			PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config
		fi
	fi
	[ -n "$major" ] || die "PG_CONFIG=$PG_CONFIG does not tell its version"
	export PG_CONFIG

	need "postgresql-$major" has_server
	need "postgresql-server-dev-$major" has_pgxs
	need gcc command -v gcc
	need libc6-dev test -e /usr/include/stdio.h
	need make command -v make
}

# ---- folder, build, server ----

# Stop what runs in the temporary folder, and remove it.
clean_up()
{
	local status=$? pidfile

	trap '' INT TERM HUP
	trap - EXIT
	if [ -n "$work" ]; then
		cd /
		while read -r pidfile; do
			as_tester "$bindir/pg_ctl" -D "$(dirname "$pidfile")" -m immediate -s stop || true
		done < <(find "$work" -name postmaster.pid)
		rm -rf "$work"
	fi
	exit "$status"
}

make_work_folder()
{
	local variable

	# Neither the caller's server, nor the options of the make above us.
	for variable in "${!PG@}"; do
		[[ $variable == PG_* ]] || unset "$variable"
	done
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	# Not under TMPDIR: that may be private to root, or too long for a socket.
	work=$(mktemp -d /tmp/eventstore.XXXXXX)
	cd "$work" || exit
	export HOME=$work
}

# Give the folder to the user who runs the server.  Only now, because user
# postgres comes with the packages.
open_work_folder()
{
	bindir=$("$PG_CONFIG" --bindir)
	[ "$(id -u)" != 0 ] || chown postgres: "$work"
	# Failed TAP tests leave their temporary folders behind.
	as_tester mkdir "$work/tmp"
	export TMPDIR=$work/tmp
}

# Copy the tree into $work/build, build it there, and install it for the servers
# of this run.  A copy, because the tester need not be able to write, or even
# read, the checkout.
#
# The system's PostgreSQL stays as it is where servers can be told to look for
# extensions elsewhere: from PostgreSQL 18 on, and with a patch of Debian's before.
# $extension_conf is what their postgresql.conf needs for that.
build_and_install()
{
	local libdir sharedir

	mkdir "$work/build"
	tar -C "$top" -cf - --exclude=./.git --exclude=./results --exclude=./tmp_check \
		--exclude='*.o' --exclude='*.so' --exclude='*.bc' . |
		tar -C "$work/build" -xf - --no-same-owner
	[ "$(id -u)" != 0 ] || chown -R postgres: "$work/build"

	stage=$work/stage
	libdir=$("$PG_CONFIG" --pkglibdir)
	sharedir=$("$PG_CONFIG" --sharedir)
	if [ "$major" -ge 18 ]; then
		extension_conf="extension_control_path = '$stage$sharedir:\$system'"
	elif "$bindir/postgres" --describe-config | grep '^extension_destdir' >/dev/null; then
		extension_conf="extension_destdir = '$stage'"
	else
		extension_conf=
	fi
	[ -z "$extension_conf" ] ||
		extension_conf+=$'\n'"dynamic_library_path = '$stage$libdir:\$libdir'"
	make_and_install ''
}

# make_and_install COPT: build the copy, with further options for the compiler, and
# install it in place of what is there.
make_and_install()
{
	local libdir

	as_tester make -s -C "$work/build" PG_CONFIG="$PG_CONFIG" clean >/dev/null
	as_tester make -s -C "$work/build" PG_CONFIG="$PG_CONFIG" COPT="$1" all >"$work/build.log" 2>&1 || {
		cat "$work/build.log" >&2
		die "the extension does not build"
	}
	# What the compiler warns about is for the reader to see.
	cat "$work/build.log"

	libdir=$("$PG_CONFIG" --pkglibdir)
	if [ -n "$extension_conf" ]; then
		as_tester make -s -C "$work/build" PG_CONFIG="$PG_CONFIG" DESTDIR="$stage" install >/dev/null
	elif [ -w "$libdir" ]; then
		make -s -C "$work/build" PG_CONFIG="$PG_CONFIG" install >/dev/null
	else
		can_be_root || die "cannot write to $libdir, and neither root nor sudo to install the extension"
		as_root make -s -C "$work/build" PG_CONFIG="$PG_CONFIG" install >/dev/null ||
			die "could not install the extension into $libdir"
	fi
}

# Start a server that listens on a socket in $work only, and point libpq to it.
start_server()
{
	as_tester "$bindir/initdb" -D "$work/data" -U postgres -A trust --no-sync \
		--encoding=UTF8 --locale=C.UTF-8 >"$work/initdb.log" 2>&1 ||
		{ cat "$work/initdb.log" >&2; die "initdb failed"; }
	as_tester tee -a "$work/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$work'
		port = 5432
		fsync = off
		$extension_conf
	CONF
	as_tester "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -s -w start ||
		{ cat "$work/server.log" >&2; die "the server does not start"; }
	export PGHOST=$work PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PATH="$bindir:$PATH"
}
