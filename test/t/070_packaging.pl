# The files that package managers read say the same, and name what is there: META.json
# of PGXN, the zip of "make dist", debian/, the RPM spec, the change log.
#
# That the packages build and work is the matter of "make test-packages".

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use EventstorePgxn;
use File::Copy qw(copy);
use File::Find qw(find);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use IO::Uncompress::Unzip qw($UnzipError);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $meta_text = slurp_file("$top/META.json");
my $meta = JSON::PP->new->utf8->decode($meta_text);

# What a source archive does not need, and what builds and tests leave behind.
my $not_exported = qr{^\.ci/|(?:^|/)\.(?:gitignore|gitattributes|editorconfig)$};
my $left_behind = qr{
	^(?:\.git|results|tmp_check[^/]*|output_iso|log)/ | ^regression\.(?:diffs|out)$ | ^eventstore-[^/]*\.zip$
	| ^debian/(?:\.debhelper/|files$|[^/]*\.substvars$|postgresql-) | (?:^|/)node_modules/ | \.(?:o|so|bc|gcda|gcno)$
}x;

# All files below a folder, with their paths in it.
sub files_in
{
	my ($folder) = @_;
	my @files;

	find({ no_chdir => 1, wanted => sub { push @files, $_ if -f } }, $folder);
	return sort map { s{^\Q$folder\E/}{}r } @files;
}

sub first_match
{
	my ($file, $pattern) = @_;
	my ($found) = slurp_file("$top/$file") =~ $pattern;

	return $found // "nothing in $file";
}

# ---- META.json ----

is(join("\n", meta_findings($meta_text)), '', 'META.json is as the PGXN Meta Spec demands');

# The checker notices what it is there for.
my %mutant = (
	'no name' => sub { delete $_[0]{name} },
	'a name with a space' => sub { $_[0]{name} = 'event store' },
	'a version of two parts' => sub { $_[0]{version} = '1.0' },
	'no abstract' => sub { $_[0]{abstract} = '' },
	'no maintainer' => sub { $_[0]{maintainer} = [] },
	'an unknown license' => sub { $_[0]{license} = 'PostgreSQL' },
	'a list with an unknown license' => sub { $_[0]{license} = [ 'postgresql', 'mine' ] },
	'nothing provided' => sub { $_[0]{provides} = {} },
	'an extension without a file' => sub { delete $_[0]{provides}{eventstore}{file} },
	'an extension with a file of the system' => sub { $_[0]{provides}{eventstore}{file} = '/etc/passwd' },
	'an extension without a version' => sub { delete $_[0]{provides}{eventstore}{version} },
	'an unknown field' => sub { $_[0]{licence} = 'postgresql' },
	'an unknown field of an extension' => sub { $_[0]{provides}{eventstore}{doc} = 'README.md' },
	'an unknown phase' => sub { $_[0]{prereqs}{run} = {} },
	'an unknown relation' => sub { $_[0]{prereqs}{runtime}{needs} = { PostgreSQL => 0 } },
	'a range that is none' => sub { $_[0]{prereqs}{runtime}{requires}{PostgreSQL} = '15+' },
	'an unknown status' => sub { $_[0]{release_status} = 'beta' },
	'a tag with a slash' => sub { $_[0]{tags} = ['event/store'] },
	'another spec' => sub { $_[0]{'meta-spec'}{version} = '2.0.0' },
	'an address that is none' => sub { $_[0]{resources}{homepage} = 'example.org' },
);
foreach my $what (sort keys %mutant)
{
	my $copy = decode_json($meta_text);

	$mutant{$what}->($copy);
	isnt(join("\n", meta_findings(encode_json($copy))), '', "META.json with $what is refused");
}
isnt(join("\n", meta_findings("$meta_text,")), '', 'META.json that is no JSON is refused');

my %control = map { m{([^/]+)\.control$} ? ($1 => slurp_file($_)) : () } glob "$top/*.control";
my %version = map { $_ => ($control{$_} =~ /^default_version\s*=\s*'([^']+)'/m)[0] } keys %control;

ok($control{eventstore}, 'there is a control file');
is( join(' ', sort keys %{ $meta->{provides} }),
	join(' ', sort keys %control),
	'META.json provides every extension with a control file, and no other');
foreach my $name (sort keys %control)
{
	my $provided = $meta->{provides}{$name} or next;

	is($provided->{file}, "sql/$name--$version{$name}.sql", "$name: META.json names the install script");
	ok(-e "$top/$provided->{file}", "$name: which is there");
	ok(!defined $provided->{docfile} || -e "$top/$provided->{docfile}", "$name: so is the documentation");
	is($provided->{version}, "$version{$name}.0", "$name: META.json and the control file have one version");
}
my $noindex = $meta->{no_index} || {};
is( join(' ', grep { !-e "$top/$_" } map { @{ $noindex->{$_} || [] } } qw(file directory)),
	'', 'what META.json keeps from the index is there');

