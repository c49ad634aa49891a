# Clients that append at random and keep a record of what they were told.
#
# Each client is a psql that runs a script of its own (EventstoreCalls): random
# transactions of random calls at random isolation levels.  It writes to its own
# log what it sent and every answer that it got, so that the record survives
# whatever happens to the server.  Afterwards the record is compared with the store
# (EventstoreTold):
#
# - what was acknowledged by a commit is there, exactly once, where the answer
#   said it would be;
# - what was refused, failed, rolled back or never committed is not;
# - where the answer to the commit was lost, everything of the transaction is
#   there, or nothing;
# - the answers themselves keep the contract: which SQLSTATE can come from what,
#   all or nothing, versions, guards that nobody overtook.
#
# What that leaves open, whether there is an order of all transactions in which every
# answer is true, is for EventstoreHistory.
#
# Several runs (rounds) may follow each other over the same store, with crashes
# between them; requests whose fate is unknown are sent again.

package EventstoreClients;

use strict;
use warnings;

use parent qw(EventstoreCalls EventstoreTold);

use EventstoreTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my @LEVELS = ('read committed', 'repeatable read', 'serializable');

# All times of a round, as ticks of the clients' clock: it may go back in a crash, but
# rounds follow each other.
my $ROUND = 1_000_000_000;

# Arguments: node, db, store (schema); keys (how many aggregates everybody
# fights for), hot (how often it is one of those), tags (how many of each kind,
# likewise), seed, settings (a hash).
sub new
{
	my ($class, %arg) = @_;
	my $self = {
		keys => 6,
		hot => 0.75,
		tags => 2,
		settings => {},
		round => 0,
		requests => {},
		queries => {},
		reads => {},
		attempts => [],
		entries => [],
		transactions => {},
		seed => $ENV{EVENTSTORE_TEST_SEED} // int(rand(1_000_000_000)),
		directory => PostgreSQL::Test::Utils::tempdir('clients'),
		%arg
	};

	note "random seed $self->{seed} (set EVENTSTORE_TEST_SEED to use it again)";
	srand($self->{seed});
	return bless $self, $class;
}

