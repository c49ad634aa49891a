#!/usr/bin/env perl

# Read, decide, append, and again after a conflict: with DBI and DBD::Pg.
#
#     counter.pl KEY WORKERS INCREMENTS [ATTEMPTS]
#
# Each worker increments the counter KEY so many times, all of them at once.  The
# database is that of the environment variables PGHOST, PGDATABASE and so on.
#
# Needs the Debian package libdbd-pg-perl.

use strict;
use warnings;

use DBI;
use JSON::PP ();
use List::Util qw(min);
use Time::HiRes qw(sleep);

# VE001 is ours: decide again.  40001 and 40P01 are PostgreSQL's own for "start again".
my %TRY_AGAIN = map { $_ => 1 } qw(VE001 40001 40P01);

# Not utf8: DBD::Pg takes and gives characters, not bytes.
my $json = JSON::PP->new;

# Append what $decide makes of the aggregate; return its new version.  Dies with a hash
# of what the server said, or with whatever $decide dies.
sub change
{
	my ($db, $key, $decide, %option) = @_;
	my $attempts = $option{attempts} // 10;

	for (my $attempt = 1;; $attempt++)
	{
		my $version = eval { change_once($db, $key, $decide) };
		return $version if defined $version;

		# Before the rollback, which is a success and forgets them.
		my $error = $db->err
		  ? { message => $@, state => $db->state, detail => $db->pg_error_field('detail') }
		  : $@;
		# A commit that failed has ended the transaction.
		$db->rollback unless $db->{AutoCommit};
		die $error if !try_again($error) || $attempt == $attempts;
		$option{on_conflict}->($error) if $option{on_conflict};
		sleep(rand(min(1, 0.005 * 2**$attempt)));
	}
}

sub change_once
{
	my ($db, $key, $decide) = @_;

	$db->begin_work;
	my $events = $db->selectall_arrayref('SELECT version, data FROM es_read(?)', { Slice => {} }, $key);
	my $version = @$events ? $events->[-1]{version} : 0;
	($version) = $db->selectrow_array('SELECT es_append(?, ?, ?)', undef,
		$key, $json->encode($decide->($events)), $version);
	$db->commit;
	return $version;
}

sub try_again
{
	my ($error) = @_;
	return ref $error eq 'HASH' && $TRY_AGAIN{ $error->{state} };
}

# The facts of a conflict are in DETAIL, as JSON.
sub describe
{
	my ($error) = @_;
	return "conflict: SQLSTATE $error->{state}" if $error->{state} ne 'VE001';

	my $conflict = $json->decode($error->{detail})->{conflicts}[0];
	return "conflict: expected version $conflict->{expected}, actual $conflict->{actual}";
}

# The decision: it is wrong, and not only late, if the events are old.
sub increment
{
	my ($events) = @_;
	my $value = @$events ? $json->decode($events->[-1]{data})->{value} : 0;

	return [ { type => 'incremented', data => { value => $value + 1 } } ];
}

sub work
{
	my ($worker, $key, $increments, $attempts) = @_;
	my $db = DBI->connect('dbi:Pg:', undef, undef, { AutoCommit => 1, RaiseError => 1, PrintError => 0 });
	my $conflicts = 0;
	my $on_conflict = sub {
		$conflicts++;
		warn describe($_[0]), "\n";
	};

	for (1 .. $increments)
	{
		next if eval { change($db, $key, \&increment, attempts => $attempts, on_conflict => $on_conflict) };
		my $error = $@;
		die ref $error eq 'HASH' ? $error->{message} : $error unless try_again($error);
		warn "worker $worker gives up: ", describe($error), "\n";
		return 1;
	}
	print "worker $worker: $increments increments, $conflicts conflicts\n";
	return 0;
}

die "usage: counter.pl KEY WORKERS INCREMENTS [ATTEMPTS]\n" unless @ARGV == 3 || @ARGV == 4;
my ($key, $workers, $increments, $attempts) = @ARGV;
utf8::decode($key);
foreach my $worker (1 .. $workers)
{
	defined(my $pid = fork) or die "cannot fork: $!\n";
	exit work($worker, $key, $increments, $attempts // 10) unless $pid;
}
my $status = 0;
while (wait != -1)
{
	$status = 1 if $?;
}
exit $status;
