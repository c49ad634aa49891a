# An installation of the extension for one node alone, whose scripts and library a test
# may add to: a copy of the one under test.

package EventstoreInstall;

use strict;
use warnings;

use Exporter 'import';
use File::Copy;
use File::Path 'make_path';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(private_install);

# The output of pg_config.
sub pg_config
{
	my ($what) = @_;
	my ($out) = run_command([ 'pg_config', "--$what" ]);

	return $out;
}

# Where the installation under test is: in the file system itself, or below a folder
# that EVENTSTORE_TEST_CONF names.
sub installed_in
{
	my $conf = $ENV{EVENTSTORE_TEST_CONF} || '';
	my $sharedir = pg_config('sharedir');

	return $1 if $conf =~ /^extension_destdir = '([^']+)'/m;
	return $1 if $conf =~ /^extension_control_path = '(.+?)\Q$sharedir\E/m;
	return '';
}

# Give a running node an installation of its own.  Returns its folder of scripts, and its
# folder of libraries; nothing, where the server cannot look for extensions elsewhere.
sub private_install
{
	my ($node) = @_;
	my ($sharedir, $libdir) = (pg_config('sharedir'), pg_config('pkglibdir'));
	my $from = installed_in();
	my $root = PostgreSQL::Test::Utils::tempdir('install');
	my $setting = $node->safe_psql('postgres',
		"SELECT name FROM pg_settings WHERE name IN ('extension_destdir', 'extension_control_path')");

	return if $setting eq '';
	make_path("$root$sharedir/extension", "$root$libdir");
	copy($_, "$root$sharedir/extension/") or die "$_: $!"
	  foreach glob("$from$sharedir/extension/eventstore.control $from$sharedir/extension/eventstore--*.sql");
	copy("$from$libdir/eventstore.so", "$root$libdir/") or die "eventstore.so: $!";
	$node->append_conf('postgresql.conf',
		$setting eq 'extension_destdir' ? "extension_destdir = '$root'" : "extension_control_path = '$root$sharedir:\$system'");
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$root$libdir:\$libdir'");
	$node->restart;
	return ("$root$sharedir/extension", "$root$libdir");
}

1;