# Start a round.  Options: clients, transactions (of each client), calls (at
# most, in one transaction), forms (of calls, to choose from), levels (isolation
# levels, likewise), tolerate (a pattern of SQLSTATEs that the faults of this round
# may cause).
sub start
{
	my ($self, %opt) = @_;
	my $round = ++$self->{round};

	%opt = (
		clients => 8,
		transactions => 100,
		calls => 1,
		forms => \@EventstoreCalls::FORMS,
		levels => \@LEVELS,
		tolerate => '-',
		%opt);
	$self->{tolerate}{$round} = $opt{tolerate};
	$self->{levels}{$round} = $opt{levels};
	$self->{forms} = $opt{forms};
	$self->{running} = [];
	$self->{node}->safe_psql($self->{db}, $EventstoreForms::SETUP) if $round == 1;

	# All scripts first, so that the clients start together.
	foreach my $client (1 .. $opt{clients})
	{
		my $name = "r${round}c$client";
		my $script = '';

		foreach my $n (1 .. $opt{transactions})
		{
			$script .= $self->transaction("$name.$n", $round, $n, \%opt);
		}
		append_to_file("$self->{directory}/$name.sql", $script);
	}
	foreach my $client (1 .. $opt{clients})
	{
		my $name = "r${round}c$client";
		my $base = "$self->{directory}/$name";
		my %settings = ('eventstore.store' => $self->{store}, %{ $self->{settings} });
		my $options = join ' ',
		  map { "-c $_=" . $settings{$_} =~ s/ /\\\\ /gr } sort keys %settings;
		my $connstr = $self->{node}->connstr($self->{db}) . " application_name=$name options='$options'";

		push @{ $self->{running} },
		  {
			base => $base,
			run => IPC::Run::start(
				[
					program($self->{node}, 'psql'),
					'-XAt', '-F', ' ', '-v', 'VERBOSITY=verbose',
					'-d', $connstr, '-f', "$base.sql"
				],
				'>', "$base.log",
				'2>', "$base.err",
				IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
		  };
	}
	return;
}

# Wait until the store has so many events more than at the time of the call.
# False if all clients came to an end before.
sub wait_for_events
{
	my ($self, $n) = @_;
	my $count = sub {
		return $self->{node}->safe_psql($self->{db}, "SELECT count(*) FROM $self->{store}.es_events");
	};
	my $wanted = $count->() + $n;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	while ($count->() < $wanted)
	{
		return 0 if !grep { $_->{run}->pumpable } @{ $self->{running} };
		die 'no progress' if time() > $end;
		usleep(20_000);
	}
	return 1;
}

# Wait for all clients and read their logs.  Returns the number of clients that
# lost their connection.
sub finish
{
	my ($self) = @_;
	my $lost = 0;

	foreach my $client (@{ $self->{running} })
	{
		$client->{run}->finish;
		my $result = $client->{run}->result(0);

		# 2: connection lost; anything but 0 besides is no client any more.
		$lost++ if $result == 2;
		die "client ended with $result: $client->{base}.log"
		  if $result != 0 && $result != 2;
		$self->_read_log("$client->{base}.log");
		$self->_read_errors("$client->{base}.err");
	}
	$self->{running} = [];

	# What no client came to is forgotten.  Should there be events of it, they
	# are found as nobody's.
	foreach my $list (qw(attempts entries))
	{
		$self->{$list} =
		  [ grep { $self->{reached}{ $_->{att} =~ s{/.*}{}r } } @{ $self->{$list} } ];
	}
	$self->{unknown_requests} = [
		map { $_->{request} }
		  grep {
			defined $_->{request}
			  && $self->{transactions}{ $_->{tx} }{outcome} eq 'unknown'
		  } @{ $self->{attempts} }
	];
	return $lost;
}

# ---------------------------------------------------------------------------
# Reading logs
# ---------------------------------------------------------------------------

# The lines of a log; a name is that of a transaction, T, an attempt, T/n, or a read,
# T/n~x, whose attempt it belongs to:
#   C tick                    of the clock
#   B transaction             begun
#   V attempt entry version   what the attempt expects
#   A attempt entry position  after which the next condition of the entry allows nothing
#   S read key version        a row of what was read
#   G read key from version positions    the same with the events after a version
#   Q read cursor positions   the same by es_query
#   R attempt ...             a row of the answer
#   L attempt key version     a row of the answer of es_lock
#   D attempt sqlstate        the answer is complete
#   X attempt                 rolled back to the savepoint before it
#   T transaction             the commit (or the only statement) is sent
#   COMMIT, ROLLBACK          as psql prints them
#   E transaction sqlstate    the commit is answered
sub _read_log
{
	my ($self, $log) = @_;
	my %handle = (
		V => sub { $self->{entry}{"$_[0].$_[1]"}{expected} = $_[2] },
		A => sub { push @{ $self->{entry}{"$_[0].$_[1]"}{after} }, $_[2] },
		R => sub { push @{ $self->{results} }, [@_]; push @{ $self->{attempt}{ $_[0] }{results} }, [@_] },
		L => sub { push @{ $self->{locks} }, [@_] },
		X => sub { $self->{attempt}{ $_[0] }{dropped} = 1 });
	my $tag = '';

	$self->{tick} = $log =~ /r(\d+)c\d+\.log$/ ? $1 * $ROUND : die $log;
	$self->{open} = [];

	open my $fh, '<', $log or die "$log: $!";
	while (my $line = <$fh>)
	{
		chomp $line;
		my ($kind, $name, @rest) = split / /, $line;

		next if !defined $kind;

		# No SQLSTATE: the connection was lost while psql waited, which is no
		# answer.  It notices with the next statement at the latest.
		next if $kind =~ /^[DE]$/ && !@rest;
		$self->{reached}{ $name =~ s{/.*}{}r } = 1 if defined $name;
		$handle{$kind}->($name, @rest) if $handle{$kind};
		$self->_read_step($kind, $tag, $name, @rest);
		$tag = $kind;
	}
	close $fh;

	# What was answered last, or not at all, ended with the round.
	my $end = $self->{tick} - $self->{tick} % $ROUND + $ROUND - 1;
	$_->{end} = $end foreach @{ $self->{open} };
	return;
}

# Something of which it matters when it was: after the last tick and before the next.
sub _at
{
	my ($self, $what) = @_;

	$what->{begin} = $self->{tick};
	push @{ $self->{open} }, $what;
	return $what;
}

# A line that says when something was.
sub _read_step
{
	my ($self, $kind, $tag, $name, @rest) = @_;

	if ($kind eq 'C')
	{
		$self->{tick} += $name - $self->{tick} % $ROUND;
		$_->{end} = $self->{tick} foreach @{ $self->{open} };
		$self->{open} = [];
	}
	elsif ($kind =~ /^[SGQL]$/)
	{
		my $read = $kind eq 'L' ? "$name~l" : $name;

		# A variable that was not set: the read has failed.
		return if $rest[-1] eq '-' && $kind eq 'S' || $kind eq 'Q' && $rest[0] eq '-';
		if (!$self->{reads}{$read})
		{
			$self->{reads}{$read} = $self->_at({ read => $read, kind => $kind, rows => [] });
			push @{ $self->{transactions}{ $name =~ s{/.*}{}r }{ops} }, $self->{reads}{$read};
		}
		push @{ $self->{reads}{$read}{rows} }, \@rest;
	}
	elsif ($kind eq 'D')
	{
		my $a = $self->_at($self->{attempt}{$name});

		$a->{state} = $rest[0];
		push @{ $self->{transactions}{ $a->{tx} }{ops} }, $a;
	}
	elsif ($kind =~ /^[BT]$/)
	{
		my $t = $self->{transactions}{$name};

		$t->{ $kind eq 'B' ? 'snapshot' : 'commit' } = $self->_at({});
		$t->{outcome} = 'unknown' if $kind eq 'T';
	}
	elsif ($kind eq 'E')
	{
		my $t = $self->{transactions}{$name};

		$t->{state} = $rest[0];
		$t->{outcome} =
		  $rest[0] eq '00000' && (!$t->{block} || $tag eq 'COMMIT')
		  ? 'committed'
		  : 'aborted';
	}
	return;
}

# What the errors say beside their SQLSTATE: the refusals of the call.
sub _read_errors
{
	my ($self, $file) = @_;
	my $conflicts;

	open my $fh, '<', $file or die "$file: $!";
	while (my $line = <$fh>)
	{
		$conflicts = undef if $line =~ /^psql:.*: ERROR:/;
		$conflicts = decode_json($1)->{conflicts} if $line =~ /^DETAIL:  (\{"conflicts": .*\})$/;
		$self->{attempt}{$1}{conflicts} = $conflicts if $line =~ /^F (\S+)$/;
	}
	close $fh;
	return;
}

# ---------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------

# How often each status or error was the answer: for coverage, and as a note.
sub answers
{
	my ($self) = @_;
	my %count;

	$count{ $_->[3] }++ foreach @{ $self->{results} };
	$count{ $_->{state} // 'lost' }++ foreach @{ $self->{attempts} };
	$count{"tx $_->{outcome}"}++ foreach values %{ $self->{transactions} };
	return \%count;
}

1;
