# shellcheck shell=bash
#
# Chroots of Debian for the tests that need other packages than the machine's own.
#
# Source it from bash after setup.sh; after make_work_folder, "trap finish EXIT".
#
#   $folder          where the chroots are kept; see open_folder
#   $mirror          the archive they come from; see check_machine
#   $release         the release of this machine, or "stable" if it is not Debian
#   $root            the chroot in use
#
# What runs in a chroot runs in name spaces of its own, so that every mount and every
# process is gone with the script, however it ends.

# shellcheck disable=SC2154 # $work is of setup.sh

folder=
mirror=
release=
root=
inside=

# ---- what must be there ----

# The archive that the machine's own release comes from, as apt knows it.
own_mirror()
{
	# shellcheck disable=SC2016 # apt's own
	apt-get indextargets 'Created-By: Packages' --format '$(REPO_URI) $(COMPONENT) $(RELEASE) $(CODENAME)' 2>/dev/null |
		sed -n "s,^\(https*://[^ ]*[^/ ]\)/* main \($1 .*\|[^ ]* $1\)\$,\1,p" | head -n 1
}

check_machine()
{
	release=stable
	! grep -qx 'ID=debian' /etc/os-release || release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	if [ -z "$mirror" ]; then
		[ "$release" = stable ] || mirror=$(own_mirror "$release")
		[ -n "$mirror" ] || skip "the package sources of this machine name no Debian archive: give --mirror URL"
	fi
	unshare --mount --pid --fork true 2>/dev/null ||
		skip "no right to mount anything here: run as root, outside of a container without that right"
}

# Another user may have made a folder of that name: what is in it, root will run.
open_folder()
{
	[ -e "$folder" ] || mkdir -m 700 "$folder" || die "cannot make $folder"
	if [ ! -d "$folder" ] || [ -L "$folder" ] || [ ! -O "$folder" ]; then
		die "$folder is not a folder of root's own: give --folder DIR"
	fi
	exec 9>"$folder/lock"
	flock -n 9 || die "another run uses $folder"
}

# ---- the chroot ----

# Run a command in name spaces of its own.  In the background, since only "wait" lets a
# trap run at once.
isolated()
{
	local status=0

	unshare --mount --propagation private --ipc --pid --fork --kill-child "$@" </dev/null 9>&- &
	inside=$!
	wait "$inside" || status=$?
	inside=
	return "$status"
}

# Run a command in the chroot.  The shell before it stays: the first process of a name
# space must collect those that lost their parent.  The chroot is a mount point of its own
# for those who make further ones in it.
in_root()
{
	# shellcheck disable=SC2016 # the shell's own
	isolated bash -c '
		root=$1
		shift
		mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" || exit
		chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} "$@"
		exit $?' in_root "$root" "$@"
}

finish()
{
	local status=$?

	set +e
	# The processes in the chroot go with this one, and the mounts with them.
	[ -z "$inside" ] || { kill -KILL "$inside"; wait "$inside"; } 2>/dev/null
	(exit "$status")
	clean_up
}

# make_root FOLDER ARCHITECTURE PACKAGES RELEASE...: make the chroot of the first release
# with the packages (by comma), and those of the other releases at hand, unless it is
# there.
make_root()
{
	local architecture=$2 packages=$3 release

	root=$folder/$1
	shift 3
	if [ -e "$root/complete" ]; then
		# What a run that was ended in the middle may have left behind.
		rm -rf --one-file-system "$root"/tmp/*
		in_root dpkg --configure -a >"$work/apt.log" 2>&1 || die "the chroot is broken: remove $root"
		return
	fi
	wget -q --spider --timeout=30 --tries=2 "$mirror/dists/$1/Release" ||
		skip "no network, or no release $1: $mirror/dists/$1/Release does not answer"
	[ "$(df --output=avail -k "$folder" | tail -n 1)" -gt 6000000 ] || skip "less than 6 GB free in $folder"

	say "Making a chroot of Debian $1 ($architecture) in $root"
	rm -rf --one-file-system "$root"
	isolated debootstrap --arch="$architecture" --variant=minbase \
		--include="$packages" "$1" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
		die "debootstrap failed: $(grep -m1 '^E:' "$work/debootstrap.log" || tail -n 1 "$work/debootstrap.log")"

	# No package starts a server of its own.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod +x "$root/usr/sbin/policy-rc.d"
	printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
	for release; do
		printf 'deb %s %s main\n' "$mirror" "$release"
	done >"$root/etc/apt/sources.list"
	echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/eventstore"
	# A mirror may stand still longer than the lists of these releases are valid.
	cat >"$root/etc/apt/apt.conf.d/90eventstore" <<-CONF
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		APT::Install-Recommends "false";
	CONF
	in_root apt-get -q update >"$work/apt.log" 2>&1 ||
		die "apt-get update failed in the chroot: $(grep -m1 '^E:' "$work/apt.log" || true)"
	touch "$root/complete"
}
