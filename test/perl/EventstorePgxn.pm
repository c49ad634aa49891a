# What the PGXN Meta Spec 1.0.0 (https://pgxn.org/spec/) demands of META.json.

package EventstorePgxn;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(meta_findings);

my %license = map { $_ => 1 } qw(
  agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3
  lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib
  open_source restricted unrestricted unknown
);

# A semantic version as the spec has it: a pre-release begins with a dash.
my $semver = qr/(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[A-Za-z][0-9A-Za-z-]*)?/;
my $range = qr/(?:(?:[<>]=?|[=!]=)\s*)?$semver|0/;

# Kinds of values.  Each takes a value and returns whether it is of that kind.
my %kind = (
	any => sub { 1 },
	string => sub { defined $_[0] && !ref $_[0] && length $_[0] },
	file => sub { defined $_[0] && !ref $_[0] && $_[0] =~ m{^[^/]} },
	term => sub { defined $_[0] && !ref $_[0] && $_[0] =~ m{\A[^\s[:cntrl:]/\\]{2,}\z} },
	tag => sub { defined $_[0] && !ref $_[0] && $_[0] =~ m{\A[^[:cntrl:]/\\]{1,256}\z} },
	url => sub { defined $_[0] && !ref $_[0] && $_[0] =~ m{\A[a-z][a-z0-9+.-]*://[^/?#\s]+\S*\z}i },
	email => sub { defined $_[0] && !ref $_[0] && $_[0] =~ m{\A[^@\s]+@[^@\s]+\z} },
	license => sub { defined $_[0] && !ref $_[0] && $license{ $_[0] } },
	status => sub { defined $_[0] && $_[0] =~ /\A(?:stable|testing|unstable)\z/ },
	version => sub { defined $_[0] && !ref $_[0] && $_[0] =~ /\A$semver\z/ },
	spec => sub { defined $_[0] && $_[0] eq '1.0.0' },
	range => sub { defined $_[0] && !ref $_[0] && $_[0] =~ /\A$range(?:,\s*$range)*\z/ },
	phase => sub { $_[0] =~ /\A(?:configure|build|test|runtime|develop|[xX]_\w+)\z/ },
	relation => sub { $_[0] =~ /\A(?:requires|recommends|suggests|conflicts|[xX]_\w+)\z/ },
	custom => sub { $_[0] =~ /\A[xX]_\w+\z/ },
);

# A rule is the name of a kind; [rule] for a list, of which one entry may stand alone;
# a map of fields, of which "!" begins the name of a required one, and ":kind" stands
# for all other names.
my %paths = (file => ['file'], directory => ['file'], ':custom' => 'any');
my %extension =
  ('!file' => 'file', '!version' => 'version', abstract => 'string', docfile => 'file', ':custom' => 'any');
my %rule = (
	'!name' => 'term',
	'!version' => 'version',
	'!abstract' => 'string',
	'!maintainer' => ['string'],
	'!license' => { list => ['license'], map => { ':string' => 'url' } },
	'!provides' => { ':term' => \%extension },
	'!meta-spec' => { '!version' => 'spec', url => 'url', ':custom' => 'any' },
	description => 'string',
	generated_by => 'string',
	release_status => 'status',
	tags => ['tag'],
	no_index => \%paths,
	prereqs => { ':phase' => { ':relation' => { ':term' => 'range' } } },
	resources => {
		homepage => 'url',
		license => ['url'],
		bugtracker => { web => 'url', mailto => 'email', ':custom' => 'any' },
		repository => { url => 'url', web => 'url', type => 'string', ':custom' => 'any' },
		':custom' => 'any',
	},
	':custom' => 'any',
);

# All that is wrong with the text of a META.json, a line for each; nothing if it is right.
sub meta_findings
{
	my ($text) = @_;
	my $meta = eval { JSON::PP->new->utf8->decode($text) };

	return "not JSON: $@" if $@;
	return 'not an object' if ref $meta ne 'HASH';
	my @findings = look_at(\%rule, $meta, '');
	push @findings, 'provides: nothing' if ref $meta->{provides} eq 'HASH' && !%{ $meta->{provides} };
	return @findings;
}

sub look_at
{
	my ($rule, $value, $place) = @_;

	if (!ref $rule)
	{
		return $kind{$rule}->($value) ? () : "$place: no $rule";
	}
	if (ref $rule eq 'ARRAY')
	{
		return look_at($rule->[0], $value, $place) if !ref $value;
		return "$place: no list" if ref $value ne 'ARRAY';
		return "$place: empty" if !@$value;
		return map { look_at($rule->[0], $value->[$_], "$place\[$_]") } 0 .. $#$value;
	}
	if ($rule->{list})
	{
		return look_at(ref $value eq 'HASH' ? $rule->{map} : $rule->{list}, $value, $place);
	}
	return look_at_map($rule, $value, $place);
}

sub look_at_map
{
	my ($rule, $value, $place) = @_;
	my ($others) = map { /^:(.*)/ ? $1 : () } keys %$rule;
	my @findings;

	return "$place: no map" if ref $value ne 'HASH';
	foreach my $required (map { /^!(.*)/ ? $1 : () } sort keys %$rule)
	{
		push @findings, "$place/$required: missing" if !defined $value->{$required};
	}
	foreach my $name (sort keys %$value)
	{
		my $of_it = $rule->{$name} // $rule->{"!$name"};

		if (!defined $of_it)
		{
			push @findings, "$place/$name: unknown" if !defined $others || !$kind{$others}->($name);
			$of_it = defined $others ? $rule->{":$others"} : 'any';
		}
		push @findings, look_at($of_it, $value->{$name}, "$place/$name") if defined $value->{$name};
	}
	return @findings;
}

1;
