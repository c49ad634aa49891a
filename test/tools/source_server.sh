# shellcheck shell=bash
#
# Servers built from the distribution's source, with what its packages leave out:
# assertions, notes for Valgrind, sanitizers.
#
# Source it from bash under "set -eu"; it brings suites.sh.  They are kept in $servers, for
# the next run, and installed nowhere else: by default in a folder in $TMPDIR, which
# the option --folder DIR replaces.  The machine's package sources stay as they are.
#
# Where the source cannot be had, the scripts say so and exit with 77.

# shellcheck source-path=SCRIPTDIR source=suites.sh
. "$(dirname "${BASH_SOURCE[0]}")/suites.sh"

servers=${TMPDIR:-/tmp}/eventstore-servers
quick=no

# The arguments that every script has which builds a server.
# shellcheck disable=SC2034 # $quick is for them
read_arguments()
{
	while [ $# -gt 0 ]; do
		case $1 in
			--folder)
				[ $# -gt 1 ] || die "usage: $0 [--folder DIR] [--quick]"
				servers=$2
				shift ;;
			--quick) quick=yes ;;
			*) die "usage: $0 [--folder DIR] [--quick]" ;;
		esac
		shift
	done
}

# Another user may have made a folder of that name: what is in it, we will run.
open_servers_folder()
{
	mkdir -p "$servers"
	if [ ! -O "$servers" ] || [ -L "$servers" ]; then
		die "$servers is not a folder of your own: give --folder DIR"
	fi
	# The tests run as another user.
	chmod 755 "$servers"
	servers=$(cd "$servers" && pwd)
	exec 9>"$servers/lock"
	flock -n 9 || die "another run uses $servers"
}

# What building a server takes, beside what need_server notes.
need_source()
{
	# Brings the user that runs the servers, and pgTAP for them.
	need "postgresql-$major-pgtap" test -e "/usr/share/postgresql/$major/extension/pgtap.control"
	need bison command -v bison
	need flex command -v flex
	need perl command -v perl
	need bzip2 command -v bzip2
	need zlib1g-dev test -e /usr/include/zlib.h
}

# apt-get or apt-cache with lists of their own, which name the sources of packages.
source_apt()
{
	local program=$1
	shift
	"$program" -q -o Dir::Etc::SourceList="$servers/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::TrustedParts="$servers/apt/keys" -o Dir::State::Lists="$servers/apt/lists" \
		-o Dir::Cache="$servers/apt/cache" -o APT::Sandbox::User=root "$@"
}

skip_for_want_of_source()
{
	skip "cannot get the source of postgresql-$major: $(grep -m1 '^[EW]:' "$work/apt.log" || echo "the archive has none")"
}

# The newest source of the server that the archive has: it need not have those of
# all its packages.
download_source()
{
	local version key

	command -v apt-get >/dev/null || skip "no apt-get here to get the source of postgresql-$major with"
	mkdir -p "$servers/apt/lists/partial" "$servers/apt/cache/archives/partial" "$servers/apt/keys"
	# Where a list of sources names its key, that need not be among those trusted for all.
	for key in /etc/apt/trusted.gpg.d/* /usr/share/keyrings/*archive*; do
		[ ! -e "$key" ] || cp "$key" "$servers/apt/keys/"
	done
	# shellcheck disable=SC2016 # those are for apt
	apt-get indextargets 'Created-By: Packages' --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' |
		sort -u >"$servers/apt/sources.list"
	source_apt apt-get update >"$work/apt.log" 2>&1 || skip_for_want_of_source
	while read -r version; do
		! (cd "$servers" && source_apt apt-get source --download-only --tar-only "postgresql-$major=$version") \
			>>"$work/apt.log" 2>&1 || return 0
	done < <(source_apt apt-cache showsrc "postgresql-$major" 2>/dev/null | sed -n 's/^Version: //p' | sort -rV)
	skip_for_want_of_source
}

unpack_source()
{
	local -a archives

	[ ! -e "$servers/source-$major/configure" ] || return 0
	say "Getting the source of PostgreSQL $major"
	download_source
	archives=("$servers/postgresql-$major"_*.orig.tar.*)
	rm -rf "$servers/source-$major" "$servers/unpacked"
	mkdir "$servers/unpacked"
	# As it was released: Debian's patches would install into the system's folders.
	tar -C "$servers/unpacked" --strip-components=1 --no-same-owner -xf "${archives[0]}"
	mv "$servers/unpacked" "$servers/source-$major"
	rm "$servers/postgresql-$major"_*
}

# make, but quiet, and yielding to whoever else works here.
make_server()
{
	nice make -s -C "$servers/build" "$@" >>"$servers/build.log" 2>&1 || {
		tail -n 30 "$servers/build.log" >&2
		die "the server does not build: see $servers/build.log"
	}
}

# build_server NAME CFLAGS CPPFLAGS: build and install a server with assertions unless
# it is there, and choose it: sets $PG_CONFIG and $bindir.
build_server()
{
	local prefix=$servers/$1-$major start=$SECONDS

	if [ ! -e "$prefix/complete" ]; then
		[ "$(df --output=avail -k "$servers" | tail -n 1)" -gt 2000000 ] || die "less than 2 GB free in $servers"
		unpack_source
		say "Building PostgreSQL $major for $1 in $prefix: takes minutes"
		rm -rf "$servers/build" "$servers/build.log" "$prefix"
		mkdir "$servers/build"
		(cd "$servers/build" && nice "$servers/source-$major/configure" --prefix="$prefix" --enable-debug \
			--enable-cassert --enable-tap-tests --without-readline --without-icu CFLAGS="$2" CPPFLAGS="$3") \
			>"$servers/build.log" 2>&1 || die "configure failed: see $servers/build.log"
		make_server -j "$(nproc)" -C src all
		make_server -C src install
		make_server -C contrib/amcheck install
		cp "/usr/share/postgresql/$major"/extension/pgtap* "$prefix/share/postgresql/extension/"
		rm -rf "$servers/build"
		touch "$prefix/complete"
		say "Built in $((SECONDS - start)) s"
	fi
	PG_CONFIG=$prefix/bin/pg_config
	bindir=$prefix/bin
}

# The one that "make assertions" and "make valgrind" use.
build_assertions_server()
{
	build_server assertions '-Og -g -fno-omit-frame-pointer' -DUSE_VALGRIND
}