# ---- One version everywhere ----

my $version = $meta->{version};

is($version, "$version{eventstore}.0", 'the distribution has the version of eventstore');
is(first_match('src/eventstore.h', qr/^#define ES_VERSION "(.*)"$/m), $version{eventstore}, 'the library has it');
is(first_match('CHANGELOG.md', qr/^## (\S+)/m), $version{eventstore}, 'CHANGELOG.md begins with it');
is(first_match('debian/changelog', qr/\A\S+ \(([^)]+)-\d+\)/), $version, 'debian/changelog begins with it');
is(first_match('rpm/eventstore.spec', qr/^Version:\s*(\S+)$/m), $version, 'the spec has it');
is(first_match('rpm/eventstore.spec', qr/^%changelog\n\*.* (\S+)-\d+$/m), $version, 'its change log begins with it');

# ---- debian/ ----

# What pg_buildext makes of control.in, for the servers of one release of Debian.
my ($source, @packages) = split /\n\n/, slurp_file("$top/debian/control.in") =~ s/\n+\z//r;
my @majors = slurp_file("$top/debian/control") =~ /^Package: postgresql-(\d+)-/mg;

cmp_ok(scalar @majors, '>', 0, 'debian/control has packages');
is( slurp_file("$top/debian/control"),
	join("\n\n", $source, map { my $p = $_; map { $p =~ s/PGVERSION/$_/gr } @majors } @packages) . "\n",
	'debian/control is made from control.in');
my ($oldest) = slurp_file("$top/debian/pgversions") =~ /^(\d+)\+$/m;
is("$oldest.0.0", $meta->{prereqs}{runtime}{requires}{PostgreSQL}, 'PGXN and Debian have the same oldest server');
my ($copyright) = slurp_file("$top/debian/copyright") =~ /^License: PostgreSQL\n (.*)\z/ms;
like(
	slurp_file("$top/LICENSE") =~ s/\s+/ /gr,
	qr/\Q@{[ $copyright =~ s{^ \.$}{}mgr =~ s{\s+}{ }gr =~ s{ \z}{}r ]}\E/,
	'debian/copyright has the words of LICENSE');

# ---- make dist ----

SKIP:
{
	skip 'git is not installed', 1 if system('git --version >/dev/null 2>&1') != 0;
	# The rules for what it leaves out are not in the zip itself.
	skip 'this tree comes from "make dist"', 1 if !-e "$top/.gitattributes";

	# A repository of this tree: it may be a copy, without the history.
	my $tree = tempdir(CLEANUP => 1);
	my $prefix = "eventstore-$version";

	foreach my $file (files_in($top))
	{
		next if $file =~ m{^(?:\.git|results|tmp_check[^/]*|output_iso|log)/|/node_modules/};
		my ($folder) = "$tree/$file" =~ m{(.*)/};
		make_path($folder);
		copy("$top/$file", "$tree/$file") or die "$file: $!";
		chmod((stat "$top/$file")[2] & 0777, "$tree/$file");
	}
	my @git = ('git', '-C', $tree, '-c', 'user.name=test', '-c', 'user.email=test@localhost');
	my $log = "$tree.log";
	system("@git[0..2] init -q >$log 2>&1") == 0 or die slurp_file($log);
	system(@git, 'add', '-A') == 0 or die;
	system(@git, 'commit', '-q', '-m', 'all') == 0 or die;
	is(system("make -s -C $tree dist >$log 2>&1"), 0, 'make dist') or diag(slurp_file($log));

	my $zip = IO::Uncompress::Unzip->new("$tree/$prefix.zip") or die "$prefix.zip: $UnzipError";
	my @names;
	for (my $more = 1; $more > 0; $more = $zip->nextStream)
	{
		push @names, $zip->getHeaderInfo->{Name};
	}
	is(join(' ', grep { !m{^\Q$prefix\E/} } @names), '', 'everything in the zip is in one folder, named as PGXN wants');
	my @files = sort map { m{^\Q$prefix\E/(.*[^/])$} ? $1 : () } @names;
	my @sources = grep { $_ !~ $not_exported } split /\n/, `git -C $tree ls-files`;
	is_deeply(\@files, [ sort @sources ], 'it has every file of the sources and no other');
	is(join(' ', grep { $_ =~ $left_behind } @files), '', 'it has nothing that builds and tests leave behind');
	cmp_ok(scalar @files, '>', 300, 'there are many');
	is(join(' ', grep { my $file = $_; !grep { $_ eq $file } @files } (map { $_->{file} } values %{ $meta->{provides} }), 'META.json'),
		'', 'among them all that META.json names');
	unlink $log;
}

done_testing();
